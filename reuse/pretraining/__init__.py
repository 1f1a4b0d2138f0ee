"""Pretraining: layers trained for others to reuse."""
