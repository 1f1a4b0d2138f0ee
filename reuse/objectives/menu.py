"""The objectives that `reuse pretrain` knows by name: one line each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reuse.menus import Named, arguments_for, lookup, name_of, parse_named
from reuse.objectives.autoencoder import Denoising, Reconstruction
from reuse.objectives.barlow_twins import BarlowTwins
from reuse.objectives.bigan import Bidirectional
from reuse.objectives.byol import Byol
from reuse.objectives.colorization import Colorization
from reuse.objectives.contractive import Contractive
from reuse.objectives.dbn import BeliefNet
from reuse.objectives.dino import Dino
from reuse.objectives.distillation import Distillation
from reuse.objectives.gan import Adversarial
from reuse.objectives.inpainting import Inpainting
from reuse.objectives.jigsaw import Jigsaw
from reuse.objectives.labelled import Supervised
from reuse.objectives.masked import Masked
from reuse.objectives.masked_columns import MaskedColumns
from reuse.objectives.masked_step import MaskedStep
from reuse.objectives.moco import MoCo
from reuse.objectives.multitask import MultiTask
from reuse.objectives.next_step import NextStep
from reuse.objectives.objective import Objective
from reuse.objectives.pseudo_labels import PseudoLabels
from reuse.objectives.rbm import Contrastive
from reuse.objectives.relative_patch import RelativePatch
from reuse.objectives.rotation import Rotation
from reuse.objectives.scarf import Scarf
from reuse.objectives.siamese import Siamese
from reuse.objectives.simclr import SimClr
from reuse.objectives.simsiam import SimSiam
from reuse.objectives.sparse import Sparse
from reuse.objectives.stacked import Stacked
from reuse.objectives.tied import Tied
from reuse.objectives.triplet import Triplet
from reuse.objectives.variational import Variational
from reuse.objectives.vicreg import VicReg
from reuse.objectives.vime import Vime
from reuse.settings.setting import Setting, settings_of


@dataclass(frozen=True)
class MenuEntry:
    """One name.

    Attributes:
        group: of the methods that it is listed with.
        kind: the class, whose fields are the method's own settings.
    """

    group: str
    kind: type[Objective]

    @property
    def settings(self) -> Mapping[str, Setting]:
        """The method's own settings, by name."""
        return settings_of(self.kind)

    @property
    def texts(self) -> set[str | int]:
        """Names, and places without one, of the settings whose values are text as it stands, such as paths."""
        named = enumerate(self.settings.items())
        return {part for place, (name, setting) in named if setting.is_text for part in (name, place)}


OBJECTIVES: dict[str, MenuEntry] = {
    "autoencoder": MenuEntry("reconstruction", Reconstruction),
    "denoising_autoencoder": MenuEntry("reconstruction", Denoising),
    "tied": MenuEntry("reconstruction", Tied),
    "sparse": MenuEntry("reconstruction", Sparse),
    "contractive": MenuEntry("reconstruction", Contractive),
    "variational": MenuEntry("reconstruction", Variational),
    "masked": MenuEntry("reconstruction", Masked),
    "stacked": MenuEntry("layer by layer", Stacked),
    "rbm": MenuEntry("layer by layer", Contrastive),
    "dbn": MenuEntry("layer by layer", BeliefNet),
    "gan": MenuEntry("adversarial", Adversarial),
    "bigan": MenuEntry("adversarial", Bidirectional),
    "simclr": MenuEntry("self-supervised", SimClr),
    "simsiam": MenuEntry("self-supervised", SimSiam),
    "byol": MenuEntry("self-supervised", Byol),
    "barlow_twins": MenuEntry("self-supervised", BarlowTwins),
    "vicreg": MenuEntry("self-supervised", VicReg),
    "moco": MenuEntry("self-supervised", MoCo),
    "dino": MenuEntry("self-supervised", Dino),
    "rotation": MenuEntry("self-supervised", Rotation),
    "jigsaw": MenuEntry("self-supervised", Jigsaw),
    "relative_patch": MenuEntry("self-supervised", RelativePatch),
    "inpainting": MenuEntry("self-supervised", Inpainting),
    "colorization": MenuEntry("self-supervised", Colorization),
    "scarf": MenuEntry("tables", Scarf),
    "vime": MenuEntry("tables", Vime),
    "masked_columns": MenuEntry("tables", MaskedColumns),
    "next_step": MenuEntry("sequences", NextStep),
    "masked_step": MenuEntry("sequences", MaskedStep),
    "supervised": MenuEntry("auxiliary tasks", Supervised),
    "multitask": MenuEntry("auxiliary tasks", MultiTask),
    "pseudo_labels": MenuEntry("auxiliary tasks", PseudoLabels),
    "distillation": MenuEntry("auxiliary tasks", Distillation),
    "siamese": MenuEntry("auxiliary tasks", Siamese),
    "triplet": MenuEntry("auxiliary tasks", Triplet),
}


def parse_objective(text: str) -> Objective:
    """Return the objective that a text names, with the settings behind its colon.

    Args:
        text: a name of the menu, or `name:setting=value,…`.

    Raises:
        UnknownNameError: there is no such name.
        UsageError: the method has no such setting, or does not take such a value.

    Example:
        >>> parse_objective("variational:beta=4")
        Variational(size=16, beta=4.0)
    """
    name = name_of(text) or parse_named(text, "objective").name  # which says that an empty one is to be filled
    entry = lookup(OBJECTIVES, name, "objective")
    return entry.kind(**_checked(entry, parse_named(text, "objective", entry.texts)))


def _checked(entry: MenuEntry, named: Named) -> dict[str, Any]:
    """Return the arguments behind a name in the types of the method's settings."""
    rest, given = arguments_for(entry.kind, named, "objective")
    assert not rest, "an objective takes its settings by name"
    return {name: entry.settings[name].checked(value) for name, value in given.items()}


def listed() -> list[dict[str, Any]]:
    """Return what is said of each name: its group, what it learns, for which data, its settings, its paper."""
    return [
        {
            "name": name,
            "group": entry.group,
            "summary": entry.kind.summary,
            "data": list(entry.kind.suits),
            "paper": entry.kind.paper,
            "settings": {key: setting.default for key, setting in entry.settings.items()},
        }
        for name, entry in OBJECTIVES.items()
    ]
