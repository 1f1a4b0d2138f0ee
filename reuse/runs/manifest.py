"""The manifest of a run, `run.json`: what was trained on what, enough to rebuild the model and to predict."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from reuse.data.letters import composed_if_apart
from reuse.data.preprocessing import Preprocessing
from reuse.data.targets import TargetScale
from reuse.errors import RunError
from reuse.nn.recipe import ModelRecipe
from reuse.runs.schema import check_manifest

PREDICTING = ("classification", "multilabel", "regression")
"""Tasks whose models predict."""


@dataclass(frozen=True)
class CacheChoice:
    """The place of a phase's activations; plans are measured and may turn out otherwise, so the choice is kept.

    Attributes:
        kind: `disk`, `memory`, or `none`.
        behind: names of the frozen layers that are computed each epoch behind an earlier cut.
        windowed: whether training rows are shuffled window by window; None: not decided yet.
    """

    kind: str
    behind: tuple[str, ...] = ()
    windowed: bool | None = None

    @classmethod
    def read(cls, value: Any) -> "CacheChoice":
        """Return the choice in a run.json; older runs say only whether there was a cache."""
        if isinstance(value, bool):
            return cls("disk" if value else "none")
        return cls(str(value["kind"]), tuple(value.get("behind", ())), value.get("windowed", False))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for run.json."""
        return {"kind": self.kind, "behind": list(self.behind), "windowed": self.windowed}


@dataclass(frozen=True)
class PhaseRecord:
    """One phase of a run, as it was trained.

    Attributes:
        epoch: number of its first epoch.
        frozen: names of the frozen layers.
        frontier: `name`, `shape` and `dtype` of each tensor at the cut; empty without a cut.
        settled: layers that froze by themselves with it, with how much their gradients changed before.
        stage: of a pretraining; empty where it has none.
    """

    epoch: int
    frozen: tuple[str, ...]
    frontier: tuple[dict[str, Any], ...] = ()
    settled: Mapping[str, float] = field(default_factory=dict)
    stage: str = ""

    @classmethod
    def read(cls, value: Mapping[str, Any]) -> "PhaseRecord":
        """Return the phase in a run.json."""
        frontier = tuple(value.get("frontier", ()))
        settled, stage = dict(value.get("settled", {})), _text(value.get("stage")) or ""
        return cls(int(value["epoch"]), _texts(value["frozen"]), frontier, settled, stage)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for run.json and `--json`."""
        told = {"epoch": self.epoch, "frozen": list(self.frozen), "frontier": list(self.frontier)}
        more = {"settled": dict(self.settled), "stage": self.stage}
        return {**told, **{name: value for name, value in more.items() if value}}


@dataclass(frozen=True)
class Settled:
    """Layers that froze by themselves after an epoch.

    Attributes:
        epoch: after which.
        changes: the layers, with how much their gradients had changed.
    """

    epoch: int
    changes: Mapping[str, float]


@dataclass(frozen=True)
class Manifest:
    """All that run.json says.

    Attributes:
        kind: `pretrain`, `finetune`, `sweep` or `soup`.
        task: `classification`, `multilabel` or `regression`; None for a model that predicts nothing.
        classes: names of the classes or labels in the order of the outputs.
        objective: name of what was minimised.
        model: how the model is built; None in a sweep.
        data: name of the data.
        preprocessing: what was done to raw samples; None in a sweep.
        target_scale: in which numbers were learned; None for other tasks, and in older runs, which learned them as they
            were.
        source: where layers came from.
        restored: names of the layers that held the source's weights.
        fresh: names of the layers that began at random.
        rows: a digest of the rows and targets of each split.
        phases: in order.
        cached: where the activations of the phase that begins with an epoch are kept.
        settled: layers that froze by themselves, in order.
        swept: the setting of a head that was kept of a sweep.
        method: of a soup.
        ingredients: the runs in a soup.
        folder: the working directory in which it began, from which relative paths in its settings go; empty in older
            runs.
        created: when, as ISO 8601 text.
        version: of `reuse`, that wrote it first.
        others: entries that this version does not know, kept as they are.
    """

    kind: str
    task: str | None = None
    classes: tuple[str, ...] = ()
    objective: str | None = None
    model: ModelRecipe | None = None
    data: str = ""
    preprocessing: Preprocessing | None = None
    target_scale: TargetScale | None = None
    source: str | None = None
    restored: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    rows: Mapping[str, str] = field(default_factory=dict)
    phases: tuple[PhaseRecord, ...] = ()
    cached: Mapping[int, CacheChoice] = field(default_factory=dict)
    settled: tuple[Settled, ...] = ()
    swept: Mapping[str, Any] | None = None
    method: str | None = None
    ingredients: tuple[str, ...] = ()
    folder: str = ""
    created: str = ""
    version: str = ""
    others: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, values: Mapping[str, Any], where: object) -> "Manifest":
        """Return the manifest in a run.json.

        Args:
            values: its contents.
            where: the file, for messages.

        Raises:
            RunError: an entry is not what it should be.
        """
        needed = ("model", "preprocessing", "classes") if values.get("task") in PREDICTING else ()
        absent = [name for name in needed if name not in values and values.get("kind") != "sweep"]
        if absent:
            raise RunError(f"{where} does not say {', '.join(absent)}: it is damaged; train again")
        try:
            manifest = cls(
                kind=_text(values.get("kind")) or "",
                task=_text(values.get("task")),
                classes=composed_if_apart(_texts(values.get("classes", ()))),
                objective=_text(values.get("objective")),
                model=ModelRecipe.from_dict(values["model"]) if values.get("model") else None,
                data=_text(values.get("data")) or "",
                preprocessing=_preprocessing(values.get("preprocessing")),
                target_scale=TargetScale.from_dict(values["target_scale"]) if "target_scale" in values else None,
                source=_text(values.get("source")),
                restored=_texts(values.get("restored", ())),
                fresh=_texts(values.get("fresh", ())),
                rows=_by_name(values.get("rows", {})),
                phases=tuple(PhaseRecord.read(phase) for phase in values.get("phases", ())),
                cached={int(epoch): CacheChoice.read(value) for epoch, value in values.get("cached", {}).items()},
                settled=tuple(Settled(int(one["epoch"]), dict(one["changes"])) for one in values.get("settled", ())),
                swept=values.get("swept"),
                method=_text(values.get("method")),
                ingredients=_texts(values.get("ingredients", ())),
                folder=_text(values.get("folder")) or "",
                created=_text(values.get("created")) or "",
                version=_text(values.get("reuse")) or "",
                others={name: value for name, value in values.items() if name not in _KNOWN},
            )
            check_manifest(manifest, PREDICTING)
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
            told = error if type(error) is ValueError else f"{type(error).__name__}: {error}"
            raise RunError(f"{where} is damaged ({told}): restore it or train again") from error
        return manifest

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for run.json; what a run has not is left out."""
        told: dict[str, Any] = {
            "kind": self.kind,
            "objective": self.objective,
            "task": self.task,
            "classes": list(self.classes),
            "model": self.model.to_dict() if self.model else None,
            "data": self.data,
            "preprocessing": self.preprocessing.to_dict() if self.preprocessing else None,
            "target_scale": self.target_scale.to_dict() if self.target_scale else None,
            "source": self.source,
            "restored": list(self.restored),
            "fresh": list(self.fresh),
            "rows": dict(self.rows),
            "phases": [phase.to_dict() for phase in self.phases],
            "cached": {str(epoch): choice.to_dict() for epoch, choice in self.cached.items()},
            "settled": [{"epoch": one.epoch, "changes": dict(one.changes)} for one in self.settled],
            "swept": self.swept,
            "method": self.method,
            "ingredients": list(self.ingredients),
            "folder": self.folder,
        }
        always = ("kind", "task", "classes")
        kept = {name: value for name, value in told.items() if name in always or value not in (None, [], {}, "")}
        return {**self.others, **kept}

    @property
    def predicts(self) -> bool:
        """Whether the model gives classes, labels or numbers."""
        return self.task in PREDICTING


# Entries of run.json: fields of the manifest, and what `RunFolder` writes about the file.
_KNOWN = {field.name for field in fields(Manifest)} | {"format", "reuse"}


def _preprocessing(value: Any) -> Preprocessing | None:
    return None if value is None else Preprocessing.from_dict(value)


def _text(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TypeError(f"a text is expected, and {value!r} is there")
    return value


def _by_name(values: Any) -> dict[str, str]:
    if not isinstance(values, Mapping) or not all(isinstance(value, str) for value in values.values()):
        raise TypeError(f"texts by name are expected, and {values!r} is there")
    return dict(values)


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"a list of texts is expected, and {values!r} is there")
    return tuple(values)
