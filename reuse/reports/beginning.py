"""The model as its training began, built again from the run's settings: with its source's weights, or its seed's."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from reuse.errors import RunError
from reuse.reporting import Reporter
from reuse.reports.record import RunRecord
from reuse.reports.standing import is_among
from reuse.runs.checkpoints import FOLDER
from reuse.runs.tensor_files import FROZEN, load_tensors_file
from reuse.seeding import untouched_random_state
from reuse.settings.commands import FinetuneSettings, PretrainSettings
from reuse.settings.files import ARRAYS, OBJECT, plain_settings
from reuse.settings.setting import settings_of
from reuse.setup import finetuning, pretraining
from reuse.setup.tasks import new_task
from reuse.setup.trusting import refuse_untrusted


def build_beginning(record: RunRecord, *, trust: bool) -> nn.Module:
    """Return the model, or the encoder of a pretraining, as its training began.

    Args:
        record: of the run.
        trust: let a run that names a `package.module:callable` import and call it.

    Raises:
        ReuseError: it cannot be known; the message says why.
    """
    if record.manifest.kind not in ("pretrain", "finetune"):
        raise RunError(f"a {record.manifest.kind} is made of weights of others")
    saved = record.folder.settings()
    refuse_untrusted(record.folder.path, plain_settings(saved), (), trust=trust)  # they came in a file
    settings = replace(saved, trust=trust)
    if settings.data == ARRAYS:
        raise RunError("the run was trained on arrays, which it does not keep")
    with untouched_random_state():
        if isinstance(settings, PretrainSettings):
            if str(settings.objective).startswith(OBJECT):
                raise RunError("its objective was an object, which the run does not keep")
            return pretraining.set_up(settings, Reporter()).encoder.eval()
        assert isinstance(settings, FinetuneSettings)
        _refuse_remote(settings)
        task = new_task(
            replace(settings, compare=False), frozenset(settings_of(FinetuneSettings)), Reporter(), caches=False
        )
        begun = finetuning.set_up(task, Reporter()).model
    _refuse_changed(begun, record)
    return begun.eval()


def _refuse_remote(settings: FinetuneSettings) -> None:
    """Raise where the weights might have to be fetched: a report fetches nothing."""
    source = str(settings.source)
    if source.partition(":")[0] in ("timm", "hf") and not settings.random_weights and not Path(source).exists():
        raise RunError(f"it began with the pretrained weights of {source}, which are in no run folder")


def _refuse_changed(begun: nn.Module, record: RunRecord) -> None:
    """Raise where what was frozen from the first is not what it was: the source, the code or a library has changed."""
    path, first = record.folder.path / FOLDER / FROZEN, record.phases[0].frozen if record.phases else ()
    kept = load_tensors_file(path) if first and path.exists() else {}
    now = begun.state_dict()
    for name, tensor in kept.items():
        is_meant = is_among(name, first)  # what came to rest later had trained before
        if is_meant and (name not in now or not torch.equal(now[name].cpu(), tensor)):
            raise RunError(f"{name} is not what it was when the run began: its source has changed")
