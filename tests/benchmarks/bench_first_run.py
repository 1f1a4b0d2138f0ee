"""First runs on photos, beside what others do: wall clock of the whole command, imports and all, in turn.

Run: `python tests/benchmarks/bench_first_run.py`, or with some sides named; `--peers PYTHON` runs the others with an
interpreter that has fastai, and tensorflow for Keras' reading of folders. 2,000 photos of 640×480 in ten class folders,
a frozen ResNet-10t at 128 pixels with random weights, five epochs of a linear head with validation after each:

- `ours`: `reuse finetune` with an empty cache; `second`: the same again, with what the first has cached;
- `loader`: torchvision's `ImageFolder`, torch's `DataLoader` with a process a core, the frozen part without gradients;
- `fastai`: `vision_learner`, frozen, with its defaults and a process a core;
- `keras`: `image_dataset_from_directory` with `cache()`, the same network in a `TorchModuleWrapper`, on torch.

Printed are medians over the rounds: seconds of the wall, of the processor, the most memory a process of it has held,
and how many times as long as ours it took in the same round.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROWS, QUICK_ROWS, ROUNDS, EPOCHS, PIXELS, BATCH, CLASSES = 2_000, 60, 3, 5, 128, 32, 10
NEEDED = {"loader": ("torchvision",), "fastai": ("fastai",), "keras": ("keras", "tensorflow")}
NETWORK = "resnet10t"


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds of the wall and of the processor, and the most memory of a process, in MB."""

    wall: float
    processor: float
    memory: float


def clocked(line: list[str]) -> Cost:
    """Run a command and return what it took."""
    started = time.perf_counter()
    child = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors = child.stderr.read() if child.stderr else ""
    _, status, used = os.wait4(child.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(line)}: {errors[-2000:]}")
    return Cost(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def ours(photos: Path, cache: Path) -> list[str]:
    """Return the command of ours."""
    settings = {"freeze": "!fc", "image-size": PIXELS, "epochs": EPOCHS, "batch-size": BATCH, "data": photos}
    settings |= {"cache-dir": cache, "out": cache.parent / f"run-{time.monotonic_ns()}", "device": "cpu"}
    options = [f"--{name}={value}" for name, value in settings.items()]
    return [sys.executable, "-m", "reuse", "finetune", f"timm:{NETWORK}", "--random-weights", *options, "--json"]


def train_with_loader(photos: str) -> None:
    """Train on an ImageFolder."""
    import timm
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, random_split
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    torch.set_num_threads(1)
    size = [v2.Resize((PIXELS, PIXELS)), v2.ToImage(), v2.ToDtype(torch.float32, scale=True)]
    rows = ImageFolder(photos, v2.Compose([*size, v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]))
    parts = random_split(rows, [0.64, 0.16, 0.2])
    workers = {"batch_size": BATCH, "num_workers": os.cpu_count() or 1, "persistent_workers": True}
    train, valid, test = (DataLoader(part, shuffle=not number, **workers) for number, part in enumerate(parts))
    body = timm.create_model(NETWORK, num_classes=0).eval()
    head = nn.Linear(body.num_features, CLASSES)
    optimizer = torch.optim.Adam(head.parameters())

    def right(loader: DataLoader) -> float:
        with torch.inference_mode():
            return sum(float((head(body(x)).argmax(1) == y).sum()) for x, y in loader)

    for _ in range(EPOCHS):
        for x, y in train:
            with torch.no_grad():
                features = body(x)
            optimizer.zero_grad()
            nn.functional.cross_entropy(head(features), y).backward()
            optimizer.step()
        right(valid)
    right(test)


def train_with_fastai(photos: str) -> None:
    """Train a vision_learner."""
    import torch
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize, imagenet_stats, vision_learner

    torch.set_num_threads(1)
    data = ImageDataLoaders.from_folder(
        photos,
        valid_pct=0.2,
        item_tfms=Resize(PIXELS),
        batch_tfms=Normalize.from_stats(*imagenet_stats),
        bs=BATCH,
        num_workers=os.cpu_count() or 1,
    )
    learner = vision_learner(data, NETWORK, pretrained=False)
    learner.freeze()
    with learner.no_bar(), learner.no_logging():
        learner.fit(EPOCHS)


def train_with_keras(photos: str) -> None:
    """Train a head on a frozen module."""
    os.environ["KERAS_BACKEND"] = "torch"
    import keras
    import timm
    import torch

    torch.set_num_threads(1)
    settings = {"image_size": (PIXELS, PIXELS), "batch_size": BATCH, "validation_split": 0.2, "seed": 0}
    train, valid = keras.utils.image_dataset_from_directory(photos, subset="both", **settings)
    network = timm.create_model(NETWORK, num_classes=0).eval()
    body = keras.layers.TorchModuleWrapper(network, name="body", output_shape=(None, network.num_features))
    body.trainable = False
    inputs = keras.Input((PIXELS, PIXELS, 3))
    scaled = keras.layers.Permute((3, 1, 2))(keras.layers.Rescaling(1 / 255)(inputs))
    outputs = keras.layers.Dense(CLASSES)(body(scaled, training=False))
    model = keras.Model(inputs, outputs)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(train.cache(), validation_data=valid.cache(), epochs=EPOCHS, verbose=0)


SIDES = {"loader": train_with_loader, "fastai": train_with_fastai, "keras": train_with_keras}


def lacking(side: str, python: str) -> list[str]:
    """Return which packages of a side an interpreter does not have."""
    code = f"from importlib.util import find_spec as f; print(*[n for n in {NEEDED[side]!r} if f(n) is None])"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def costs_of_round(sides: list[str], photos: Path, peers: str) -> dict[str, Cost]:
    """Run each side once, ours with an empty cache and then again."""
    with tempfile.TemporaryDirectory(dir=photos.parent) as folder:
        command, costs = ours(photos, Path(folder) / "cache"), {}
        for side in sides:
            if side == "ours":
                costs["ours"] = clocked(command)
                costs["second"] = clocked(ours(photos, Path(folder) / "cache"))
            else:
                costs[side] = clocked([peers, __file__, "--train", side, "--folder", str(photos.parent)])
            print(f"# {side}: {costs[side]}", file=sys.stderr, flush=True)
        return costs


def print_costs(rounds: list[dict[str, Cost]]) -> None:
    """Print the table."""
    print(f"{'side':8} {'wall':>8} {'processor':>10} {'memory':>8} {'/ ours':>8} {'/ ours, processor':>18}")
    for side in rounds[0]:
        own = [costs[side] for costs in rounds]
        wall, processor, memory = (statistics.median(getattr(c, name) for c in own) for name in vars(own[0]))
        times, worked = (
            statistics.median(getattr(costs[side], name) / getattr(costs["ours"], name) for costs in rounds)
            for name in ("wall", "processor")
        )
        print(f"{side:8} {wall:8.1f} {processor:10.1f} {memory:8.0f} {times:8.2f} {worked:18.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("sides", nargs="*", help=f"beside ours: {', '.join(SIDES)}; default: those installed")
    parser.add_argument("--quick", action="store_true", help="a few rows: shows that it runs")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--peers", default=sys.executable, help="the interpreter of the others")
    parser.add_argument("--folder", help="keep photos here; by default they are made anew and removed")
    parser.add_argument("--train", choices=SIDES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := [side for side in arguments.sides if side not in SIDES]:
        parser.error(f"unknown sides: {', '.join(unknown)}; there are {', '.join(SIDES)}, and ours always runs")
    if arguments.train:
        SIDES[arguments.train](str(Path(arguments.folder) / "photos"))
        return
    from bench_second_run import make_photos

    here = str(Path(__file__).parents[2])
    os.environ |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    chosen = []
    for side in arguments.sides or SIDES:
        if missing := lacking(side, arguments.peers):
            print(f"left out: {side}, as {', '.join(missing)} is not installed; see --peers")
        else:
            chosen.append(side)
    with tempfile.TemporaryDirectory() as own:
        photos = Path(arguments.folder or own).absolute() / "photos"
        if not photos.exists():
            make_photos(photos, QUICK_ROWS if arguments.quick else ROWS)
        count, sides = 1 if arguments.quick else arguments.rounds, ["ours", *chosen]
        print_costs([costs_of_round(sides[:: -1 if n % 2 else 1], photos, arguments.peers) for n in range(count)])


if __name__ == "__main__":
    main()
