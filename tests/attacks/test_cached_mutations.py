"""Whatever changes about frozen layers, features of a Dataset are what they would compute now."""

import os
import random
import subprocess
import sys
from contextlib import ExitStack

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import reuse
from attacks.mutable_network import build, load_network
from attacks.mutations import MUTATIONS
from attacks.test_mutations import SEED, X, folder, pytestmark  # noqa: F401 - a fixture, and warnings to be ignored

COUNT = int(os.environ.get("REUSE_MUTATIONS", "24"))
ROWS = torch.from_numpy(X)
DATA = TensorDataset(ROWS, torch.arange(len(ROWS)) % 4)

ELSEWHERE = """
import sys, torch, reuse
from torch import nn
from torch.utils.data import TensorDataset
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
rows = torch.arange(160).reshape(20, 8) / 160
features = reuse.cached(model, TensorDataset(rows.flip(0)[:15]), freeze="0,1", cache_dir=sys.argv[1])
print(features.computed, features.found)
"""


def features_of(body):
    """Return the features of a body before a head, or None where the model cannot be cut."""
    torch.manual_seed(0)
    try:
        return reuse.cached(nn.Sequential(body, nn.Linear(6, 4)), DATA, freeze="0", cache_dir="cache")
    except reuse.CutError:
        return None


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*set aside")
def test_no_features_are_stale_after_any_mutation(folder):  # noqa: F811
    draw, wrong, cut = random.Random(SEED), [], 0
    for mutation in draw.sample(MUTATIONS, min(COUNT, len(MUTATIONS))):
        features_of(build(load_network(folder, mutation.base))[0])
        with ExitStack() as undo:
            body = build(load_network(folder, *mutation.sources(draw)))[0]
            if mutation.change is not None:
                mutation.change(body, draw, undo)
            features = features_of(body)
            if features is None:
                continue
            cut += 1
            with torch.no_grad():
                now = body.eval()(ROWS)
            served = torch.stack([z for z, _ in features])
            if not torch.allclose(served, now, rtol=1e-5, atol=1e-6, equal_nan=True):
                wrong.append(mutation.name)
    assert wrong == []
    assert cut > 0.5 * min(COUNT, len(MUTATIONS))


@pytest.mark.slow
def test_another_process_folder_and_hash_seed_find_what_is_cached(tmp_path):
    printed = []
    for number, seed in enumerate(("1", "2")):
        place = tmp_path / str(number)
        place.mkdir()
        command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "cache")]
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=True)
        printed.append(done.stdout.split())
    assert printed == [["15", "0"], ["0", "15"]]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    rows = torch.arange(160).reshape(20, 8) / 160
    features = reuse.cached(model, TensorDataset(rows), freeze="0,1", cache_dir=tmp_path / "cache")
    assert (features.computed, features.found) == (5, 15)
