"""Objectives: what a training minimises, one file an idea."""
