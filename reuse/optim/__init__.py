"""Optimizers and schedules, and all else that moves, holds or averages weights."""
