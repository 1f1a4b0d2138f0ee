"""Texts of a table or an array: words, vocabulary, lengths, what is told and what is refused."""

import csv
import json
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tomli_w
import torch
from sklearn.feature_extraction.text import CountVectorizer

from reuse.data.loading import load
from reuse.data.preprocessing import Preprocessing
from reuse.data.text import split_words
from reuse.errors import DataError, UsageError

RNG = np.random.default_rng(0)
WORDS = np.array([f"Wort{number}" for number in range(60)])
TEXTS = [" ".join(RNG.choice(WORDS, n)) + "!" for n in RNG.integers(1, 12, 80)]
LABELS = ["good" if number % 2 else "bad" for number in range(80)]


def write(path: Path, columns: dict[str, list[object]]) -> Path:
    if path.suffix == ".parquet":
        pd.DataFrame(columns).to_parquet(path)
        return path
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([list(columns), *zip(*columns.values(), strict=True)])
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write(tmp_path / "texts.csv", {"review": TEXTS, "stars": list(range(80)), "label": LABELS})


@pytest.mark.parametrize("text", ["It's GOOD, 10/10!", "", "  ...  ", "Ärger über Straßen_1", "a b\tc\nd"])
def test_words_are_those_of_scikit_learn(text: str) -> None:
    assert split_words(text) == CountVectorizer(token_pattern=r"(?u)\b\w+\b").build_analyzer()(text)


def test_the_vocabulary_is_of_the_training_split_alone(table: Path) -> None:
    data = load(table, text="review", vocabulary=20, sequence_length=12)
    counts = Counter(word for row in data.train.rows for word in TEXTS[row].lower().strip("!").split())
    assert data.preprocessing.words == tuple(sorted(counts, key=lambda w: (-counts[w], w))[:20])
    assert (data.num_tokens, data.task, data.classes) == (22, "classification", ("bad", "good"))
    names = data.preprocessing.token_names
    for split in (data.train, data.valid, data.test):
        resident = split.inputs.resident()
        assert resident.dtype == torch.int64
        for row, found in zip(split.rows, resident, strict=True):
            words = TEXTS[row].lower().strip("!").split()
            expected = [names.index(w) if w in data.preprocessing.words else 1 for w in words]
            assert found.tolist() == expected + [0] * (12 - len(words))
    assert any("left aside" in note and "stars" in note for note in data.notes)
    assert any(f"20 most frequent of {len(counts)} different words" in note for note in data.notes)


def test_the_length_follows_the_training_split(table: Path) -> None:
    data = load(table, text="review")
    lengths = [len(TEXTS[row].split()) for row in data.train.rows]
    assert data.input_shape == (int(np.ceil(np.percentile(lengths, 95))),)
    short = load(table, text="review", sequence_length=5)
    cut = sum(len(TEXTS[row].split()) > 5 for row in short.test.rows)
    assert f"test: {cut} of {len(short.test)} texts are longer than 5 words: the rest is cut off" in short.notes


def test_new_texts_are_prepared_as_the_old(table: Path, tmp_path: Path) -> None:
    fitted = load(table, text="review").preprocessing
    assert Preprocessing.from_dict(tomllib.loads(tomli_w.dumps(fitted.to_dict()))) == fitted
    again = Preprocessing.from_dict(json.loads(json.dumps(fitted.to_dict())))
    whole = {"valid_fraction": 0.0, "test_fraction": 0.0}
    old = load(table, preprocessing=fitted, **whole)
    new = load(write(tmp_path / "new.csv", {"id": list(range(80)), "review": TEXTS}), preprocessing=again, **whole)
    assert new.num_tokens == old.num_tokens
    assert torch.equal(new.train.inputs.resident(), old.train.inputs.resident())
    other = write(tmp_path / "other.csv", {"comment": TEXTS, "label": LABELS})
    renamed = load(other, text="comment", preprocessing=again, **whole)
    assert torch.equal(renamed.train.inputs.resident(), old.train.inputs.resident())
    assert renamed.preprocessing.text == "comment"
    with pytest.raises(UsageError, match="review"):
        load(other, preprocessing=again)
    arrays = load((TEXTS, LABELS), preprocessing=again, **whole)
    assert torch.equal(arrays.train.inputs.resident(), old.train.inputs.resident())
    assert np.array_equal(arrays.train.inputs.digests(), old.train.inputs.digests())


def test_parquet_and_missing_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "texts.parquet", {"review": [None, "...", *TEXTS[2:]], "label": LABELS})
    data = load(path, text="review", valid_fraction=0, test_fraction=0)
    assert "train: 2 of 80 texts hold no word: they are all padding" in data.notes
    assert not data.train.inputs.resident()[:2].any()
    digests = data.train.inputs.digests()
    assert bytes(digests[0]) != bytes(digests[1])


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_arrays_of_texts_may_have_gaps(missing: object) -> None:
    given, empty = [
        load((np.array([gap, *TEXTS[1:]], object), LABELS), valid_fraction=0, test_fraction=0) for gap in (missing, "")
    ]
    assert given.notes == empty.notes
    assert torch.equal(given.train.inputs.resident(), empty.train.inputs.resident())


def test_a_column_of_pandas_with_a_gap_is_texts() -> None:
    assert load((pd.Series([None, *TEXTS[1:]]), LABELS)).preprocessing.kind == "text"


def test_numbers_can_be_texts(tmp_path: Path) -> None:
    path = write(tmp_path / "codes.csv", {"code": [n % 7 for n in range(80)], "label": LABELS})
    assert set(load(path, text="code").preprocessing.words) == set("0123456")


def test_what_is_refused(table: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"text='reviews'.*'review'"):
        load(table, text="reviews")
    with pytest.raises(UsageError, match="target or the group"):
        load(table, text="label", target="label")
    with pytest.raises(UsageError, match="names a column"):
        load("digits", text="review")
    with pytest.raises(UsageError, match="holds arrays"):
        load((TEXTS, LABELS), text="x")
    with pytest.raises(UsageError, match="vocabulary=5 is for texts"):
        load(table, vocabulary=5)
    with pytest.raises(DataError, match="holds a word"):
        load(write(tmp_path / "bare.csv", {"review": ["..."] * 80, "label": LABELS}), text="review")
    with pytest.raises(DataError, match="made for texts"):
        load("wine", preprocessing=load(table, text="review").preprocessing)
