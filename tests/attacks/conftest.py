"""The command line, called in this process, and a run to reuse."""

from cli.conftest import pretrained, reuse

__all__ = ["pretrained", "reuse"]
