"""Reading a .csv of 200,000 rows × 30 columns, two of them identifiers, beside `pandas.read_csv` with type inference.

Run: `python tests/benchmarks/bench_tables.py [--quick]`. Reading is what `reuse.load` does before rows are split and
prepared: columns, types and targets. Memory is the growth of the largest resident size of a process of its own in which
the table is read once, against 8 bytes for each of its cells. Linux alone tells it.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from measuring import Line, alternate, begin, print_table, timed

from reuse.data.loading import load
from reuse.data.raw import Options
from reuse.data.reading import read

COLUMNS, IDENTIFIERS = 30, 2
LARGEST = "largest"  # beside a file: read it once, and print by how many bytes this process has grown


def write(path: Path, rows: int) -> None:
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(rows, COLUMNS - IDENTIFIERS - 1)).round(5)
    table = pd.DataFrame(numbers, columns=[f"f{place}" for place in range(numbers.shape[1])])
    table["customer"] = [f"c{number:08d}" for number in range(rows)]
    table["order"] = [f"o-{number * 7919 % 10**9:09d}" for number in range(rows)]
    table["label"] = draw.choice(["a", "b"], rows)
    table.to_csv(path, index=False)


def growth(path: Path, how: str) -> int:
    """Return by how many bytes the largest size of a process grows that reads the table once."""
    command = [sys.executable, __file__, LARGEST, how, str(path)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_growth(how: str, path: str) -> None:
    small = Path(path).with_suffix(".small.csv")
    pd.read_csv(path, nrows=500).to_csv(small, index=False)
    work = {"pandas": pd.read_csv, "read": lambda file: read(file, Options()), "load": load}[how]
    kept = [work(str(small))]  # what is imported and begun once does not count
    before = largest_size()
    kept.append(work(path))
    print(largest_size() - before)


def largest_size() -> int:
    """Return the largest resident size of this process in bytes; `getrusage` would count its parent's too."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024


def main() -> None:
    quick = begin(__doc__ or "")
    rows, rounds = (10_000, 5) if quick else (200_000, 21)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        write(path, rows)
        sides = {"pandas": lambda: pd.read_csv(path), "read": lambda: read(str(path), Options())}
        times = alternate({name: timed(work) for name, work in sides.items()}, rounds)
        own = rows * COLUMNS * 8
        largest = {how: max(growth(path, how), 1) / own for how in ("pandas", "read", "load")}
    ratios = [a / b for a, b in zip(times["pandas"], times["read"], strict=True)]
    lines = [
        Line("pandas.read_csv / reading", 0.5, ratios),
        Line("the numbers' own size / growth in reading", 1 / 1.5, [1 / largest["read"]]),
        Line("the numbers' own size / growth in loading", 1 / 1.5, [1 / largest["load"]]),
        Line("growth of pandas.read_csv / growth in reading", 1, [largest["pandas"] / largest["read"]]),
        Line("growth of pandas.read_csv / growth in loading", 1, [largest["pandas"] / largest["load"]]),
    ]
    print_table(f"Reading {rows} × {COLUMNS} cells, {path.name}", lines)


if __name__ == "__main__":
    if LARGEST in sys.argv:
        print_growth(*sys.argv[2:])
    else:
        main()
