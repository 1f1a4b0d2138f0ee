"""Loops: cached features in the training loops of other toolkits."""
