"""An epoch of cached features in a loop of one's own, beside tensors in memory and a data set of Hugging Face.

Run: `python tests/benchmarks/bench_loader.py [--quick]`. 100,000 rows of 512 float32 and a label each, shuffled anew in
each epoch, batches of 256: `index_select` on tensors that lie in memory; `features.loader`; torch's `DataLoader` over
the features; and `datasets` with `set_format("torch")`, whose batches are fetched by shuffled row numbers, a few of
them only. Nothing is trained: this measures what a loop waits for.
"""

import tempfile
from collections.abc import Iterable
from importlib.util import find_spec

import torch
from measuring import Line, alternate, begin, print_table, timed
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import reuse

FEATURES, BATCH = 512, 256
OTHERS_BATCHES = 5  # a whole epoch would take longer than all others together


def by_hand(rows: Tensor, labels: Tensor) -> Iterable[tuple[Tensor, Tensor]]:
    for some in torch.randperm(len(rows)).split(BATCH):
        yield rows.index_select(0, some), labels.index_select(0, some)


def read(batches: Iterable[object]) -> int:
    return sum(1 for _ in batches)


def main() -> None:
    quick = begin(__doc__ or "")
    num_rows, rounds = (5_000, 3) if quick else (100_000, 21)
    inputs, labels = torch.randn(num_rows, 8), torch.randint(10, (num_rows,))
    model = nn.Sequential(nn.Linear(8, FEATURES), nn.Linear(FEATURES, 10))
    with tempfile.TemporaryDirectory() as folder:
        features = reuse.cached(model, TensorDataset(inputs, labels), freeze="0", cache_dir=folder)
        rows = torch.cat([z for z, _ in features.loader(BATCH)])
        sides = {
            "index_select": timed(lambda: read(by_hand(rows, labels))),
            "loader": timed(lambda: read(features.loader(BATCH, shuffle=True))),
            "DataLoader": timed(lambda: read(DataLoader(features, BATCH, shuffle=True))),
        }
        if find_spec("datasets") is not None:
            import datasets

            table = datasets.Dataset.from_dict({"z": rows.numpy(), "y": labels.numpy()})
            table.set_format("torch")
            some = [order.tolist() for order in torch.randperm(num_rows).split(BATCH)[:OTHERS_BATCHES]]
            sides["datasets"] = timed(lambda: read(table[numbers] for numbers in some))
        times = alternate(sides, rounds)
    batches = {name: OTHERS_BATCHES if name == "datasets" else -(-num_rows // BATCH) for name in times}
    each = {name: [seconds / batches[name] for seconds in times[name]] for name in times}
    targets = {"index_select": 0.9, "DataLoader": 1.0, "datasets": 20.0}
    lines = [
        Line(f"features.loader / {name}", target, [b / a for a, b in zip(each["loader"], each[name], strict=True)])
        for name, target in targets.items()
        if name in each
    ]
    print_table("epochs of cached features", lines)


if __name__ == "__main__":
    main()
