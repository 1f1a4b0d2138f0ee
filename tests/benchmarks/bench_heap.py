"""What it gains to keep freed memory from step to step: whole calls, each in a process of its own.

Run: `python tests/benchmarks/bench_heap.py --threads 1`. A side without has a variable in its environment that has the
C library left alone and says nothing to the library itself; seconds of the processor, both sides in turn.
"""

import os
import subprocess
import sys

from measuring import Block, Line, alternate, begin, print_table

ROUNDS = 5
ALONE = {"MALLOC_LEFT_ALONE": "1"}
CALL = """
import sys, tempfile, time
import numpy as np, torch
torch.set_num_threads(1)
import reuse
rows, draw = int(sys.argv[1]), np.random.default_rng(0)
shape = {shape}
with tempfile.TemporaryDirectory() as folder:
    started = time.process_time()
    reuse.pretrain({what}, out=folder + "/run", data=draw.random((rows, *shape)).astype(np.float32), epochs=2)
    print(time.process_time() - started)
"""
CASES = {
    "vicreg, convnet:32,64, 28×28": ("(1, 28, 28)", '"vicreg", model="convnet:32,64", batch_size=128', 2048),
    "denoising, convnet:32,64, 28×28": (
        "(1, 28, 28)",
        '"denoising_autoencoder", model="convnet:32,64", batch_size=64',
        2048,
    ),
    "denoising, mlp:1000,1000": ("(784,)", '"denoising_autoencoder", model="mlp:1000,1000", batch_size=100', 4096),
}


def call(script: str, rows: int, environment: dict[str, str]) -> Block:
    def seconds() -> float:
        command = [sys.executable, "-c", script, str(rows)]
        settings = {**os.environ, **environment}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=settings)
        return float(done.stdout.splitlines()[-1])

    return seconds


def main() -> None:
    quick = begin(__doc__ or "")
    lines = []
    for name, (shape, what, rows) in CASES.items():
        script, rows = CALL.format(shape=shape, what=what), 256 if quick else rows
        sides = {"left alone": call(script, rows, ALONE), "kept": call(script, rows, {})}
        times = alternate(sides, 1 if quick else ROUNDS)
        ratios = [before / kept for before, kept in zip(times["left alone"], times["kept"], strict=True)]
        lines.append(Line(f"{name}: left alone / kept", 1.0, ratios))
    print_table("Whole calls, seconds of the processor", lines)


if __name__ == "__main__":
    main()
