"""The card of an exported model, `README.md` in the form of Hugging Face: what it is, learned from, and is worth.

https://huggingface.co/docs/hub/model-cards
"""

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from huggingface_hub import EvalResult, ModelCardData
from scipy.stats import binomtest  # type: ignore[import-untyped]

from reuse.data.dataset import SPLITS
from reuse.escaping import escaped
from reuse.exporting.exportable import Exportable, Format
from reuse.exporting.serving import meaning_of_rows
from reuse.settings.group import Settings
from reuse.settings.setting import settings_of
from reuse.version import __version__

KINDS = {"images": "image", "table": "tabular", "vectors": "tabular", "text": "text", "tokenized": "text"}
PIPELINES = {
    ("image", "classification"): "image-classification",
    ("tabular", "classification"): "tabular-classification",
    ("tabular", "regression"): "tabular-regression",
    ("text", "classification"): "text-classification",
}
LIBRARIES = ("torch", "timm", "scikit-learn", "numpy")
MOST_CLASSES = 100  # that are named one by one


def model_card(source: Exportable, form: Format) -> str:
    """Return the text of a model's card.

    Args:
        source: the run.
        form: in which it is exported.
    """
    parts = (
        _opening(source),
        _usage(source, form),
        _data(source),
        _layers(source),
        _metrics(source),
        _settings(source),
    )
    body = "\n\n".join(part for part in (*parts, _versions(source)) if part)
    return f"---\n{_header(source, form).to_yaml()}\n---\n\n{body}\n"


def _header(source: Exportable, form: Format) -> ModelCardData:
    told = source.result
    kind = KINDS.get(source.model.preprocessing.kind, "")
    split = next((name for name in ("test", "valid") if told["metrics"].get(name)), None)
    measured = told["metrics"][split] if split else {}
    pipeline = PIPELINES.get((kind, source.model.task))
    return ModelCardData(
        library_name=form.library,
        pipeline_tag=pipeline,
        tags=["reuse", "transfer-learning", source.model.task],
        model_name=source.name,
        eval_results=[
            EvalResult(
                task_type=pipeline or source.model.task,
                dataset_type=source.dataset,
                dataset_name=source.dataset,
                dataset_split=split,
                metric_type=name,
                metric_value=value,
            )
            for name, value in measured.items()
        ]
        or None,
    )


def _opening(source: Exportable) -> str:
    manifest, model = source.manifest, source.model
    what = f"{len(model.classes)} classes" if model.task == "classification" else f"{source.recipe.num_outputs} outputs"
    origin = f", fine-tuned from `{escaped(manifest.source)}`" if manifest.source else ""
    return (
        f"# {source.name}\n\nA `{escaped(source.recipe.spec)}` for {model.task} ({what}){origin}, trained on "
        f"`{source.dataset}` with reuse {manifest.version or __version__}."
    )


def _usage(source: Exportable, form: Format) -> str:
    told = _graph(source) if form.is_graph else "Rows are prepared as `preprocessing` in the file's metadata says."
    return f"## How to use it\n\n{told}\n\n```python\n{form.usage(source).strip()}\n```"


def _graph(source: Exportable) -> str:
    served, meaning = source.served, _cell(meaning_of_rows(source.model.preprocessing))
    rows = [f"- `{t.name}`: (rows, {', '.join(map(str, t.shape))}), {t.kind}" for t in served.inputs]
    listed = "\n".join([*rows, f"- gives `{served.output}`: {_outputs(source)}"])
    return f"It takes raw rows, any number at a time: {meaning}.\n\n{listed}"


def _outputs(source: Exportable) -> str:
    if source.model.task == "regression":
        return "(rows, outputs), in the targets' own units"
    named = ", ".join(_cell(name) for name in source.model.classes[:MOST_CLASSES])
    more = ", …" if len(source.model.classes) > MOST_CLASSES else ""
    return f"(rows, {len(source.model.classes)}), in the order {named}{more}"


def _data(source: Exportable) -> str:
    sizes = [f"{count:,} {name}" for name, count in source.result["sizes"].items() if count]
    lines = [f"- {_cell(note)}" for note in source.result["notes"]]
    counted = f"- rows: {', '.join(sizes)}" if sizes else ""
    digests = [f"- digest of the {name} rows: `{digest}`" for name, digest in source.manifest.rows.items()]
    return "\n".join(
        ["## Data and notes", "", f"- data: `{source.dataset}`", *filter(None, [counted]), *lines, *digests]
    )


def _layers(source: Exportable) -> str:
    manifest = source.manifest
    lines = [
        f"- {name}: {_names(layers)}"
        for name, layers in (("restored", manifest.restored), ("fresh", manifest.fresh))
        if layers
    ]
    lines += [f"- frozen from epoch {phase.epoch}: {_names(phase.frozen)}" for phase in manifest.phases]
    lines += [f"- averaged of: {_names(manifest.ingredients)}"] if manifest.ingredients else []
    return "\n".join(["## Layers", "", *lines]) if lines else ""


def _metrics(source: Exportable) -> str:
    measured = {name: source.result["metrics"].get(name) for name in SPLITS}
    rows = {name: values for name, values in measured.items() if values}
    if not rows:
        return ""
    names = list(dict.fromkeys(name for values in rows.values() for name in values))
    lines = [
        _line([split, *(_measured(name, values.get(name), source.result["sizes"].get(split)) for name in names)])
        for split, values in rows.items()
    ]
    head = [_line(["split", *names]), _line(["---"] * (len(names) + 1))]
    note = (
        "\n\nBehind an accuracy stands Wilson's interval of 95 %, from the number of rows."
        if _has_interval(source)
        else ""
    )
    return "\n".join(["## Metrics", "", *head, *lines]) + note + _swept(source)


def _measured(name: str, value: float | None, rows: int | None) -> str:
    if value is None:
        return ""
    if name != "accuracy" or not rows or not 0 <= value <= 1:
        return f"{value:.4g}"
    interval = binomtest(round(value * rows), rows).proportion_ci(method="wilson")
    return f"{value:.4g} ({interval.low:.3f} to {interval.high:.3f})"


def _has_interval(source: Exportable) -> bool:
    return source.model.task == "classification" and any(source.result["sizes"].values())


def _swept(source: Exportable) -> str:
    """Return the scores of a head over folds and seeds, where it was kept of a sweep."""
    return "".join(
        f"\n\nOver the folds and seeds of its sweep: {split} {value['mean']:.4g} ± {value['standard_error']:.2g}."
        for split, value in (source.manifest.swept or {}).items()
        if isinstance(value, Mapping) and value.get("standard_error") is not None
    )


def _settings(source: Exportable) -> str:
    settings = source.folder.settings()
    lines = [f"- {name}: `{_cell(str(value))}`" for name, value in _unlike_defaults(settings)]
    return "\n".join(["## Settings that differ from the defaults", "", *lines]) if lines else ""


def _unlike_defaults(settings: Settings) -> Iterator[tuple[str, Any]]:
    for name, setting in settings_of(type(settings)).items():
        value = getattr(settings, name)
        if value != setting.default and value not in ((), []):
            yield name, ", ".join(map(str, value)) if isinstance(value, tuple) else value


def _versions(source: Exportable) -> str:
    found = [f"{name} {version(name)}" for name in LIBRARIES]
    trained = f"trained with reuse {source.manifest.version}, " if source.manifest.version else ""
    python = platform.python_version()
    return f"## Versions\n\n{trained}exported with reuse {__version__}, {', '.join(found)}, Python {python}"


def _names(layers: Sequence[str]) -> str:
    return ", ".join(f"`{escaped(name)}`" for name in layers) or "none"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(text: str) -> str:
    """Return a text of data as it may stand in Markdown: one line, no cell of its own, no element of HTML."""
    return escaped(text).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
