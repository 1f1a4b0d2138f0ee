"""What README and the pages beside the recipes say to type runs as it stands there, small and without the network."""

import re
import shlex
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_iris
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import reuse as package
from reuse.finetuning.finetune import finetune
from reuse.nn.building import build
from reuse.pretraining.pretrain import pretrain

ROOT = Path(__file__).resolve().parents[2]
MADE = "RESULTS.md"
PAGES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "recipes").glob("*.md")))
    if path.name != MADE
}
TRAINING = ("pretrain", "finetune")


def blocks(page: str) -> list[tuple[str, str]]:
    """Return the language and the text of each block of code."""
    return re.findall(r"^```(\w*)\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)


def prose(page: str) -> str:
    """Return a page without its blocks and tables."""
    return re.sub(r"^```.*?^```|^\|.*?$", "", PAGES[page], flags=re.DOTALL | re.MULTILINE)


def spans(text: str) -> list[str]:
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", text)]


def shell_lines(page: str) -> list[str]:
    """Return the command lines of this program in the code blocks; in a block with prompts the rest is output."""
    lines: list[str] = []
    for language, block in blocks(page):
        if not language and "\n" in block:
            prompts = [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]
            lines += prompts or block.splitlines()
    return [" && ".join(c for c in line.split(" && ") if c.startswith("reuse ")) for line in lines if "reuse " in line]


def table_rows() -> dict[str, list[str]]:
    """Return what the table of commands says to say, by what is wanted."""
    table = re.search(r"^\| you want \| say \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGES["commands.md"], re.MULTILINE)
    assert table, "there is no table of commands"
    rows = [line.strip("| ").split(" | ") for line in table[1].splitlines()]
    return {wanted: spans(say) for wanted, say in rows}


def completed(codes: list[str]) -> list[str]:
    """Return whole commands from those of a row, which may leave out the program, or the option they vary."""
    whole: list[str] = []
    for code in codes:
        if code.startswith("torchrun "):
            continue  # tests/test_torchrun.py
        if code.startswith("reuse "):
            whole.append(code)
        elif code.startswith("--freeze"):
            whole.append(f"reuse plan timm:resnet18 --data photos/ {code}")
        elif code == "--json":
            whole.append("reuse plan --json")
        elif code.startswith("--"):
            whole.append(f"reuse finetune {code}")
        else:
            before = shlex.split(whole[-1])
            assert before[-2].startswith("--"), f"{code} varies no option of {whole[-1]}"
            whole.append(f"{shlex.join(before[:-1])} {code}")
    return whole


def small(command: str) -> list[str]:
    """Return the arguments of a command, with what makes it quick and keeps it off the network."""
    program, name, *rest = shlex.split(command)
    assert program == "reuse"
    run = "tables/run" if name in ("export", "predict") else "runs/finetuned"
    rest = [argument.replace("runs/…", run) for argument in rest]
    if name == "ensemble":
        rest = [argument.replace("runs/", "tables/") for argument in rest]
    if any(argument.startswith("timm:") for argument in rest):
        rest += ["--input-shape", "3,32,32"] if name == "inspect" else ["--random-weights", "--image-size", "32"]
    if name in TRAINING:
        rest += ["--epochs", "2" if "--resume" in rest else "12" if "--unfreeze" in rest else "1"]
    if name == "lr-find":
        rest += ["--steps", "20"]
    return [name, *rest]


ROWS = {wanted: completed(codes) for wanted, codes in table_rows().items()}
IN_ORDER = "photos.md"
"""A page that goes on from line to line."""

LINES = dict.fromkeys(
    line
    for page in PAGES
    if page != IN_ORDER
    for line in (*shell_lines(page), *(code for code in spans(prose(page)) if code.startswith("reuse ")))
)


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages take for granted: runs, photos, a table to predict."""
    folder = tmp_path_factory.mktemp("readme")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_photos(folder / "photos")
        write_table(folder / "new.csv")
        pretrain(epochs=1, out="runs/pretrained")
        finetune("runs/pretrained", freeze="hidden1", epochs=1, out="runs/finetuned", cache_dir="cache")
        pretrain("supervised", data="new.csv", target="kind", model="mlp:5", dropout=0.1, epochs=1, out="tables/run")
        write_texts(folder)
        write_bert(folder / "models/bert")
        write_checkpoint(folder / "last.ckpt")
        for name in ("a", "b"):
            pretrain("supervised", data="new.csv", target="kind", model="mlp:5", epochs=1, out=f"tables/{name}")
    return folder


def write_photos(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (folder / name).mkdir(parents=True)
        for number in range(8):
            pixels = generator.integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def write_table(path: Path) -> None:
    iris = load_iris()
    kinds = iris.target_names[iris.target]
    rows = [",".join(map(str, [*row, kind])) for row, kind in zip(iris.data, kinds, strict=True)]
    path.write_text("\n".join(["a,b,c,d,kind", *rows]))


def write_texts(folder: Path) -> None:
    lines = [f"a {word} film,{stars}" for word, stars in (("good", "five"), ("bad", "one")) for _ in range(10)]
    (folder / "reviews.csv").write_text("\n".join(["review,stars", *lines]))
    (folder / "glove.6B.100d.txt").write_text("good 0.1 0.2\nbad -0.1 0.3\nfilm 0.0 -0.2\n")


def write_bert(folder: Path) -> None:
    if find_spec("transformers") is None:
        return
    import transformers

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    transformers.BertModel(transformers.BertConfig(vocab_size=12, **sizes)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\ngood\nbad\nfilm\n")


def write_checkpoint(path: Path) -> None:
    state = build("convnet:8,16", (3, 32, 32), 2).state_dict()
    torch.save({"epoch": 3, "state_dict": {f"encoder.{name}": tensor for name, tensor in state.items()}}, path)


def write_tagger(folder: Path) -> dict[str, Any]:
    """Write a model of two inputs, and return what README calls its rows."""
    lines = [
        "import torch",
        "class Tagger(torch.nn.Module):",
        "    def __init__(self):",
        "        super().__init__()",
        "        self.body, self.head = torch.nn.Embedding(9, 4), torch.nn.Linear(4, 2)",
        "    def forward(self, tokens, mask):",
        "        return self.head((self.body(tokens) * mask[..., None]).sum(1))",
    ]
    (folder / "taggers.py").write_text("\n".join(lines))
    rows = {"tokens": np.arange(80).reshape(20, 4) % 9, "mask": np.ones((20, 4), int)}
    return {**rows, "labels": np.arange(20) % 2, "new_tokens": rows["tokens"], "new_mask": rows["mask"]}


@pytest.fixture
def here(furnished: Path, tmp_path: Path) -> Path:
    """A copy of that folder, which the test may change, as the current one."""
    shutil.copytree(furnished, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.mark.parametrize("line", LINES)
def test_a_line_runs(line: str, here: Path, reuse: Any) -> None:
    for command in line.split(" && "):
        answer = reuse(*small(command))
        assert answer.code == 0, f"{command}: {answer.err}"


@pytest.mark.parametrize("wanted", ROWS)
def test_a_row_of_the_table_runs(wanted: str, here: Path, reuse: Any) -> None:
    assert ROWS[wanted]
    if "hf:" in str(ROWS[wanted]):
        pytest.importorskip("transformers")
    if "onnx" in str(ROWS[wanted]):
        pytest.importorskip("onnxruntime")
    for command in ROWS[wanted]:
        answer = reuse(*small(command))
        assert answer.code == 0, f"{command}: {answer.err}"


def test_what_is_written_is_there(here: Path, reuse: Any) -> None:
    (command,) = ROWS["predictions"]
    assert reuse(*small(command)).code == 0
    assert len((here / "predictions.csv").read_text().splitlines()) == 1 + len(load_iris().target)


def test_the_check_sees_a_command_that_is_wrong(here: Path, reuse: Any) -> None:
    assert reuse(*small("reuse finetune --freeze hidden9")).code != 0


def test_photos_become_a_report_in_less_than_ten_commands(
    tmp_path: Path, reuse: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_photos(tmp_path / "photos")
    shutil.copytree(tmp_path / "photos" / "cats", tmp_path / "new-photos")
    lines = shell_lines(IN_ORDER)
    assert len(lines) < 10
    for line in lines:
        answer = reuse(*small(line))
        assert answer.code == 0, f"{line}: {answer.err}"
    for language, block in blocks(IN_ORDER):
        if language == "python":
            exec(compile(block, IN_ORDER, "exec"), {"reuse": package})
    assert (tmp_path / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if page != IN_ORDER and any(language == "python" for language, _ in blocks(page))],
)
def test_the_python_runs(page: str, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One block after the other in one namespace, as a reader would type them; in few epochs, yet a cache pays."""
    for function in (pretrain, finetune):
        monkeypatch.setattr(package, function.__name__, in_few_epochs(function))
    names = given_names(here)
    for language, block in blocks(page):
        if language == "python" and all(map(find_spec, toolkits(block))):
            exec(compile(block, page, "exec"), names)
    if parts := names.get("parts"):
        assert torch.equal(names["network"](names["example"]), parts.suffix(*parts.prefix(names["example"])))


def toolkits(block: str) -> set[str]:
    """Return the other toolkits that a block imports, or that a module of ours needs: not all are installed."""
    return set(re.findall(r"^(?:import|from) (?:reuse\.loops\.)?(fastai|keras|lightning)\b", block, re.MULTILINE))


def in_few_epochs(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args, **settings: function(*args, **{**settings, "epochs": 8})


def given_names(folder: Path) -> dict[str, Any]:
    """Return what the pages speak of as the reader's own."""
    network = nn.Sequential()
    network.add_module("backbone", nn.Linear(4, 3))
    network.add_module("head", nn.Linear(3, 2))
    dataset = TensorDataset(torch.randn(20, 4), torch.randint(2, (20,)))
    names: dict[str, Any] = {"network": network, "example": torch.randn(2, 4), "dataset": dataset}
    names |= {
        "functional": functional,
        "reuse": package,
        "torch": torch,
        "source": SimpleNamespace(run="runs/pretrained"),
    }
    return names | write_tagger(folder)


def test_the_tree_names_every_file_and_folder() -> None:
    (tree,) = [block for language, block in blocks("README.md") if not language and block.startswith("reuse/\n")]
    files = {path.name for path in (ROOT / "reuse").glob("*.py") if not path.name.startswith("__")}
    folders = {path.parent.name for path in (ROOT / "reuse").glob("*/__init__.py")}
    assert files - set(re.findall(r"\w+\.py", tree)) == set()
    assert folders - set(re.findall(r"(\w+)/", tree)) == set()
    assert all((ROOT / "reuse" / name).exists() for name in re.findall(r"\w+\.py", tree))
