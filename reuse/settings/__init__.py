"""Settings: name, type, default and help of each, defined once for Python, the command line and files."""
