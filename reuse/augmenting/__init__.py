"""Changes to a batch: augmentation, views of a row, mixing of rows."""
