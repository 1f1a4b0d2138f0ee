"""The plan: what each cut and each kind of cache costs and gains on this machine, measured before the training."""
