"""What frozen layers compute, for any training: the cut, what is cached of it, the choice, and the filling."""
