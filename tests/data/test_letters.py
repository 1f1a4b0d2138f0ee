"""Names and texts of tables are one whether their letters are composed or not, as they look alike."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from reuse.data.letters import composed, composed_column, composed_if_apart
from reuse.data.loading import load
from reuse.inference.predicting import evaluate, predict
from reuse.objectives.weighting import parse_class_weights
from reuse.pretraining.pretrain import pretrain

ROWS = 120
QUICK: dict[str, Any] = {"model": "mlp:4", "epochs": 2}


def decomposed(text: str) -> str:
    apart = unicodedata.normalize("NFD", text)
    assert apart != text
    return apart


def towns() -> pd.DataFrame:
    draw = np.random.default_rng(0)
    town = draw.choice(["Zürich", "Genève", "Bern"], ROWS)
    kind = np.where(town == "Bern", "né", "mort")
    return pd.DataFrame({"a": draw.normal(size=ROWS), "Größe": draw.normal(size=ROWS), "Ort": town, "État": kind})


def decomposed_towns() -> pd.DataFrame:
    table = towns().map(lambda cell: unicodedata.normalize("NFD", cell) if isinstance(cell, str) else cell)
    return table.rename(columns=lambda name: unicodedata.normalize("NFD", name))


def test_letters_are_composed() -> None:
    assert composed(decomposed("é")) == "é"
    assert composed_if_apart((decomposed("é"), "b")) == ("é", "b")
    assert composed_if_apart((decomposed("é"), "é")) == (decomposed("é"), "é")


@pytest.mark.parametrize("dtype", [object, "str", "string[pyarrow]", "string[python]"])
@pytest.mark.parametrize("word", ["Zürich", "né", "안녕", "Tiếng Việt", "plain", "ﬁ"])
def test_a_column_is_composed_whoever_holds_it(dtype: Any, word: str) -> None:
    apart = [unicodedata.normalize("NFD", word), word, "a", None]
    found = composed_column(pd.Series(apart, index=[3, 1, 2, 0], dtype=dtype))
    assert found.index.tolist() == [3, 1, 2, 0]
    assert found.tolist()[:3] == [unicodedata.normalize("NFC", word)] * 2 + ["a"]
    assert found.isna().tolist() == [False] * 3 + [True]
    assert composed_column(found) is found


def test_a_column_without_rows_is_as_it_is() -> None:
    texts = pd.Series(["é", "b"], dtype="string[pyarrow]")
    assert composed_column(texts[texts == "c"]).empty


@pytest.mark.parametrize("form", ["frame", "csv", "parquet"])
def test_a_table_of_decomposed_letters_is_the_same_table(form: str) -> None:
    run = pretrain("supervised", data=towns(), target="État", **QUICK).run
    other: Any = decomposed_towns()
    if form != "frame":
        getattr(other, f"to_{form}")(f"other.{form}", index=False)
        other = f"other.{form}"
    same, found = predict(run, data=towns()), predict(run, data=other)
    assert found.values.tolist() == same.values.tolist()
    assert evaluate(run, data=other, split="all").metrics == evaluate(run, data=towns(), split="all").metrics


def test_both_ways_of_writing_in_one_column_are_one_category_and_one_class() -> None:
    table = towns()
    table.loc[::2, ["Ort", "État"]] = table[::2][["Ort", "État"]].map(lambda text: unicodedata.normalize("NFD", text))
    data = load(table, target="État")
    assert data.classes == ("mort", "né")
    assert set(data.preprocessing.columns[2].categories) == {"Zürich", "Genève", "Bern"}
    assert load((np.eye(40), np.array(["é", decomposed("é")] * 10 + ["e"] * 20))).classes == ("e", "é")


def test_settings_name_columns_and_classes_in_either_way() -> None:
    table = towns()
    data = load(table, target=decomposed("État"), ignore=decomposed("Größe"), classes=[decomposed("né"), "mort"])
    assert [column.name for column in data.preprocessing.columns] == ["a", "Ort"]
    grouped = load(table.assign(é=np.repeat(np.arange(ROWS // 4), 4)), target="État", group_by=decomposed("é"))
    assert "é" not in [column.name for column in grouped.preprocessing.columns]
    weights = parse_class_weights(f"{decomposed('né')}=3", data.classes, data.train.targets)  # type: ignore[arg-type]
    assert weights == (1.0, 3.0)


def test_two_columns_that_look_alike_are_refused() -> None:
    table = towns().rename(columns={"a": decomposed("Größe")})
    with pytest.raises(Exception, match="two columns called 'Größe'"):
        load(table, target="État")


def test_a_run_that_kept_decomposed_names_takes_tables_of_both_kinds() -> None:
    run = Path(pretrain("supervised", data=towns(), target="État", **QUICK).run)
    before = predict(run, data=towns()).values.tolist()
    kept = json.loads((run / "run.json").read_text(encoding="utf-8"))
    kept = json.loads(unicodedata.normalize("NFD", json.dumps(kept, ensure_ascii=False)))
    (run / "run.json").write_text(json.dumps(kept), encoding="utf-8")
    assert predict(run, data=towns()).values.tolist() == before
    assert predict(run, data=decomposed_towns()).values.tolist() == before
    assert evaluate(run, data=towns(), split="all").rows == ROWS


def test_files_of_pictures_are_opened_by_the_name_that_they_have() -> None:
    names = [f"{decomposed('é')}{place}.png" for place in range(20)]
    for place, name in enumerate(names):
        Image.new("L", (4, 4), 12 * place).save(name)
    pd.DataFrame({"file": names, "kind": ["a", "b"] * 10}).to_csv("pictures.csv", index=False)
    assert load("pictures.csv").sizes["train"] == 12
