"""Many heads trained together on one stream of batches: the arithmetic, and the sweep that is made of it."""
