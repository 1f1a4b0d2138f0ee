"""`reuse cache`: what is kept, why something was computed anew, damage, and making room."""

from pathlib import Path
from typing import Any

import h5py
import pytest

from reuse.caching.holding import Hold
from reuse.paths import cache_folder


@pytest.fixture
def tune(reuse: Any, pretrained: Path) -> Any:
    """Fine-tunes with an option or two of its own."""

    def call(*options: object) -> Any:
        return reuse("finetune", pretrained, *common(options), "--json").json

    return call


@pytest.fixture
def why(reuse: Any, pretrained: Path) -> Any:
    """Asks why for the same."""

    def call(*options: object) -> Any:
        values = reuse("cache", "why", pretrained, *common(options), "--json").json
        answer = reuse("cache", "why", pretrained, *common(options))
        assert answer.code == 0
        return values, answer.out

    return call


def common(options: tuple[object, ...]) -> tuple[object, ...]:
    freeze = () if "--freeze" in options else ("--freeze", "hidden1")
    return ("--data", "digits", "--labels", 40, "--epochs", 2, *freeze, *options)


@pytest.mark.parametrize("command", [("list",), ("verify",), ("prune", "--budget", "1GB"), ("clear", "--yes")])
def test_a_file_in_the_place_of_the_folder_is_no_empty_cache(reuse: Any, tmp_path: Path, command: Any) -> None:
    (tmp_path / "file").write_text("of somebody")
    answer = reuse("cache", *command, "--cache-dir", tmp_path / "file")
    assert answer.code == 2
    assert "is a file, and activations are kept in a folder" in answer.err
    assert (tmp_path / "file").read_text() == "of somebody"


def test_an_empty_cache(reuse: Any, why: Any) -> None:
    assert reuse("cache", "list", "--json").json["entries"] == []
    assert "0 prefixes" in reuse("cache", "list").out
    values, text = why()
    assert (values["hit"], values["missing"], values["nearest"]) == (False, 400, None)
    assert "the cache is empty" in text
    assert reuse("cache", "verify").code == 0
    assert reuse("cache", "clear", "--json").json["freed"] == 0


def test_what_is_listed(reuse: Any, tune: Any) -> None:
    key = tune()["cache"]["key"]
    listed = reuse("cache", "list", "--json").json
    assert [entry["key"] for entry in listed["entries"]] == [key]
    assert listed["entries"][0]["rows"] == 400
    on_disk = sum(path.stat().st_size for path in (cache_folder() / key).rglob("*") if path.is_file())
    assert listed["bytes"] == listed["entries"][0]["bytes"] == on_disk
    text = reuse("cache", "list").out
    assert key in text
    assert "MLP" in text


def test_why_it_is_a_hit(tune: Any, why: Any) -> None:
    key = tune()["cache"]["key"]
    values, text = why("--learning-rate", 0.5)
    assert values["hit"]
    assert values["key"] == key
    assert text.startswith("hit: all 400 rows")


def test_why_only_some_rows_are_missing(tune: Any, why: Any) -> None:
    tune()
    values, text = why("--labels", 60)
    assert not values["hit"]
    assert (values["missing"], values["found"]) == (20, 400)
    assert "20 of 420 rows are new" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--freeze", "hidden1,hidden2"), ("the weights of hidden2.linear.weight: not in the cached prefix",)),
        (("--activation", "tanh"), ("hidden1.activation.class", "Tanh", "ELU")),
        (("--precision", "float64"), ("the dtype: float64 now, float32 in the cache",)),
        (("--cache-dtype", "float16"), ("stored.hidden1", "'torch.float16' now, 'torch.float32' in the cache")),
    ],
    ids=str,
)
def test_what_differs(tune: Any, why: Any, options: tuple[str, ...], words: tuple[str, ...]) -> None:
    key = tune()["cache"]["key"]
    values, text = why(*options)
    assert not values["hit"]
    assert values["nearest"] == key != values["key"]
    for word in words:
        assert word in text
        assert any(word in line for line in values["differences"])
    assert not tune(*options)["cache"]["hit"]


def test_other_weights_are_named(reuse: Any, tune: Any) -> None:
    tune()
    other = reuse("pretrain", "--model", "mlp:16,8", "--epochs", 1, "--seed", 5, "--json").json["run"]
    lines = reuse("cache", "why", other, *common(()), "--json").json["differences"]
    weights = [line for line in lines if line.startswith("the weights of hidden1")]
    assert weights == [f"the weights of hidden1.linear.{name}: not the same" for name in ("bias", "weight")]


def test_why_nothing_is_cached(reuse: Any, pretrained: Path) -> None:
    answer = reuse("cache", "why", pretrained, "--data", "digits")
    assert answer.code == 0
    assert "nothing is frozen" in answer.out


def test_damage_is_found_and_named(reuse: Any, tune: Any) -> None:
    cache = tune()["cache"]
    assert reuse("cache", "verify").code == 0
    segment = next(Path(cache["path"]).glob("*.h5"))
    content = bytearray(segment.read_bytes())
    with h5py.File(segment) as file:
        offset = file["frontier/0_hidden1"].id.get_offset()
    content[offset + 5] ^= 1
    segment.write_bytes(content)
    answer = reuse("cache", "verify")
    answer.is_refused("damaged", cache["key"], code=1)
    assert str(segment) in answer.out
    assert "rows 0 to 399" in answer.out
    as_json = reuse("cache", "verify", cache["key"][:6], "--json")
    assert as_json.code == 1
    assert as_json.json["problems"][0]["path"] == str(segment)


def test_pruning_removes_what_was_used_longest_ago(reuse: Any, tune: Any) -> None:
    old, new = tune()["cache"]["key"], tune("--freeze", "hidden1,hidden2")["cache"]["key"]
    sizes = {entry["key"]: entry["bytes"] for entry in reuse("cache", "list", "--json").json["entries"]}
    values = reuse("cache", "prune", "--budget", sizes[new] + 10, "--json").json
    assert values["freed"] == sizes[old]
    assert [entry["key"] for entry in reuse("cache", "list", "--json").json["entries"]] == [new]
    assert reuse("cache", "prune", "--budget", "1GB", "--json").json["freed"] == 0


def test_pruning_names_what_is_read_and_stays(reuse: Any, tune: Any, caplog: pytest.LogCaptureFixture) -> None:
    cache = tune()["cache"]
    command = ("cache", "prune", "--budget", 0)
    with Hold(Path(cache["path"])):
        assert reuse(*command).code == 0
        assert f"not removed: {cache['key']}" in caplog.text
    caplog.clear()
    assert reuse(*command).code == 0
    assert not caplog.records
    assert reuse("cache", "list", "--json").json["entries"] == []


def test_pruning_names_what_is_damaged_and_stays(reuse: Any, tune: Any) -> None:
    cache = tune()["cache"]
    (Path(cache["path"]) / "prefix.json").write_text("garbage")
    answer = reuse("cache", "prune", "--budget", "1GB")
    assert answer.code == 0
    assert f"{cache['key']} is damaged" in answer.out
    assert f"`reuse cache clear {cache['key']}` removes it" in answer.out


def test_clearing_one_prefix_or_all(reuse: Any, tune: Any) -> None:
    choices = (("--freeze", "hidden1"), ("--freeze", "hidden1,hidden2"), ("--activation", "tanh"))
    one, two, three = (tune(*options)["cache"]["key"] for options in choices)
    assert len({one, two, three}) == 3
    assert "freed" in reuse("cache", "clear", one[:10]).out
    assert {e["key"] for e in reuse("cache", "list", "--json").json["entries"]} == {two, three}
    reuse("cache", "clear", one).is_refused(one)
    reuse("cache", "clear", "").is_refused("2 prefixes")
    freed = reuse("cache", "clear", "--yes", "--json").json
    assert freed["freed"] > 0
    assert freed["bytes"] == 0


def test_another_folder(reuse: Any, tune: Any, tmp_path: Path) -> None:
    tune("--cache-dir", tmp_path / "other")
    assert reuse("cache", "list", "--json").json["entries"] == []
    assert len(reuse("cache", "list", "--cache-dir", tmp_path / "other", "--json").json["entries"]) == 1
