"""The activation cache: outputs of frozen layers, stored once and found by content."""
