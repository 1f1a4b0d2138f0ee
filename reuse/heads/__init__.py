"""Linear and small heads: many in one training, or solved for."""
