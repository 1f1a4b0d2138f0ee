"""Using trained runs: predictions, ensembles, soups."""
