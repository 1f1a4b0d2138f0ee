"""The command line: typed options in, one library call, an exit code out."""
