"""The source of a fine-tuning: a run folder, a weights file, or a model spec; by default the newest pretraining run."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from reuse.errors import RunError, UnknownNameError, UsageError
from reuse.layers.weights import read_weights
from reuse.menus import nearest, suggest
from reuse.nn.building import check_form
from reuse.nn.callables import names_code
from reuse.nn.recipe import OWN_FAMILIES
from reuse.nn.timm_names import timm_names, whole_spec
from reuse.paths import from_home
from reuse.runs.folder import WEIGHTS, RunFolder, newest_run
from reuse.runs.manifest import Manifest
from reuse.runs.tensor_files import load_tensors_file
from reuse.settings.commands import TrainedSettings
from reuse.setup.modules import spec_of

WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")


@dataclass(frozen=True)
class Source:
    """The origin of layers.

    Attributes:
        name: as the user gave it, or the path of the run that was found.
        spec: of the model, None for a bare file of weights.
        weights: tensors by name; None for a model spec, whose own pretrained weights are meant.
        manifest: of a run; None for anything else.
        settings: of a run; None for anything else.
        notes: what was chosen of a file's weights, in lines.
    """

    name: str
    spec: str | None
    weights: dict[str, Tensor] | None
    manifest: Manifest | None = None
    settings: TrainedSettings | None = None
    notes: tuple[str, ...] = ()


def find_source(source: object) -> Source:
    """Return the source that the user means.

    Args:
        source: a run folder, a file of weights, a model spec, or None: the newest pretraining run under `runs`.

    Raises:
        RunError: there is none, or it is damaged.
        UsageError: it is no text and no path.
        UnknownNameError: it is neither a path nor a model spec, or one of a family or name that there is not.
    """
    if not isinstance(source, str | Path | None):
        network = "its network_" if hasattr(source, "network_") else "a torch.nn.Module"
        forms = "a run folder, a file of weights, a model spec such as timm:resnet18"
        raise UsageError(f"source is of type {type(source).__name__}: give {forms}, or {network}")
    if source is None:
        run = newest_run("pretrain")
        if run is None:
            raise RunError(
                "there is no finished pretraining run under ./runs: run `reuse pretrain` first, or name a source: a "
                "run folder, a weights file or a model such as timm:resnet18"
            )
        return _run(run)
    path, name = from_home(source), str(source)
    if not isinstance(source, Path) and names_code(name, OWN_FAMILIES):
        return Source(name, name, None)
    if path.is_dir():
        return _run(RunFolder.open(path))
    if path.is_file():
        read = read_weights(path)
        return Source(str(path), None, read.tensors, notes=read.notes)
    name = whole_spec(name)
    if name.partition(":")[0] in OWN_FAMILIES or ":" in name:
        check_form(name)
        return Source(name, name, None)
    if path.suffix in WEIGHT_SUFFIXES or "/" in name:
        raise RunError(f"{name}: there is no such run folder or weights file")
    runs = [p.name for p in Path("runs").iterdir()] if Path("runs").is_dir() else []
    likely = runs if nearest(name, runs) else timm_names() if nearest(name, timm_names()) else [*runs, "timm:NAME"]
    raise UnknownNameError(
        f"source {name!r} is neither a run folder, nor a weights file, nor a model: {suggest(name, likely)}"
    )


def module_source(module: nn.Module) -> Source:
    """Return a module that Python gives as the source of layers."""
    name, weights = spec_of(module), {name: value.detach() for name, value in module.state_dict().items()}
    return Source(name, name, weights)


def _run(run: RunFolder) -> Source:
    manifest = run.manifest()
    if manifest.model is None:
        raise RunError(f"{run.path} has no model of its own (it is a {manifest.kind}): name the run of a model")
    weights = load_tensors_file(run.path / WEIGHTS)
    return Source(str(run.path), manifest.model.spec, weights, manifest, run.settings())
