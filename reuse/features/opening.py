"""Opening what is cached: served only if the frozen layers compute the same now, else set aside for good."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import chain

import numpy as np
import torch
from torch import Tensor, fx

from reuse.caching.probing import ORDINARY_ROWS, Probe, layout_of, take_probe
from reuse.caching.spot_checking import mismatch
from reuse.caching.store import PrefixCache
from reuse.data.inputs import Inputs
from reuse.devices import Compute, moved_each
from reuse.distributed import from_main
from reuse.features.running import RunFrozen, run_frozen
from reuse.fingerprinting.compiled import is_compiled
from reuse.layers.cutting import ROWS
from reuse.reporting import Reporter

COMPARED_ROWS = ROWS[1]  # of those found there, computed again: the cut was checked on as many, so kernels are ready


class Opening:
    """Checks of what is cached of some rows; each prefix is checked once.

    Args:
        rows: all that will be read.
        compute: where and in which types.
        reporter: told of what is set aside.
        running: runs a prefix.
        seed: of the rows that are compared; None: drawn anew for each prefix.
    """

    def __init__(
        self,
        rows: Inputs,
        compute: Compute,
        reporter: Reporter,
        running: RunFrozen = run_frozen,
        seed: int | None = None,
    ) -> None:
        self._rows, self._compute, self._reporter, self._running, self._seed = rows, compute, reporter, running, seed
        self._checked: dict[str, bool] = {}

    def may_serve(self, prefix: fx.GraphModule, store: PrefixCache) -> bool:
        """Return whether a cache of the rows may be read and added to; where it may not, a line says why.

        Of several processes the first one checks for all: each of them asks.
        """
        return from_main(lambda: self.may_serve_here(prefix, store))

    def may_serve_here(self, prefix: fx.GraphModule, store: PrefixCache) -> bool:
        """Return the same, asked in one process alone."""
        if store.key not in self._checked:
            self._checked[store.key] = self._check(prefix, store)
        return self._checked[store.key]

    def probe(self, prefix: fx.GraphModule) -> Probe:
        """Return a probe of a prefix, taken on the first rows."""
        ordinary = self._rows.gather(torch.arange(min(ORDINARY_ROWS, len(self._rows))))
        probe = take_probe(ordinary, partial(self._run, prefix), self._compute.device, _layout(prefix))
        # What is compiled may be compiled for other sizes the next time, and round otherwise.
        return replace(probe, exact=probe.exact and not any(map(is_compiled, prefix.modules())))

    def _check(self, prefix: fx.GraphModule, store: PrefixCache) -> bool:
        if (known := store.quarantined) is not None:
            self._reporter.warning(
                f"the cached prefix {store.key} was set aside ({known}), and what it holds is computed anew; `reuse "
                f"cache clear {store.key}` removes it if the cause is gone"
            )
            return False
        found = self._mismatch(prefix, store)
        if found is None:
            return True
        store.quarantine(found)
        self._reporter.warning(
            f"set aside for good, and computed anew: the cached prefix {store.key}, as {found}, so it depends on "
            f"something that its key does not see; `reuse cache clear {store.key}` removes it if the cause is gone"
        )
        return False

    def _mismatch(self, prefix: fx.GraphModule, store: PrefixCache) -> str | None:
        run, device = partial(self._run, prefix), self._compute.device

        def compute(positions: np.ndarray) -> Sequence[Tensor]:
            return run(*self._rows.gather(torch.from_numpy(positions)))

        return mismatch(
            store,
            self._rows.digests(),
            compute,
            run,
            device=device,
            layout=_layout(prefix),
            rows=COMPARED_ROWS,
            seed=self._seed,
        )

    def _run(self, prefix: fx.GraphModule, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self._running(prefix, moved_each(inputs, self._compute), self._compute)


def _layout(prefix: fx.GraphModule) -> str:
    return layout_of(chain(prefix.parameters(), prefix.buffers()))
