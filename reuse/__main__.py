"""`python -m reuse`, where another program is called `reuse` too."""

from reuse.cli.main import main

main()
