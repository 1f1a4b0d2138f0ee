"""Experiments: networks trained with several seeds, recorded as JSON, put into tables beside published figures."""

from reuse.recipes.experiments.experiment import Experiment, FigureColumn
from reuse.recipes.experiments.recording import Record, run_experiment
from reuse.recipes.experiments.rows import last_held_out
from reuse.recipes.experiments.statistics import mean_and_error, paired_interval
from reuse.recipes.experiments.stepping import train_until
from reuse.recipes.experiments.training import train_network

__all__ = [
    "Experiment",
    "FigureColumn",
    "Record",
    "last_held_out",
    "mean_and_error",
    "paired_interval",
    "run_experiment",
    "train_network",
    "train_until",
]
