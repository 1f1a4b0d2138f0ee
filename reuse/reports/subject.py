"""A run in a report: what its folder tells, its model, and what that predicts, as far as they can be had."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import nn

from reuse.devices import choose_device
from reuse.errors import ReuseError, RunError
from reuse.inference.metrics import FurtherMetrics
from reuse.nn.encoders import encoder_of
from reuse.reports.markup import Html, note
from reuse.reports.outcome import Outcome, predict_rows
from reuse.reports.record import RunRecord
from reuse.reports.row_intervals import Interval
from reuse.reports.scores import score_intervals
from reuse.runs.folder import WEIGHTS
from reuse.runs.models import SavedModel, load_model, load_whole
from reuse.runs.tensor_files import load_tensors_file
from reuse.settings.uses import ReportArguments


@dataclass(frozen=True)
class Subject:
    """A run in a report.

    Attributes:
        record: what its folder tells.
        network: the trained model, or the encoder that was pretrained; None where it cannot be built.
        no_network: why not.
        outcome: what it predicts for rows that it did not learn from; None where there is nothing to predict, or from.
        no_outcome: why not.
        arguments: of the report.
    """

    record: RunRecord
    network: nn.Module | None
    no_network: str
    outcome: Outcome | None
    no_outcome: str
    arguments: ReportArguments

    @cached_property
    def intervals(self) -> Mapping[str, Interval]:
        """The interval of each score of its outcome; none where there is no outcome."""
        return {} if self.outcome is None else score_intervals(self.outcome)


@dataclass(frozen=True)
class Section:
    """A part of the report on a run.

    Attributes:
        title: its heading.
        body: what is under it.
        lacks: why there is nothing in it; empty: there is something.
    """

    title: str
    body: Html
    lacks: str = ""


def read_subject(record: RunRecord, arguments: ReportArguments) -> Subject:
    """Build the model of a run and have it predict; what cannot be done is said and is no error."""
    saved: SavedModel | None = None
    network, outcome, no_network, no_outcome = None, None, "", ""
    try:
        if record.manifest.predicts:
            saved = load_model(record.folder.path, trust=arguments.trust).to(choose_device(arguments.device))
        network = _stored_encoder(record, arguments.trust) if saved is None else saved.network
    except ReuseError as error:
        no_network = str(error)
    if saved is None:
        no_outcome = no_network or "the run was trained without labels, so its model predicts nothing"
        return Subject(record, network, no_network, None, no_outcome, arguments)
    further = FurtherMetrics.named(arguments.metrics, saved.task, saved.classes)  # refused where there is no such one
    try:
        outcome = predict_rows(record, saved, arguments, further)
    except ReuseError as error:
        no_outcome = str(error)
    return Subject(record, network, no_network, outcome, no_outcome, arguments)


def absent(what: str, why: str) -> Html:
    """Return a line that says why something is not shown."""
    return note(f"{what}: {why}.")


def empty_section(title: str, why: str) -> Section:
    """Return a section that says why there is nothing in it."""
    return Section(title, Html(), why)


def _stored_encoder(record: RunRecord, trust: bool) -> nn.Module:
    """Return the encoder that a pretraining without labels has left, in evaluation mode."""
    recipe, path = record.manifest.model, record.folder.path
    if recipe is None:
        raise RunError(f"a {record.manifest.kind} has no model of its own")
    tensors = load_tensors_file(path / WEIGHTS)
    network = encoder_of(recipe.build(trust=trust))
    load_whole(network, tensors, path)
    return network.eval()
