"""Fine-tuning: a source's layers reused, some of them frozen, phase by phase."""
