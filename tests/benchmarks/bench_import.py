"""How long `import reuse` and `reuse --help` take in a fresh process: the median of ten, printed in seconds.

Run it by hand: python tests/benchmarks/bench_import.py. The aim is 0.3 s; what is tested is that torch stays out.
"""

import statistics
import subprocess
import sys
import time

REPEATS = 10
PROGRAMS = {
    "python alone": ["-c", "pass"],
    "import reuse": ["-c", "import reuse"],
    "reuse --help": ["-m", "reuse", "--help"],
    "reuse finetune --help": ["-m", "reuse", "finetune", "--help"],
}


def seconds(arguments: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    for name, arguments in PROGRAMS.items():
        seconds(arguments)  # the first start reads files from the disk
        taken = [seconds(arguments) for _ in range(REPEATS)]
        print(f"{name}: {statistics.median(taken):.3f} s (from {min(taken):.3f} to {max(taken):.3f})")


if __name__ == "__main__":
    main()
