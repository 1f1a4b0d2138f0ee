"""`reuse.cached` under DDP: the first process computes for all, and two train as one with batches twice as large."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

ROWS, BATCH, EPOCHS = 24, 4, 2
TRAIN = f"""
import json, os, sys
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset
import reuse

class Body(nn.Linear):
    rows = 0

    def forward(self, inputs):
        Body.rows += len(inputs)
        return super().forward(inputs).tanh()

together = int(os.environ.get("WORLD_SIZE", "1"))
if together > 1:
    dist.init_process_group("gloo")
torch.manual_seed(0)
x, y = torch.randn({ROWS}, 5, dtype=torch.float64), torch.arange({ROWS}) % 3
model = nn.Sequential()
model.add_module("body", Body(5, 7, dtype=torch.float64))
model.add_module("head", nn.Linear(7, 3, dtype=torch.float64))
data = TensorDataset(x, torch.stack([y, torch.arange({ROWS})], 1))
features = reuse.cached(model, data, freeze="!head", cache_dir="cache")
computed, Body.rows = Body.rows, 0
head = DistributedDataParallel(features.head) if together > 1 else features.head
optimizer = torch.optim.SGD(model.head.parameters(), lr=0.5)
seen = []
for _ in range({EPOCHS}):
    for z, target in features.loader(batch_size={2 * BATCH} // together, shuffle=True, seed=3):
        optimizer.zero_grad()
        cross_entropy(head(z), target[:, 0]).backward()
        optimizer.step()
        seen += target[:, 1].tolist()
found = {{"computed": features.computed, "body": computed, "later": Body.rows, "seen": seen,
         "weight": model.head.weight.tolist()}}
with open(f"rank{{os.environ.get('RANK', '0')}}.json", "w") as file:
    json.dump(found, file)
if together > 1:
    dist.destroy_process_group()
"""


def trained(folder: Path, together: int) -> list[dict[str, Any]]:
    """Return what each of some processes that train together tells."""
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    own = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(together)}
    started = [
        subprocess.Popen([sys.executable, "-c", TRAIN], cwd=folder, env={**os.environ, **own, "RANK": str(rank)})
        for rank in range(together)
    ]
    assert [process.wait(timeout=240) for process in started] == [0] * together
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(together)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("processes")
    return {together: trained(folder / str(together), together) for together in (1, 2)}


def test_the_first_process_computes_each_row_for_all(told: dict[int, list[dict[str, Any]]]) -> None:
    first, second = told[2]
    assert [one["computed"] for one in (first, second)] == [ROWS, ROWS]
    assert first["body"] == told[1][0]["body"]
    assert second["body"] <= first["body"] - ROWS  # its model is cut and checked on a few rows as well
    assert [one["later"] for one in (first, second)] == [0, 0]


def test_each_reads_its_own_rows_and_both_train_as_one(told: dict[int, list[dict[str, Any]]]) -> None:
    (alone,), (first, second) = told[1], told[2]
    per_epoch = ROWS // 2
    for epoch in range(EPOCHS):
        both = [one["seen"][epoch * per_epoch : (epoch + 1) * per_epoch] for one in (first, second)]
        assert sorted([*both[0], *both[1]]) == list(range(ROWS))
    assert first["weight"] == second["weight"]
    torch.testing.assert_close(torch.tensor(first["weight"]), torch.tensor(alone["weight"]), rtol=0, atol=1e-6)
