"""Versions of the training rows that the epochs read in turn; the next new one is computed in the background."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event

from torch import Tensor

from reuse.augmenting.views import Viewing
from reuse.data.rows import Rows, windows_of

Advance = Callable[[int], None]
"""Called with the number of rows just computed; raises where they are no longer wanted."""


class StoppedError(Exception):
    """The computation in the background is no longer wanted."""


class Rotating:
    """The rows as they are, and for each epoch a version of them.

    A version that is not there when its epoch begins is waited for. While an epoch trains, one other is computed: the
    next that epochs will read, from the change of versions before it on.

    Args:
        viewing: which version an epoch reads.
        versions: what is there, by number; 0 is the rows as they are.
        compute: computes another version, in another thread.
        discard: removes a version that was computed so and is not read again, in the thread that computes; False where
            that has to wait. None: they are nowhere but in memory.

    Attributes:
        plain: the rows as they are.
        computed: how many versions were computed later.
    """

    def __init__(
        self,
        viewing: Viewing,
        versions: Mapping[int, Rows],
        compute: Callable[[int, Advance], Rows],
        discard: Callable[[int], bool] | None = None,
    ) -> None:
        self.plain, self.computed = versions[0], 0
        self.device, self.windows = self.plain.device, windows_of(self.plain)
        self._viewing, self._compute, self._discard = viewing, compute, discard
        self._versions = dict(versions)
        self._first, self._done = frozenset(versions), list[int]()
        self._pending: dict[int, Future[Rows]] = {}
        self._background = ThreadPoolExecutor(1, "views")
        self._stopped = Event()

    def __len__(self) -> int:
        return len(self.plain)

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices` as they are."""
        return self.plain.gather(indices)

    def in_epoch(self, number: int) -> Rows:
        """Return the version of an epoch, and have the next new one computed meanwhile.

        Raises:
            CacheError: the version could not be computed or stored.
        """
        views, last = self._viewing.views, self._viewing.epochs[1]
        to_read = views.read(number, last)
        for version in [version for version in self._versions if version and version not in to_read]:
            del self._versions[version]
            self._viewing.forget(version)
            self._done += [] if version in self._first else [version]
        now, following = views.of_epoch(number), views.next_change(number)
        self._begin(now)
        soon = views.versions(number) if following is None else [*views.versions(number), *views.versions(following)]
        source = self._wait_for(now)
        coming = [version for version in to_read if version in soon and version not in self._versions]
        if coming:
            self._begin(coming[0])
        return source

    def close(self) -> list[str]:
        """Stop what is computed in the background and wait until it has; return what had failed unnoticed, in lines."""
        self._stopped.set()
        self._background.shutdown(wait=True, cancel_futures=True)
        failures = [future.exception() for future in self._pending.values() if not future.cancelled()]
        self._pending.clear()
        return [
            f"a version of the training rows that was being computed failed: {failure}"
            for failure in failures
            if failure is not None and not isinstance(failure, StoppedError)
        ]

    def _discard_done(self) -> None:
        """Let what is not read again go, but for as many versions as there are at a time.

        So a short training is repeated, or gone on with, as cheaply as before, and one that goes on for ever takes no
        more disk than two sets of versions.
        """
        while self._discard is not None and len(self._done) > self._viewing.views.count:
            if not self._discard(self._done[0]):
                return
            del self._done[0]

    def _begin(self, version: int) -> None:
        if version not in self._versions and version not in self._pending:
            self._pending[version] = self._background.submit(self._next, version)

    def _next(self, version: int) -> Rows:
        """Compute a version, after what is not read again went: the cache is looked through by one thread at a time."""
        self._discard_done()
        return self._compute(version, self._advance)

    def _wait_for(self, version: int) -> Rows:
        if version not in self._versions:
            self._versions[version] = self._pending.pop(version).result()
            self.computed += 1
        return self._versions[version]

    def _advance(self, rows: int) -> None:  # noqa: ARG002 - the shape of a progress
        if self._stopped.is_set():
            raise StoppedError
