"""Solvers for linear heads: pure functions of features, targets and penalties, for all penalties at once."""
