"""Layers of any model: selecting, freezing, cutting, transplanting."""
