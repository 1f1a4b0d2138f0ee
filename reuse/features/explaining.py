"""Reasons why a fine-tuning finds its activations in the cache or not, in words."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reuse.features.planned import PlannedFeatures
from reuse.fingerprinting.fingerprint import OWN, Fingerprint
from reuse.units import verb_of

SHOWN = 4  # names that are listed of many that differ alike

# What the first part of a component's name says about it; what follows names the thing.
WORDS = {
    "weights": "the weights",
    "code": "the code",
    "own": "your own code",
    "versions": "the version",
    "attributes": "an attribute",
    "hooks": "the hooks",
    "preprocessing": "the preprocessing",
}


@dataclass(frozen=True)
class Explanation:
    """The contents of the cache for a fine-tuning.

    Attributes:
        hit: whether no row would have to be computed.
        key: the prefix key.
        missing: rows that would have to be computed.
        found: rows that are cached.
        nearest: the key of the cached prefix that is most nearly the same; None where the prefix itself is cached or
            nothing is.
        differences: in which components that one differs, one line each, or one for many that differ alike.
        quarantined: why the cached prefix of this key was set aside for good; None where it was not.
    """

    hit: bool
    key: str
    missing: int
    found: int
    nearest: str | None
    differences: tuple[str, ...]
    quarantined: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Return it for a person."""
        rows = self.missing + self.found
        if self.quarantined is not None:
            return [
                f"the prefix {self.key} is set aside: {self.quarantined}, which its key does not see",
                f"all {rows} rows are computed anew in each run, until `reuse cache clear {self.key}`",
            ]
        if self.hit:
            return [f"hit: all {rows} rows are cached under {self.key}"]
        if self.found:
            return [
                (
                    f"{self.missing} of {rows} rows {verb_of(self.missing, 'is', 'are')} new to the cached prefix "
                    f"{self.key}; {self.found} {verb_of(self.found, 'is', 'are')} found"
                )
            ]
        if self.nearest == self.key:
            return [
                f"none of the {rows} rows is cached yet under {self.key}: the frozen layers are known, the rows new"
            ]
        if self.nearest is None:
            return [f"miss: all {rows} rows have to be computed, as the cache is empty"]
        head = f"miss: all {rows} rows have to be computed; the nearest cached prefix, {self.nearest}, differs in"
        return [head, *(f"  {line}" for line in self.differences)]


def explain(features: PlannedFeatures) -> Explanation:
    """Return why the activations of a fine-tuning are cached or not.

    Args:
        features: its cut, fingerprint and place in the cache.
    """
    plan, fingerprint = features.plan, features.lookup.fingerprint
    entry = features.lookup.caches.opened.nearest(fingerprint)
    differences: tuple[str, ...] = ()
    if entry is not None and entry.key != fingerprint.key:
        differences = tuple(differences_in_words(fingerprint, Fingerprint(dict(entry.components))))
    return Explanation(
        hit=plan.missing == 0,
        key=fingerprint.key,
        missing=plan.missing,
        found=plan.rows - plan.missing,
        nearest=entry.key if entry else None,
        differences=differences,
        quarantined=features.store.quarantined,
    )


def differences_in_words(now: Fingerprint, cached: Fingerprint) -> Iterator[str]:
    """Yield in which components two fingerprints differ.

    Example:
        >>> list(differences_in_words(Fingerprint({"dtype": "float32"}), Fingerprint({"dtype": "float64"})))
        ['the dtype: float32 now, float64 in the cache']
    """
    here, there = now.components, cached.components
    names = [name for name in sorted(here.keys() | there.keys()) if here.get(name) != there.get(name)]
    names = [name for name in names if name != OWN or len(names) == 1]  # the others say what it is
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_kind(name), []).append(name)
    for kind, members in groups.items():
        if len(members) > SHOWN:
            listed = ", ".join(_thing(name) for name in members[:SHOWN])
            yield f"{WORDS.get(kind, kind)} of {listed} and {len(members) - SHOWN} more"
        else:
            yield from (_in_words(name, here, there) for name in members)


def _in_words(name: str, here: Mapping[str, str], there: Mapping[str, str]) -> str:
    kind, thing = _kind(name), _thing(name)
    subject = f"{WORDS.get(kind, 'the ' + kind)} of {thing}" if thing else WORDS.get(kind, f"the {kind}")
    if name not in there:
        return f"{subject}: not in the cached prefix"
    if name not in here:
        return f"{subject}: only in the cached prefix"
    if kind in ("weights", "code", "graph", "own"):  # digests say nothing to a person
        return f"{subject}: not the same"
    return f"{subject}: {here[name]} now, {there[name]} in the cache"


def _kind(name: str) -> str:
    return name.partition("/")[0]


def _thing(name: str) -> str:
    """Return what a component is about: `hidden1.0.weight`, `layer1.bn1.eps`."""
    return name.partition("/")[2].strip("/").replace("/", ".")
