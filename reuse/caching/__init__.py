"""The activation cache: what frozen layers computed, stored once and found by content."""
