"""Features, the outputs of frozen layers, for any training: the cut, the lookup, the choice, the filling."""
