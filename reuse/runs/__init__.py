"""Run folders: settings, weights, checkpoints and history of one training."""
