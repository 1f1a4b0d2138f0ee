"""The facts of a run in its card: data, layers, metrics, settings, versions."""

import platform
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import Any

from reuse.data.dataset import SPLITS
from reuse.escaping import escaped
from reuse.exporting.exportable import Exportable
from reuse.intervals import wilson_interval
from reuse.settings.group import Settings
from reuse.settings.setting import settings_of
from reuse.version import __version__

LIBRARIES = ("torch", "timm", "scikit-learn", "numpy")


def facts_of(source: Exportable) -> list[str]:
    """Return sections in Markdown, those of which the run says nothing left out."""
    sections = (_data(source), _layers(source), _metrics(source), _settings(source), _versions(source))
    return [section for section in sections if section]


def _data(source: Exportable) -> str:
    sizes = ", ".join(f"{count:,} {name}" for name, count in source.result["sizes"].items() if count)
    lines = [f"- data: {code(source.dataset)}", *([f"- rows: {sizes}"] if sizes else [])]
    lines += [f"- {markdown_cell(note)}" for note in source.result["notes"]]
    lines += [f"- digest of the {name} rows: `{digest}`" for name, digest in source.manifest.rows.items()]
    return _section("Data and notes", lines)


def _layers(source: Exportable) -> str:
    manifest = source.manifest
    named = {"restored": manifest.restored, "fresh": manifest.fresh, "averaged of": manifest.ingredients}
    lines = [f"- {name}: {_names(layers)}" for name, layers in named.items() if layers]
    lines += [f"- frozen from epoch {phase.epoch}: {_names(phase.frozen)}" for phase in manifest.phases]
    return _section("Layers", lines)


def _metrics(source: Exportable) -> str:
    measured = {split: source.result["metrics"].get(split) or {} for split in SPLITS}
    names = list(dict.fromkeys(name for values in measured.values() for name in values))
    lines = [
        _line([split, *(_measured(source, split, name, values.get(name)) for name in names)])
        for split, values in measured.items()
        if values
    ]
    head = [_line(["split", *names]), _line(["---"] * (len(names) + 1))]
    note = ["", "In brackets stands Wilson's interval of 95 %, from the number of rows."]
    return _section("Metrics", [*head, *lines, *(note if _counts_rows(source) else [])]) if lines else ""


def _measured(source: Exportable, split: str, name: str, value: float | None) -> str:
    rows = source.result["sizes"].get(split)
    if value is None:
        return ""
    if name != "accuracy" or not rows or not _counts_rows(source):
        return f"{value:.4g}"
    low, high = wilson_interval(round(value * rows), rows)
    return f"{value:.4g} ({low:.3f} to {high:.3f})"


def _counts_rows(source: Exportable) -> bool:
    """Return whether an accuracy is a share of rows; of several labels it is a mean over them."""
    return source.model.task == "classification" and any(source.result["sizes"].values())


def _settings(source: Exportable) -> str:
    settings = source.folder.settings()
    lines = [f"- {name}: {code(str(value))}" for name, value in _unlike_defaults(settings)]
    return _section("Settings that differ from the defaults", lines)


def _unlike_defaults(settings: Settings) -> Iterator[tuple[str, Any]]:
    for name, setting in settings_of(type(settings)).items():
        value = getattr(settings, name)
        if value != setting.default and value not in ((), []):
            yield name, ", ".join(map(str, value)) if isinstance(value, tuple) else value


def _versions(source: Exportable) -> str:
    found = [f"{name} {version(name)}" for name in LIBRARIES]
    trained = f"trained with reuse {source.manifest.version}, " if source.manifest.version else ""
    python = platform.python_version()
    return _section("Versions", [f"{trained}exported with reuse {__version__}, {', '.join(found)}, Python {python}"])


def _section(title: str, lines: Sequence[str]) -> str:
    return "\n".join([f"## {title}", "", *lines]) if lines else ""


def _names(layers: Sequence[str]) -> str:
    return ", ".join(map(code, layers)) or "none"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def code(text: str) -> str:
    """Return a text of data as code in Markdown, which no backtick in it ends."""
    return "`" + escaped(text).replace("`", "'") + "`"


def markdown_cell(text: str) -> str:
    """Return a text of data as it may stand in Markdown: one line, no cell of its own, no element of HTML."""
    return escaped(text).replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
