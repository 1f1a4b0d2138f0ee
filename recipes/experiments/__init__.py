"""Experiments: networks trained with several seeds, recorded as JSON, put into tables beside published figures."""

from reuse.recipes.experiments.archives import part_of_cifar10
from reuse.recipes.experiments.budgets import pretrain_stages_within, pretrain_within
from reuse.recipes.experiments.choosing import best_validated
from reuse.recipes.experiments.comparing import compare_pairs
from reuse.recipes.experiments.experiment import Experiment, FigureColumn
from reuse.recipes.experiments.few_labels import (
    ALWAYS,
    DRAWS,
    MINUTES,
    SHORT,
    UNFREEZE,
    Case,
    Comparison,
    all_rows,
    with_budget,
)
from reuse.recipes.experiments.gains import FEW_LABEL_COLUMNS, conclude_gains, gains
from reuse.recipes.experiments.linear_heads import Features, features_of, rows_of, score_linear
from reuse.recipes.experiments.patches import PatchFeatures
from reuse.recipes.experiments.plotting import plot_differences
from reuse.recipes.experiments.recording import Record, results_folder, run_experiment
from reuse.recipes.experiments.rows import last_held_out
from reuse.recipes.experiments.stepping import train_until
from reuse.recipes.experiments.training import train_network

from reuse.intervals import half_interval, mean_and_error, paired_interval

__all__ = [
    "ALWAYS",
    "DRAWS",
    "FEW_LABEL_COLUMNS",
    "MINUTES",
    "SHORT",
    "UNFREEZE",
    "Case",
    "Comparison",
    "Experiment",
    "Features",
    "FigureColumn",
    "PatchFeatures",
    "Record",
    "all_rows",
    "best_validated",
    "compare_pairs",
    "conclude_gains",
    "features_of",
    "gains",
    "half_interval",
    "last_held_out",
    "mean_and_error",
    "paired_interval",
    "part_of_cifar10",
    "plot_differences",
    "pretrain_stages_within",
    "pretrain_within",
    "results_folder",
    "rows_of",
    "run_experiment",
    "score_linear",
    "train_network",
    "train_until",
    "with_budget",
]
