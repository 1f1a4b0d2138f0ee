"""Recipes: short programs over the public interface of `reuse`, imported as `reuse.recipes`."""
