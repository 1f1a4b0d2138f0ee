"""Data sets: a spec string or arrays become splits of rows with digests."""
