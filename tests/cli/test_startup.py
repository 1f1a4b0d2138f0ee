"""What starting may import, and that the command line says what the library says."""

import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

import reuse as package
from reuse.cli import training
from reuse.cli.exporting import export as export_command
from reuse.cli.inspecting import inspect as inspect_command
from reuse.cli.main import COMMANDS, cli
from reuse.cli.using import evaluate, predict
from reuse.exporting.export import export
from reuse.finetuning.finetune import finetune
from reuse.inference.predicting import evaluate_run, predict_run
from reuse.pretraining.pretrain import pretrain
from reuse.setup.inspecting import inspect_model

HEAVY = ("torch", "timm", "numpy", "sklearn", "h5py")
# A training on numbers, and which of the libraries are there that it does not use.
PERCEPTRON = """
import sys
import numpy as np
import reuse
random = np.random.default_rng(0)
rows = (random.normal(size=(60, 5)).astype(np.float32), np.arange(60) % 3)
reuse.pretrain("autoencoder", data=rows, model="mlp:6,4,3", epochs=2, out="pretrained")
reuse.finetune("pretrained", data=rows, freeze="hidden1", epochs=2, compare=False, out="tuned")
unused = ("torch._dynamo", "timm", "torchvision", "transformers")
print([name for name in unused if name in sys.modules])
"""
# A training on pictures that are no table, and which libraries for tables are there.
PICTURES = """
import sys
import reuse
reuse.pretrain("autoencoder", data="digits", model="mlp:10,5", epochs=1, out="pretrained")
reuse.finetune("pretrained", data="digits", freeze="hidden1", epochs=1, compare=False, out="tuned")
print([name for name in ("pandas", "pyarrow", "sklearn") if name in sys.modules])
"""
# What a command has beside the settings of its function, and what a function has beside those of its command.
OWN_OPTIONS = {"as_json", "config", "list_objectives", "quiet"}
OWN_ARGUMENTS = {"reporter"}
STARTS = {
    "help": "from reuse.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass",
    "import": "import reuse",
}
MOST_MODULES = {"help": 120, "import": 12}  # of which reuse and click are most; numpy alone is more
MIRRORED = {
    "pretrain": (training.pretrain, pretrain, OWN_OPTIONS | {"own"}),
    "finetune": (training.finetune, finetune, OWN_OPTIONS),
    "inspect": (inspect_command, inspect_model, OWN_OPTIONS),
    "evaluate": (evaluate, evaluate_run, OWN_OPTIONS),
    "predict": (predict, predict_run, OWN_OPTIONS | {"out", "raw"}),
    "export": (export_command, export, OWN_OPTIONS),
}


def imported_by(code: str) -> set[str]:
    program = f"import sys\n{code}\nprint([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(eval(done.stderr.splitlines()[-1]))


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert imported_by("import reuse; assert 'finetune' in dir(reuse)") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = f"from reuse.cli.main import main\ntry:\n    main({arguments!r})\nexcept SystemExit as leaving:\n"
    assert imported_by(code + "    assert leaving.code == 0") == set()


def test_the_check_of_imports_sees_an_import() -> None:
    assert "numpy" in imported_by("import numpy")


@pytest.mark.parametrize("program", [PERCEPTRON, PICTURES], ids=["numbers", "pictures"])
def test_training_a_perceptron_imports_what_it_uses(tmp_path: Path, program: str) -> None:
    line = [sys.executable, "-c", program]
    done = subprocess.run(line, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"


def modules_of(code: str) -> set[str]:
    """Return the modules that are there after some code has run."""
    program = f"import sys\n{code}\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("start", STARTS)
def test_it_answers_at_once(start: str) -> None:
    """What is imported takes the time of a start, and its number is the same on a busy machine."""
    own = modules_of(STARTS[start]) - modules_of("import lazy_loader")  # whose older versions import more
    assert "reuse" in own
    assert len(own) < MOST_MODULES[start]


@pytest.mark.parametrize("name", MIRRORED)
def test_options_mirror_the_function(name: str) -> None:
    command, function, own = MIRRORED[name]
    options = {option.name: option for option in command.params if option.name not in own}
    arguments = {n: p for n, p in inspect.signature(function).parameters.items() if n not in OWN_ARGUMENTS}
    assert sorted(options) == sorted(arguments)
    context = click.Context(command)
    for setting, argument in arguments.items():
        option = options[setting]
        assert isinstance(option, click.Argument) == (argument.kind is argument.POSITIONAL_OR_KEYWORD)
        assert option.required == (argument.default is argument.empty)
        if not option.required:
            assert option.get_default(context) == argument.default


@pytest.mark.parametrize("name", MIRRORED)
def test_every_option_has_a_help(name: str) -> None:
    command, _, _ = MIRRORED[name]
    assert [o.name for o in command.params if isinstance(o, click.Option) and not o.help] == []


def test_flags_are_spelled_like_the_settings() -> None:
    flags = {flag for option in training.finetune.params for flag in (*option.opts, *option.secondary_opts)}
    assert {"--learning-rate", "--no-cache", "--no-early-stopping", "--skip-bad", "--compare", "--cache-dir"} <= flags
    assert not {"--cache", "--early-stopping"} & flags


PUBLIC = {
    "caching.cache": ["ActivationCache"],
    "data.loading": ["load"],
    "errors": ["CacheError", "CutError", "DataError", "ReuseError", "RunError", "UnknownNameError", "UsageError"],
    "estimators.classifier": ["TransferClassifier"],
    "estimators.encoder": ["PretrainedEncoder"],
    "estimators.features": ["FrozenFeatures"],
    "estimators.regressor": ["TransferRegressor"],
    "exporting.export": ["export"],
    "features.dataset": ["CachedFeatures", "cached"],
    "finetuning.finetune": ["finetune", "plan"],
    "inference.ensembling": ["ensemble_runs"],
    "inference.predicting": ["evaluate", "predict"],
    "inference.souping": ["soup_runs"],
    "layers.cutting": ["cut"],
    "layers.freezing": ["freeze", "unfreeze"],
    "layers.transplanting": ["transplant"],
    "nn.building": ["build"],
    "objectives.objective": ["Objective", "Turn"],
    "objectives.supervised": ["Classification", "MultiLabel", "Regression"],
    "optim.groups": ["OptimizerSettings"],
    "optim.optimization": ["Optimization"],
    "pretraining.pretrain": ["pretrain"],
    "ranking.rank": ["rank"],
    "reports.report": ["report"],
    "runs.models": ["load_model"],
    "runs.results": ["Result"],
    "searching.rate_finding": ["lr_find"],
    "searching.sweep": ["sweep"],
    "training.settings": ["LoopSettings"],
    "training.step": ["StepParts"],
    "training.trainer": ["Trainer"],
    "version": ["__version__"],
}


def test_the_public_names_are_these_and_can_be_imported() -> None:
    assert sorted(package.__all__) == sorted(name for names in PUBLIC.values() for name in names)
    for home, names in PUBLIC.items():
        for name in names:
            assert getattr(package, name) is getattr(import_module(f"reuse.{home}"), name)


def test_no_other_name_is_public() -> None:
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = package.no_such_thing


def test_every_command_is_listed_and_there() -> None:
    context = click.Context(cli)
    listed = cli.list_commands(context)  # type: ignore[attr-defined]
    commands = [cli.get_command(context, name) for name in listed]  # type: ignore[attr-defined]
    assert [command.name for command in commands] == listed


TRAINING = """
import numpy as np, reuse
x = np.random.default_rng(0).integers(0, 256, (60, 1, 8, 8), dtype=np.uint8)
y = np.arange(60) % 3
parts = {f"{name}_{part}": value for part in ("train", "valid", "test") for name, value in (("x", x), ("y", y))}
data = parts if OWN_SPLITS else "digits"
reuse.finetune("mlp:8,6", freeze="hidden1", random_weights=True, data=data, epochs=1, compare=False)
"""


@pytest.mark.parametrize("own_splits", [True, False])
def test_a_training_imports_only_what_it_uses(
    own_splits: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "HEAVY", (*HEAVY, "torchvision"))
    assert imported_by(f"OWN_SPLITS = {own_splits}\n{TRAINING}") == {"torch", "numpy", "h5py"}
