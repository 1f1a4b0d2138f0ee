"""What is said of a precision that a CPU has no arithmetic for."""

import pytest
import torch

import reuse
from reuse import precision
from reuse.precision import PRECISIONS, describe_precision

CPU, SLOW = torch.device("cpu"), "this CPU has no such arithmetic: float32 is several times as fast"


@pytest.mark.parametrize("has", [True, False])
def test_only_bfloat16_on_a_cpu_without_it_is_spoken_of(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_has_bfloat16", lambda: has)
    spoken = {name for name in PRECISIONS if describe_precision(name, CPU)}
    assert spoken == (set() if has else {"bfloat16"})
    assert not describe_precision("bfloat16", torch.device("cuda"))


def test_the_arithmetic_is_looked_for_where_onednn_says() -> None:
    capabilities = torch.backends.cpu.get_cpu_capability()
    if capabilities in {"DEFAULT", "AVX2"}:  # oneDNN converts each number there
        assert describe_precision("bfloat16", CPU)
    if torch.cpu._is_avx512_bf16_supported():
        assert not describe_precision("bfloat16", CPU)


def test_runs_keep_what_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_cpu_has_bfloat16", lambda: False)
    settings = {"data": "digits", "epochs": 1, "precision": "bfloat16"}
    source = reuse.pretrain("autoencoder", model="mlp:4", **settings)
    tuned = reuse.finetune(source.run, freeze="hidden1", labels=50, **settings)
    for result in (source, tuned):
        assert sum(SLOW in note for note in result.notes) == 1
