"""Experiments: networks trained with several seeds, recorded as JSON, put into tables beside published figures."""

from reuse.recipes.experiments.budgets import pretrain_within
from reuse.recipes.experiments.choosing import best_validated
from reuse.recipes.experiments.comparing import compare_pairs
from reuse.recipes.experiments.experiment import Experiment, FigureColumn
from reuse.recipes.experiments.linear_heads import Features, features_of, rows_of, score_linear
from reuse.recipes.experiments.patches import PatchFeatures
from reuse.recipes.experiments.plotting import plot_differences
from reuse.recipes.experiments.recording import Record, results_folder, run_experiment
from reuse.recipes.experiments.rows import last_held_out
from reuse.recipes.experiments.stepping import train_until
from reuse.recipes.experiments.training import train_network

from reuse.intervals import half_interval, mean_and_error, paired_interval

__all__ = [
    "Experiment",
    "Features",
    "FigureColumn",
    "PatchFeatures",
    "Record",
    "best_validated",
    "compare_pairs",
    "features_of",
    "half_interval",
    "last_held_out",
    "mean_and_error",
    "paired_interval",
    "plot_differences",
    "pretrain_within",
    "results_folder",
    "rows_of",
    "run_experiment",
    "score_linear",
    "train_network",
    "train_until",
]
