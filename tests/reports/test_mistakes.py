"""The worst mistakes: the right rows, as they are."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from reports.conftest import outcome_of, subject_of
from reuse.reports.mistakes import mistakes_section, png, row_contents, worst_places
from reuse.reports.outcome import Outcome


def decoded(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))))


def test_they_are_wrong_and_in_the_order_of_their_loss(runs: Path) -> None:
    outcome = outcome_of(runs / "frozen")
    places = worst_places(outcome)
    own = outcome.values[np.arange(len(outcome.values)), outcome.targets]
    wrong = np.flatnonzero(outcome.values.argmax(1) != outcome.targets)
    expected = wrong[np.argsort(own[wrong], kind="stable")][: len(places)]
    assert own[places].tolist() == own[expected].tolist()
    assert set(places) <= set(wrong)
    assert len(places) == min(24, len(wrong))


def test_pictures_are_the_pixels_of_the_data(runs: Path) -> None:
    outcome = outcome_of(runs / "odd <b>")
    raw = np.load(runs / "odd.npz")["x"]
    place = int(worst_places(outcome)[0])
    addresses = re.findall(r'src="(data:image/png;base64,[^"]+)"', mistakes_section(subject_of(runs / "odd <b>")).body)
    assert np.array_equal(decoded(addresses[0]), raw[outcome.numbers[place]].transpose(1, 2, 0))


def test_large_pictures_are_made_small_and_others_are_not() -> None:
    assert decoded(png(torch.rand(1, 300, 200))).shape == (96, 64)
    assert decoded(png(torch.rand(2, 9, 7))).shape == (9, 7)


def test_rows_of_a_table_are_given_as_they_stand_in_the_file(numbers: Path) -> None:
    subject, outcome = subject_of(numbers), outcome_of(numbers)
    frame = pd.read_csv(numbers.parent / "table.csv")
    places = worst_places(outcome)
    preprocessing = subject.record.manifest.preprocessing
    assert preprocessing is not None
    for place, content in zip(places, row_contents(outcome, places, preprocessing), strict=True):
        row = frame.iloc[outcome.numbers[place]]
        assert content["kind"] == row["kind"]
        assert abs(float(content["size"]) - row["size"]) < 1e-3
        assert outcome.targets[place, 0] == row["price"]


def test_numbers_that_are_furthest_off_come_first(numbers: Path) -> None:
    outcome = outcome_of(numbers)
    errors = np.abs(outcome.values - outcome.targets)[:, 0]
    assert worst_places(outcome).tolist() == np.argsort(-errors, kind="stable")[:24].tolist()


def test_labels_that_are_wrong(labels: Path) -> None:
    outcome: Outcome = outcome_of(labels)
    for place in worst_places(outcome):
        assert ((outcome.values[place] > 0.5) != (outcome.targets[place] > 0)).any()


def test_words_of_a_text_come_back(tmp_path: Path, monkeypatch: object) -> None:
    from reuse.pretraining.pretrain import pretrain

    lines = [f"{'good' if i % 2 else 'bad'} film {'abcdefgh'[i % 8]},{i % 2}" for i in range(60)]
    (tmp_path / "some.csv").write_text("\n".join(["review,stars", *lines]))
    pretrain(
        "supervised", data=tmp_path / "some.csv", text="review", target="stars", model="lstm:3", epochs=1,
        out=tmp_path / "run",
    )  # fmt: skip
    subject, outcome = subject_of(tmp_path / "run"), outcome_of(tmp_path / "run")
    assert subject.record.manifest.preprocessing is not None
    (content,) = row_contents(outcome, np.array([0]), subject.record.manifest.preprocessing)
    assert content["text"] == lines[outcome.numbers[0]].partition(",")[0]


def test_each_picture_says_which_row_it_is_without_a_pointer(runs: Path) -> None:
    outcome = outcome_of(runs / "odd <b>")
    body = mistakes_section(subject_of(runs / "odd <b>")).body
    told = re.findall(r"<small>([^<]+)</small>", body)
    assert told == [outcome.names[place] for place in worst_places(outcome)]
