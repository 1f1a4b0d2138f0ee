"""What a run has left in its folder."""

from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from reuse.runs.folder import RunFolder
from reuse.runs.results import Result


def weights(run: Result | str | Path) -> dict[str, Tensor]:
    """Return its weights by name."""
    return load_file(Path(run.run if isinstance(run, Result) else run) / "weights.safetensors")


def history(run: str | Path) -> list[dict[str, Any]]:
    """Return its history without what a clock said."""
    lines = RunFolder(Path(run)).history()
    return [{name: value for name, value in line.items() if name != "seconds"} for line in lines]
