"""The benchmarks run and print their tables. What they measure is read by people, never asserted."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("bench_frozen_resnet", ("first run", "second run", "F ")),
        ("bench_extraction", ("extraction of ready tensors", "extraction of uint8 images")),
        ("bench_layers", ("pass to the last / pass to all", "filling the last / filling all")),
        ("bench_epoch", ("ours / by hand", "ours / scikit-learn")),
        ("bench_layouts", ("convnet:32,64, 28×28: plain / both",)),
        ("bench_heap", ("vicreg, convnet:32,64, 28×28: left alone / kept",)),
        ("bench_heads", ("4 heads, sgd, batch 32", "4 heads, adam, batch 256")),
        ("bench_solvers", ("logistic, ResNet-18", "ridge, ResNet-18")),
        ("bench_auto_freeze", ("whole / auto_freeze ", "whole / auto_freeze, no cache")),
        ("bench_layerwise", ("3 layers of 1000: without / cached", "10 layers of 500: without / cached before")),
        ("bench_search", ("3 heads, 2 folds: without / with", "pass to the last layer / pass with all")),
        ("bench_opening", ("50 ms / opening",)),
        ("bench_tables", ("pandas.read_csv / reading", "growth of pandas.read_csv / growth in loading")),
        ("bench_loader", ("features.loader / index_select", "features.loader / DataLoader")),
        ("bench_checking", ("load, 20000", "windows, 20000")),
        ("bench_pretraining", ("by hand / simclr", "by hand / denoising")),
        ("bench_grid", ("40 images of 32×32",)),
        ("bench_reading", ("cache from RAM / index_select", "cache from map / h5py")),
    ],
)
def test_prints_a_table(name: str, lines: tuple[str, ...]) -> None:
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.splitlines()
    assert any(line.startswith("what ") and line.split()[1:3] == ["target", "median"] for line in printed)
    for beginning in lines:
        assert any(line.startswith(beginning) for line in printed), beginning


@pytest.mark.slow
def test_every_tool_is_told_with_what_it_served_stale() -> None:
    command = [sys.executable, str(FOLDER / "bench_stale.py"), "--quick", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    heading, *lines = done.stdout.splitlines()
    assert heading.split()[:3] == ["tool", "mutations", "stale"]
    tools = [line.split()[0] for line in lines if " of " in line]
    assert tools[0] == "ours"
    assert "joblib.Memory" in tools  # scikit-learn brings it
    assert lines[0].split()[2] == "0"


@pytest.mark.slow
def test_every_change_is_told_for_each_way_to_a_loop() -> None:
    command = [sys.executable, str(FOLDER / "bench_doors.py"), "--quick", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    heading, _, *lines = done.stdout.splitlines()
    assert heading == "| change | plain loop | joblib.Memory |"
    assert len(lines) == 15
    assert {line.split(" | ")[1] for line in lines} == {"right"}


@pytest.mark.slow
def test_what_cuts_cost_is_told() -> None:
    command = [sys.executable, str(FOLDER / "bench_cutting.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["resnet10t", "lcnet_035"]
    assert lines[-3].split() == ["model", "seconds", "a", "pass", "passes", "share", "by"]


@pytest.mark.slow
def test_what_rankings_lose_is_told() -> None:
    command = [sys.executable, str(FOLDER / "bench_ranking.py"), "--quick", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["digits", "digits"]
    assert {"race", "logme", "nearest", "largest"} <= {line.split()[0] for line in lines[5:-2]}
    assert lines[-1].startswith("the race's regret is at most that of the best score of each set in ")
