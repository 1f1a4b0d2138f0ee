"""Use of trained runs: predictions, ensembles, soups."""
