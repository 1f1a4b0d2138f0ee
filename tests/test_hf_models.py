"""Models of transformers in small random configurations, on texts and images: fine-tuned, cached, kept, used."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import reuse
from reuse.errors import DataError, RunError, UsageError
from reuse.runs.folder import RunFolder

transformers = pytest.importorskip("transformers")

WORDS = ["a", "good", "bad", "film", "great", "awful", "and", "the", "not", "very"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROWS = 40
FREEZE = {"bert": "bert", "distilbert": "!classifier,!pre_classifier", "gpt2": "!score"}


def make_config(kind: str) -> Any:
    if kind == "distilbert":
        sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 24}
        return transformers.DistilBertConfig(vocab_size=20, max_position_embeddings=40, **sizes)
    if kind == "gpt2":
        sizes = {"n_embd": 16, "n_layer": 1, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}
        return transformers.GPT2Config(vocab_size=20, n_positions=40, **sizes)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    return transformers.BertConfig(vocab_size=20, max_position_embeddings=40, **sizes)


def write_tokenizer(kind: str, folder: Path) -> None:
    """Write a tokenizer of words; GPT-2's has a token for the end of a text and none for padding."""
    if kind != "gpt2":
        (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *WORDS]))
        return
    tokenizers = pytest.importorskip("tokenizers")
    vocabulary = {word: number for number, word in enumerate(["<end>", "<unk>", *WORDS])}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", unk_token="<unk>")
    fast.save_pretrained(folder)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bodies of models and a table of texts."""
    folder = tmp_path_factory.mktemp("models")
    classes = {"bert": "BertModel", "distilbert": "DistilBertModel", "gpt2": "GPT2Model"}
    for kind, name in classes.items():
        torch.manual_seed(0)
        getattr(transformers, name)(make_config(kind)).save_pretrained(folder / kind)
        write_tokenizer(kind, folder / kind)
    drawn = np.random.default_rng(0)
    texts = [" ".join(drawn.choice(WORDS, drawn.integers(3, 9))) for _ in range(ROWS)]
    lines = [f"{text},{'yes' if 'good' in text or 'great' in text else 'no'}" for text in texts]
    (folder / "reviews.csv").write_text("\n".join(["review,label", *lines]) + "\n")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tuned(kind: str = "bert", **settings: Any) -> reuse.Result:
    told = {"data": "reviews.csv", "target": "label", "freeze": FREEZE.get(kind, "!classifier"), "epochs": 2}
    told |= {} if settings.get("cache") is False else {"cache_kind": "disk"}
    return reuse.finetune(f"hf:{kind}", **{**told, **settings})


def losses(result: reuse.Result) -> list[float]:
    return [line["train"]["loss"] for line in RunFolder.open(result.run).history()]


@pytest.mark.parametrize("kind", FREEZE)
def test_cached_equals_uncached_and_a_second_run_computes_nothing(kind: str, here: Path) -> None:
    plain = tuned(kind, precision="float64", cache=False)
    first, second = tuned(kind, precision="float64"), tuned(kind, precision="float64")
    assert first.cache is not None
    assert second.cache is not None
    assert first.cache["rows"] == {"computed": ROWS, "found": 0}
    assert second.cache["hit"]
    np.testing.assert_allclose(losses(first), losses(plain), rtol=1e-9)
    assert losses(first) == losses(second)
    assert first.restored
    assert set(first.fresh) == {"bert": {"classifier"}, "gpt2": {"score"}}.get(kind, {"classifier", "pre_classifier"})


def test_the_weights_of_the_folder_are_restored_and_kept(here: Path) -> None:
    body = transformers.BertModel.from_pretrained("bert")
    model = reuse.load_model(tuned().run)
    trained = dict(model.network.bert.named_parameters())
    assert all(torch.equal(trained[name], tensor) for name, tensor in body.named_parameters())


def test_a_run_needs_neither_the_folder_nor_its_place(here: Path) -> None:
    result = tuned()
    texts = ["a good film", "bad and awful", ""]
    expected = reuse.load_model(result.run).values(texts)
    shutil.rmtree("bert")
    run = Path(result.run).rename(here / "elsewhere")
    (here / "new.csv").write_text("review\n" + "\n".join(texts[:2]) + "\n")
    model = reuse.load_model(run)
    torch.testing.assert_close(model.values(texts), expected)
    torch.testing.assert_close(reuse.predict(run, data="new.csv").values, expected[:2])
    assert reuse.evaluate(run, split="all").rows == ROWS
    again = reuse.finetune(str(run), data="reviews.csv", target="label", freeze="bert", epochs=3, cache_kind="disk")
    assert again.cache is not None
    assert again.cache["hit"]
    more = reuse.finetune(resume=again.run, epochs=4)
    assert more.epochs == 4


def test_rows_are_tokenized_as_transformers_does_and_do_not_depend_on_each_other(here: Path) -> None:
    model = reuse.load_model(tuned(precision="float64").run)
    texts = ["good", "a very bad film and not the great film", "awful film"]
    network = transformers.AutoModelForSequenceClassification.from_pretrained("bert", num_labels=2).double().eval()
    network.load_state_dict(model.network.state_dict())
    tokenizer = transformers.AutoTokenizer.from_pretrained("bert")
    alone = [network(**tokenizer(text, return_tensors="pt")).logits.softmax(1).detach() for text in texts]
    torch.testing.assert_close(model.values(texts), torch.cat(alone))


def test_one_word_more_computes_one_row(here: Path) -> None:
    tuned()
    lines = Path("reviews.csv").read_text().splitlines()
    lines[5] = f"very {lines[5]}"
    Path("reviews.csv").write_text("\n".join(lines))
    found = tuned().cache
    assert found is not None
    assert found["rows"] == {"computed": 1, "found": ROWS - 1}


def test_tokens_as_arrays_share_what_texts_have_computed(here: Path) -> None:
    tuned()
    lines = [line.split(",") for line in Path("reviews.csv").read_text().splitlines()[1:]]
    tokenizer = transformers.AutoTokenizer.from_pretrained("bert")
    tokens = tokenizer([text for text, _ in lines], padding="max_length", max_length=16, return_tensors="np")
    arrays = {"x": dict(tokens), "y": [label for _, label in lines]}
    found = reuse.finetune("hf:bert", data=arrays, freeze="bert", epochs=1, cache_kind="disk").cache
    assert found is not None
    assert found["hit"]


def test_other_classes_another_place_and_another_column_compute_nothing(here: Path) -> None:
    tuned()
    shutil.move("bert", "moved")
    lines = Path("reviews.csv").read_text().splitlines()
    relabelled = [f"{line.split(',')[0]},{'abc'[number % 3]}" for number, line in enumerate(lines)]
    Path("other.csv").write_text("\n".join(["text,mood", *relabelled[1:]]))
    found = tuned("moved", data="other.csv", target="mood", freeze="bert").cache
    assert found is not None
    assert found["hit"]


def test_lengths_have_caches_of_their_own(here: Path) -> None:
    """What pools over a text gives as many numbers for any length, and is checked for one."""
    for length in (16, 8, 16, 8):
        found = tuned(sequence_length=length).cache
        assert found is not None
    assert found["hit"]
    assert not list(here.rglob("quarantine.json"))


def test_heads_are_swept_and_solved_for(here: Path) -> None:
    """A head that returns its logits in a dataclass is a linear layer all the same."""
    told: dict[str, Any] = {"freeze": "bert", "data": "reviews.csv", "target": "label", "dropout": 0, "folds": 2}
    swept = reuse.sweep("hf:bert", learning_rate=[0.01, 0.001], epochs=2, **told)
    assert len(swept.configurations) == 4  # rates and folds
    assert all(0 <= one["valid"]["accuracy"] <= 1 for one in swept.configurations)
    assert reuse.sweep("hf:bert", solver="logistic", **told).best["solver"] == "logistic"


def test_dropout_in_front_of_the_head_is_a_setting(here: Path) -> None:
    assert reuse.load_model(tuned(dropout=0.3).run).network.dropout.p == 0.3
    with pytest.raises(UsageError, match="gpt2 models have no dropout in front"):
        tuned("gpt2", dropout=0.3)


def test_encoders_with_decoders_are_cut_too(here: Path) -> None:
    names = ("encoder_layers", "decoder_layers", "encoder_ffn_dim", "decoder_ffn_dim")
    sizes = ",".join(["vocab_size=20,d_model=8,encoder_attention_heads=2,decoder_attention_heads=2",
                      *(f"{name}={8 if name.endswith('dim') else 1}" for name in names)])  # fmt: skip
    tokens = np.random.default_rng(0).integers(3, 20, (ROWS, 6))
    tokens[:, -1] = 2  # the end of a text, which its head reads
    told: dict[str, Any] = {"data": {"x": {"input_ids": tokens}, "y": tokens[:, 0] % 2}, "freeze": "model"}
    told |= {"epochs": 2, "precision": "float64"}
    plain = reuse.finetune(f"hf:bart:{sizes},pad_token_id=1,eos_token_id=2", cache=False, **told)
    kept = reuse.finetune(f"hf:bart:{sizes},pad_token_id=1,eos_token_id=2", cache_kind="disk", **told)
    np.testing.assert_allclose(losses(kept), losses(plain), rtol=1e-9)


def test_what_is_cut_off_is_said(here: Path) -> None:
    notes = tuned(sequence_length=6).notes
    assert any("texts are longer than 6 tokens" in note for note in notes)
    with pytest.raises(UsageError, match="reads at most 40 tokens"):
        tuned(sequence_length=41)
    with pytest.raises(UsageError, match="the model brings its own"):
        tuned(vocabulary=9)


def test_the_column_of_texts_is_found_or_asked_for(here: Path) -> None:
    lines = Path("reviews.csv").read_text().splitlines()
    Path("two.csv").write_text(
        "\n".join(f"{line.split(',')[0]},{line}" for line in lines).replace("review", "title", 1)
    )
    with pytest.raises(UsageError, match="there are several: 'title', 'review': name one with text"):
        tuned(data="two.csv")
    assert tuned(data="two.csv", text="review").cache is not None
    Path("none.csv").write_text("size,label\n" + "\n".join(f"{n},{'ab'[n % 2]}" for n in range(ROWS)))
    with pytest.raises(UsageError, match="there is none among 'size'"):
        tuned(data="none.csv")


def test_images_are_prepared_as_the_folder_says(here: Path) -> None:
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24}
    config = transformers.ViTConfig(image_size=16, patch_size=8, **sizes)
    transformers.ViTModel(config, add_pooling_layer=False).save_pretrained("vit")
    told = {"image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4], "size": {"height": 16, "width": 16}}
    Path("vit/preprocessor_config.json").write_text(json.dumps({**told, "resample": 3}))
    drawn = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (here / "pets" / label).mkdir(parents=True)
        for number in range(10):
            pixels = drawn.integers(0, 255, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(here / "pets" / label / f"{number}.png")
    results = [tuned("vit", data="pets", target=None, precision="float64", **more) for more in ({"cache": False}, {})]
    np.testing.assert_allclose(*map(losses, results), rtol=1e-9)
    fitted = reuse.load_model(results[1].run).preprocessing
    assert (fitted.mean, fitted.interpolation, fitted.image_size) == ((0.4, 0.5, 0.6), "bicubic", (16, 16))


def test_models_of_a_configuration_begin_at_random(here: Path) -> None:
    settings = "vocab_size=20,hidden_size=16,num_hidden_layers=1,num_attention_heads=2,intermediate_size=24"
    tokens = np.random.default_rng(0).integers(1, 20, (30, 6))
    data = {"x": {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}, "y": tokens[:, 0] % 2}
    built = reuse.finetune(f"hf:bert:{settings}", data=data, freeze="bert", epochs=1)
    assert built.restored == ()
    assert reuse.load_model(built.run).values(data["x"]).shape == (30, 2)
    Path("bert/model.safetensors").unlink()
    assert tuned("bert/config.json").restored == ()
    assert tuned("bert").restored == ()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("hf:", "names no model"),
        ("hf:./nowhere", "there is no folder"),
        ("hf:empty", "holds no config.json"),
        ("hf:bert:16", "has no name"),
        ("hf:nosuchmodel:hidden_size=3", "cannot be built"),
        ("hf:strange", "no model 'strange_net'|cannot be built"),
    ],
)
def test_what_cannot_be_built_is_one_line(spec: str, message: str, here: Path) -> None:
    (here / "empty").mkdir()
    (here / "strange").mkdir()
    code = {"model_type": "strange_net", "auto_map": {"AutoConfig": "code.Config", "AutoModel": "code.Model"}}
    (here / "strange/config.json").write_text(json.dumps(code))
    (here / "strange/code.py").write_text("raise SystemExit('run')")
    with pytest.raises((UsageError, RunError), match=message):
        reuse.finetune(spec, data="reviews.csv", target="label")


def test_a_kind_that_classifies_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="no classifier of timesformer models"):
        reuse.build("hf:timesformer:hidden_size=16", (3, 8, 8), 2)


def test_a_configuration_leads_to_no_code_of_others(here: Path) -> None:
    """Kernels are named like repositories of the hub, and fetched and run by who asks for them."""
    config = json.loads(Path("bert/config.json").read_text())
    config |= {
        "_attn_implementation": "someone/kernel",
        "attn_implementation": "someone/kernel",
        "auto_map": {"a": "b"},
    }
    Path("bert/config.json").write_text(json.dumps(config))
    run = Path(tuned().run)
    assert "someone" not in (run / "run.json").read_text()
    manifest = json.loads((run / "run.json").read_text())
    manifest["model"]["config"]["_attn_implementation"] = "someone/kernel"
    (run / "run.json").write_text(json.dumps(manifest))
    network = reuse.load_model(run).network
    assert "someone" not in str(network.config._attn_implementation)


def test_the_hub_is_asked_once_and_said_to_be_away(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reuse.nn.hf_models.answers", lambda _: False)
    with pytest.raises(RunError, match=r"could not be fetched .* hf:FOLDER"):
        reuse.finetune("hf:someone/something", data="reviews.csv", target="label")


def test_without_the_library_the_extra_is_named(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reuse.nn.hf_specs.importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r'pip install "torch-reuse\[hf\]"'):
        tuned()


def test_texts_without_a_tokenizer_are_refused(here: Path) -> None:
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        Path("bert", name).unlink(missing_ok=True)
    with pytest.raises(DataError, match="no tokenizer"):
        tuned()


def test_a_tokenizer_of_another_model_is_refused(here: Path) -> None:
    Path("bert/vocab.txt").write_text("\n".join([*SPECIAL, *WORDS, *map(str, range(9))]))
    with pytest.raises(UsageError, match="has 24 tokens, and the model knows 20"):
        tuned()


def test_a_look_at_a_model_and_its_plan(here: Path) -> None:
    from reuse.setup.inspecting import inspect_model

    assert inspect_model("hf:bert", freeze="!classifier").bytes_per_sample == 16 * 4
    with_data = inspect_model("hf:bert", data="reviews.csv", freeze="bert")
    assert (with_data.frozen, with_data.bytes_per_sample) == (("bert",), 16 * 4)
    freezing, features = reuse.plan("hf:bert", data="reviews.csv", target="label", freeze="bert")
    assert freezing.layers == ("bert",)
    assert features.lookup.missing.shape == (ROWS, 16)
