"""From settings to data, a model and a trainer."""
