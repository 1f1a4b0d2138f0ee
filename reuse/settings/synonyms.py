"""What other toolkits call our settings, for those who come from there."""

from collections.abc import Iterable

SYNONYMS = {
    "lr": "learning_rate",
    "epoch": "epochs",
    "max_epochs": "epochs",
    "num_epochs": "epochs",
    "n_epochs": "epochs",
    "num_train_epochs": "epochs",
    "bs": "batch_size",
    "batch": "batch_size",
    "dataset": "data",
    "data_dir": "data",
    "wd": "weight_decay",
    "opt": "optimizer",
    "scheduler": "schedule",
    "lr_scheduler": "schedule",
    "lr_schedule": "schedule",
    "frozen": "freeze",
    "freeze_layers": "freeze",
    "arch": "model",
    "architecture": "model",
    "backbone": "model",
    "act": "activation",
    "normalization": "norm",
    "drop": "dropout",
    "img_size": "image_size",
    "resolution": "image_size",
    "random_seed": "seed",
    "random_state": "seed",
    "output": "out",
    "output_dir": "out",
    "out_dir": "out",
    "resume_from": "resume",
    "amp": "precision",
    "dtype": "precision",
    "label": "target",
    "class": "classes",
    "target_column": "target",
    "label_column": "target",
    "smoothing": "label_smoothing",
    "aug": "augment",
    "augmentation": "augment",
    "clip": "clip_norm",
    "grad_clip": "clip_norm",
    "max_grad_norm": "clip_norm",
    "gradient_accumulation_steps": "accumulate",
    "accumulation_steps": "accumulate",
    "validation_split": "valid_fraction",
    "test_size": "test_fraction",
    "cv": "folds",
    "n_folds": "folds",
}
"""Names elsewhere, and ours."""


def meant(name: str, known: Iterable[str]) -> str | None:
    """Return the setting that somebody means who writes `name`; None where that is not known.

    Args:
        name: with dashes or underscores, or neither, in any case.
        known: names of the settings that there are, as in Python.

    Example:
        >>> meant("batchSize", ["batch_size"]), meant("lr", ["learning_rate"]), meant("rate", ["learning_rate"])
        ('batch_size', 'learning_rate', None)
    """
    known = set(known)
    folded = {_folded(one): one for one in known}
    folded = {_folded(theirs): ours for theirs, ours in SYNONYMS.items() if ours in known} | folded
    return folded.get(_folded(name))


def _folded(name: str) -> str:
    return name.replace("-", "").replace("_", "").lower()
