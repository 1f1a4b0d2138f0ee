"""`python -m reuse.recipes.experiments [FOLDER]`: write RESULTS.md beside a folder of records, from them alone."""

import sys
from pathlib import Path

from reuse.recipes.experiments.recording import RECORD
from reuse.recipes.experiments.tables import render_results


def main(folder: str | Path = RECORD) -> Path:
    """Write the page beside the folder and return its path."""
    page = Path(folder).parent / "RESULTS.md"
    page.write_text(render_results(folder), encoding="utf-8")
    return page


if __name__ == "__main__":
    sys.stdout.write(f"{main(*sys.argv[1:2])}\n")
