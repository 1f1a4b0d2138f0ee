"""Train deep networks from layers that are already trained, and never compute a frozen layer twice."""

__version__ = "0.1.0"
