"""A probe finds what a prefix computes otherwise, far outside of ordinary inputs too, and bears rounding elsewhere."""

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from reuse.caching import probing
from reuse.caching.probe_record import PROBE, read_probe, write_probe
from reuse.caching.probing import difference, probe_rows, take_probe

CPU = torch.device("cpu")
ORDINARY = torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(0))
TOKENS = torch.tensor([[3, 7, 7, 0], [1, 5, 0, 0], [9, 2, 4, 6]])


def plain(x):
    return (x.flatten(1).sum(1, keepdim=True) * 0.5, x.tanh())


CHANGES = {
    "all rows": lambda x: (plain(x)[0] * 1.0000001, plain(x)[1]),
    "one output": lambda x: (plain(x)[0], x.sigmoid()),
    "large values": lambda x: (plain(x)[0], x.tanh() + (x > 50)),
    "negative values": lambda x: (plain(x)[0], torch.where(x < -200, x, x.tanh())),
    "zeros": lambda x: (plain(x)[0], x.tanh() + (x == 0).all(-1, keepdim=True)),
    "rows without spread": lambda x: (plain(x)[0], x.tanh() + (x.flatten(1).std(1) == 0)[:, None, None]),
    "shape": lambda x: (plain(x)[0], x.tanh()[:, :2]),
    "type": lambda x: (plain(x)[0], x.tanh().double()),
    "an error": lambda x: x.frobnicate(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_shows_in_the_probe_wherever_it_acts(change):
    probe = take_probe(ORDINARY, plain, CPU)
    assert difference(probe, plain, CPU) is None
    assert "probe" in difference(probe, CHANGES[change], CPU)


def test_rows_that_come_out_otherwise_are_counted():
    probe = take_probe(ORDINARY, plain, CPU)
    rows = probe_rows(ORDINARY[:4])
    touched = int((rows.flatten(1) > 1e4).any(1).sum())
    assert 0 < touched < len(rows)
    found = difference(probe, lambda x: (plain(x)[0], x.tanh() + (x > 1e4)), CPU)
    assert found == f"{touched} of the {len(rows)} rows of its probe come out otherwise"


def test_the_rows_are_finite_distinct_and_of_each_sign():
    rows = probe_rows(ORDINARY[:4])
    assert rows.isfinite().all()
    assert len({tuple(row.flatten().tolist()) for row in rows}) == len(rows)
    assert {(bool((row > 0).any()), bool((row < 0).any())) for row in rows} == {
        (True, True), (True, False), (False, True), (False, False),
    }  # fmt: skip


def test_whole_numbers_stay_among_those_that_there_are():
    table = nn.Embedding(10, 2)
    probe = take_probe(TOKENS, lambda x: (table(x),), CPU)
    assert probe.outside
    assert set(probe.rows[0].flatten().tolist()) <= set(TOKENS.flatten().tolist())
    assert difference(probe, lambda x: (table(x),), CPU) is None
    assert difference(probe, lambda x: (table(x) + (x == 9)[..., None],), CPU) is not None


def test_layers_that_refuse_odd_inputs_are_probed_with_ordinary_ones():
    def choosy(x):
        if x.abs().max() > 10:
            raise ValueError(x)
        return plain(x)

    probe = take_probe(ORDINARY, choosy, CPU)
    assert (probe.outside, len(probe.rows[0])) == (False, 4)
    assert difference(probe, choosy, CPU) is None


def test_not_a_number_stays_so():
    probe = take_probe(ORDINARY, lambda x: (x / x.flatten(1).std(1)[:, None, None],), CPU)
    assert probe.outputs[0].isnan().any()
    assert difference(probe, lambda x: (x / x.flatten(1).std(1)[:, None, None],), CPU) is None
    now = difference(probe, lambda x: ((x / x.flatten(1).std(1)[:, None, None]).nan_to_num(),), CPU)
    assert now is not None


@pytest.fixture
def elsewhere(monkeypatch):
    """Another machine than that on which a probe was taken."""
    probe = take_probe(ORDINARY, plain, CPU)
    monkeypatch.setattr(probing, "setting_of", lambda device: "another machine")
    return probe


@pytest.mark.parametrize(("factor", "passes"), [(1 + 1e-6, True), (1 + 1e-2, False)])
def test_another_machine_may_round_otherwise_and_no_more(elsewhere, factor, passes):
    assert (difference(elsewhere, lambda x: tuple(y * factor for y in plain(x)), CPU) is None) is passes


def test_what_is_rounding_alone_is_no_difference_on_another_machine(monkeypatch):
    norm = nn.LayerNorm([3, 4])  # of a row without spread it gives nothing but rounding, made large

    def other_sums(x):
        return (norm(x.double().mul(1 + 1e-7).float()),)

    probe = take_probe(ORDINARY, lambda x: (norm(x),), CPU)
    monkeypatch.setattr(probing, "setting_of", lambda device: "another machine")
    assert difference(probe, other_sums, CPU) is None
    assert difference(probe, lambda x: (norm(x) * 1.01,), CPU) is not None


def test_a_prefix_that_gives_other_bits_each_time_is_compared_as_far_as_rounding():
    noise = torch.Generator().manual_seed(0)

    def shaky(x):
        return tuple(y * (1 + 1e-7 * torch.randn(y.shape, generator=noise)) for y in plain(x))

    probe = take_probe(ORDINARY, shaky, CPU)
    assert not probe.exact
    assert difference(probe, shaky, CPU) is None
    assert difference(probe, lambda x: tuple(y * 1.01 for y in plain(x)), CPU) is not None


def test_a_probe_is_kept_as_it_is(tmp_path):
    assert read_probe(tmp_path) is None
    probe = take_probe(ORDINARY.bfloat16(), lambda x: (x * 2, x.isnan()), CPU)
    write_probe(tmp_path, probe)
    assert [path.name for path in tmp_path.iterdir()] == [PROBE]
    read = read_probe(tmp_path)
    assert (read.setting, read.exact, read.outside) == (probe.setting, probe.exact, probe.outside)
    for one, other in zip((*probe.ordinary, *probe.outputs), (*read.ordinary, *read.outputs), strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
    (tmp_path / PROBE).write_bytes(b"damaged")
    assert read_probe(tmp_path) is None


def test_a_probe_in_which_any_bit_flipped_counts_as_none(tmp_path, caplog):
    write_probe(tmp_path, take_probe(ORDINARY, plain, CPU))
    path = tmp_path / PROBE
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for place in (*range(0, 700, 7), *random.integers(0, len(whole), 100).tolist()):
        content = bytearray(whole)
        content[place] ^= 1 << int(random.integers(8))
        path.write_bytes(content)
        caplog.clear()
        assert read_probe(tmp_path) is None, place
        assert [PROBE in record.getMessage() for record in caplog.records] == [True]
        assert not path.exists()


def test_a_probe_of_an_earlier_version_without_a_checksum_is_read(tmp_path):
    write_probe(tmp_path, take_probe(ORDINARY, plain, CPU))
    with safe_open(tmp_path / PROBE, "pt") as file:
        about = {name: words for name, words in file.metadata().items() if name != "checksum"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
    save_file(tensors, tmp_path / PROBE, about)
    assert difference(read_probe(tmp_path), plain, CPU) is None


def test_random_numbers_go_on_as_without_a_probe():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    take_probe(ORDINARY, lambda x: (x + torch.rand(1) * 0,), CPU)
    assert torch.equal(torch.rand(4), expected)
