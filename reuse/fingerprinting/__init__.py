"""Keys of a cache: digests of all that decides what frozen layers compute."""
