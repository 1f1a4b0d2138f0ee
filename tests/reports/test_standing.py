"""What became of a layer, by its name."""

from dataclasses import replace
from pathlib import Path

import pytest

from reuse.reports.record import RunRecord
from reuse.reports.standing import Standing, standing_of
from reuse.runs.manifest import PhaseRecord

PHASES = (PhaseRecord(1, ("stem", "body.0", "tail.lower")), PhaseRecord(4, ("stem",)))


@pytest.fixture
def record(runs: Path) -> RunRecord:
    found = RunRecord.read(runs / "frozen", "frozen")
    manifest = replace(
        found.manifest, restored=("stem", "body", "mixed.one"), fresh=("head", "mixed.two"), phases=PHASES
    )
    return replace(found, manifest=manifest)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("stem", Standing("frozen", "restored, frozen", True)),
        ("stem.conv", Standing("frozen", "restored, frozen", True)),
        ("body.0", Standing("mixed", "restored, frozen until epoch 3", True)),
        ("body.1", Standing("trained", "restored, trained", True)),
        ("head", Standing("trained", "fresh, trained")),
        ("mixed", Standing("trained", "partly restored, trained")),
        ("tail", Standing("mixed", "partly frozen")),
        ("stemming", Standing("trained", "trained")),
    ],
)
def test_the_standing_of_a_layer(name: str, expected: Standing, record: RunRecord) -> None:
    assert standing_of(name, 5, record) == expected
    assert standing_of(name, 0, record) == Standing("plain", "")
