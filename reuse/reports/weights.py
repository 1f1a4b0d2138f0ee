"""The weights: how they are spread in each layer, and those of the first layer as pictures."""

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from reuse.errors import ReuseError
from reuse.layout import is_several
from reuse.reports.bars import histogram
from reuse.reports.markup import Html, figures, folded, joined, note, tag, unbroken
from reuse.reports.mistakes import png
from reuse.reports.record import RunRecord
from reuse.reports.spacing import spread
from reuse.reports.standing import standing_of
from reuse.reports.subject import Section, Subject, absent, empty_section
from reuse.runs.folder import WEIGHTS
from reuse.runs.pictures import filters_of
from reuse.runs.tensor_files import load_tensors_file

MOST_TENSORS = 24
MOST_FROZEN = 4  # that are shown unasked: they are as they were


def weights_section(subject: Subject) -> Section:
    """Return histograms of the weights of each layer, and filters."""
    try:
        tensors = load_tensors_file(subject.record.folder.path / WEIGHTS)
    except ReuseError as error:
        return empty_section("Weights", str(error))
    return Section("Weights", joined([_histograms(tensors, subject.record), _filters(subject)]))


def _histograms(tensors: Mapping[str, Tensor], record: RunRecord) -> Html:
    matrices = [name for name, tensor in tensors.items() if tensor.ndim > 1 and tensor.is_floating_point()]
    count = len(matrices)
    shown = [matrices[place] for place in spread(count, MOST_TENSORS)]
    if not shown:
        return absent("No weights are shown", "the model has no matrix of weights")
    frozen = [name for name in shown if standing_of(name, tensors[name].numel(), record).kind == "frozen"]
    aside = frozen if MOST_FROZEN < len(frozen) < len(shown) else []
    charts = {name: _histogram(name, tensors[name].float().numpy(), record) for name in shown}
    unasked = figures(*(chart for name, chart in charts.items() if name not in aside))
    more = (
        folded(f"Weights of {len(aside)} frozen tensors", figures(*map(charts.__getitem__, aside))) if aside else None
    )
    some = note(f"{len(shown)} of {count} tensors, evenly spread.") if len(shown) < count else None
    return joined([unasked, note("How many weights have which value; biases are left out."), some, more])


def _histogram(name: str, values: np.ndarray, record: RunRecord) -> Html:
    standing = standing_of(name, values.size, record)
    form, mean = "×".join(map(str, values.shape)), unbroken(f"mean {values.mean():.3g}")
    spread = unbroken(f"standard deviation {values.std():.3g}")
    said = tag("span", f"{form}, {standing.words}; ", mean, ", ", spread, class_="quiet")
    title = joined([tag("strong", name), said])
    return histogram(title, values, name=f"Weights of {name}", class_=f"bar {standing.kind}")


def _filters(subject: Subject) -> Html | None:
    manifest = subject.record.manifest
    assert manifest.model is not None
    if manifest.preprocessing is None or manifest.preprocessing.kind != "images" or is_several(manifest.model.layout):
        return None
    if subject.network is None:
        return absent("No filters are shown", subject.no_network)
    filters = filters_of(subject.network, manifest.model.input_shape)
    if filters is None:
        return absent("No filters are shown", "the weights of the first layer do not have the form of an image")
    items = [
        tag("li", tag("img", src=png(pixels), alt=f"Filter {number}", class_="coarse"))
        for number, pixels in enumerate(filters, 1)
    ]
    said = note(f"{len(items)} filters of the first layer; grey is 0, darker below it, brighter above.")
    return joined([tag("h4", "First layer"), tag("ul", *items, class_="pictures filters"), said])
