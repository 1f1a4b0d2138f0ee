"""Tests of reuse.nn; a package, so that its files may be called as those of other folders."""
