"""Cached versions of the training rows, which the epochs read in turn; new ones are computed in the background."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from reuse.training.batches import Source, windows_of
from reuse.viewing import Views


class Rotating:
    """The rows as they are, and for each epoch a version of them.

    Args:
        views: which version an epoch reads.
        versions: what is there, by number; 0 is the rows as they are.
        compute: computes another version, in another thread.
        last: number of the last epoch that may read one.
    """

    def __init__(
        self, views: Views, versions: Mapping[int, Source], compute: Callable[[int], Source], last: int
    ) -> None:
        self.views, self.device, self.windows = views, versions[0].device, windows_of(versions[0])
        self._versions = dict(versions)
        self._compute, self._last = compute, last
        self._pending: dict[int, Future[Source]] = {}
        self._background = ThreadPoolExecutor(1, "views")

    def __len__(self) -> int:
        return len(self._versions[0])

    def gather(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Return the rows `indices` as they are."""
        return self._versions[0].gather(indices)

    def in_epoch(self, number: int) -> Source:
        """Return the version of an epoch, and have the next new one computed meanwhile.

        Raises:
            CacheError: the version could not be computed or stored.
        """
        now, next_first = self.views.versions(number), self.views.next_change(number)
        coming = now if next_first is None or next_first > self._last else self.views.versions(next_first)
        wanted = list(dict.fromkeys([0, self.views.of_epoch(number), *now, *coming]))
        self._versions = {version: rows for version, rows in self._versions.items() if version in wanted}
        for version in wanted:
            if version not in self._versions and version not in self._pending:
                self._pending[version] = self._background.submit(self._compute, version)
        return self._version(self.views.of_epoch(number))

    def _version(self, version: int) -> Source:
        if version not in self._versions:
            self._versions[version] = self._pending.pop(version).result()
        return self._versions[version]
