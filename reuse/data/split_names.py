"""Names of splits as people write them, in lower case, and the split that each means."""

SPLIT_NAMES = {
    "train": "train", "training": "train",
    "valid": "valid", "validation": "valid", "val": "valid", "dev": "valid", "development": "valid",
    "test": "test", "testing": "test", "eval": "test", "evaluation": "test", "holdout": "test",
}  # fmt: skip
"""Of folders, where a word may be a class as well."""

CELL_NAMES = {**SPLIT_NAMES, "tr": "train", "fit": "train", "develop": "valid", "hold-out": "test"}
"""Of a column or a group that is said to split, and behind the `x_` and `y_` of arrays."""
