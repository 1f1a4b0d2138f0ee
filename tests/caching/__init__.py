"""Tests of reuse.caching; a package, so that its files may be called as those of other folders."""
