"""Experiments: networks trained with several seeds, recorded as JSON, put into tables beside published figures."""

from reuse.experiments.experiment import Column, Experiment
from reuse.experiments.recording import Record, run_experiment
from reuse.experiments.rows import last_held_out
from reuse.experiments.statistics import mean_and_error, paired_interval
from reuse.experiments.stepping import train_until
from reuse.experiments.training import train_network

__all__ = [
    "Column",
    "Experiment",
    "Record",
    "last_held_out",
    "mean_and_error",
    "paired_interval",
    "run_experiment",
    "train_network",
    "train_until",
]
