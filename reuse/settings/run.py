"""The settings that are no part of what a run is replayed from: where it goes, and who is told of it."""

from dataclasses import dataclass
from pathlib import Path

from reuse.errors import UsageError
from reuse.paths import real_path
from reuse.reporting import Reporter
from reuse.settings.group import Settings


@dataclass(frozen=True, kw_only=True)
class ListenerSettings(Settings):
    """The one who is told what goes on; no part of what a run is replayed from.

    Attributes:
        reporter: told of lines and epochs; by default nobody is.
    """

    reporter: Reporter | None = None


@dataclass(frozen=True, kw_only=True)
class RunSettings(ListenerSettings):
    """The run folder, which is no part of what a run is replayed from.

    Attributes:
        out: the run folder; by default a new one under `runs`.
        resume: a run folder to go on with; what is not given otherwise comes from its settings.
    """

    out: str | Path | None = None
    resume: str | Path | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.out is not None and self.resume is not None and real_path(self.out) != real_path(self.resume):
            raise UsageError(
                f"resume={str(self.resume)!r} goes on in that folder, and out={str(self.out)!r} names another: leave "
                "one of the two out"
            )
