"""What moves the weights: optimizers and schedules."""
