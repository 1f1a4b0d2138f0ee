"""Searching: sweeps of settings, and the range test of the learning rate."""
