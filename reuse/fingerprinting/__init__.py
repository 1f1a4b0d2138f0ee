"""The keys of a cache: what a prefix and a row are known by."""
