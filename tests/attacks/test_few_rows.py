"""What a change reaches in few rows, none of which is probed or compared, is in the key: nothing else could find it."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

from attacks.few_rows import ODD, ROWS, change, load_few, rows
from attacks.few_rows_classes import CLASSES
from attacks.few_rows_code import FUNCTIONS
from attacks.few_rows_outside import OUTSIDE
from attacks.few_rows_values import VALUES
from attacks.test_mutations import read
from reuse.data.loading import load

KINDS = FUNCTIONS | CLASSES | VALUES | OUTSIDE
DATA = load((rows().numpy(), np.arange(ROWS) % 4))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in ("few_network", "few_tools"):
        sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", KINDS)
def test_what_few_rows_show_is_found_again_and_computed_anew_when_it_changes(folder: Path, name: str) -> None:
    kind = KINDS[name]
    _, few = load_few(folder, kind.text)
    assert read(few, DATA) == "computed"
    with torch.no_grad():
        before = few(rows())
    assert read(load_few(folder, kind.text)[1], DATA) == "found"
    network, few = load_few(folder, kind.edited())
    with ExitStack() as undo:
        change(kind, network, few, undo)
        with torch.no_grad():
            changed = (few(rows()) != before).any(1)
        assert changed.nonzero().flatten().tolist() == [ODD], "the change reaches that row alone"
        assert read(few, DATA) == "computed"
