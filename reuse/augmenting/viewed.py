"""Samples that are changed at random, and always in the same way."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from reuse.augmenting.augmentation import Augmentation
from reuse.augmenting.pixels import drawing_from
from reuse.data.digests import digest_bytes, seed_of, stack_digests
from reuse.data.inputs import Inputs

BLOCK_ROWS = 64  # that are changed at once


class Viewed(Inputs):
    """Samples of other inputs, each changed at random in a way that is always the same.

    Neighbouring samples are changed together. What is drawn for them, and their digests, depend on the content of all
    samples of the block, the augmentation, the seed and the number of the version, and on nothing else.

    Args:
        inputs: the samples.
        augmentation: what changes a batch of them.
        text: which describes it.
        seed: of what is drawn.
        number: of the version, from 1.
    """

    def __init__(self, inputs: Inputs, augmentation: Augmentation, text: str, seed: int, number: int) -> None:
        super().__init__(len(inputs))
        self.shape, self.dtype = inputs.shape, inputs.dtype
        self._inputs, self._augmentation = inputs, augmentation
        self._seed = seed_of(f"{text} / {seed} / {number}")
        self._last: tuple[int, Tensor] | None = None  # rows are asked for in order, and rarely a whole block at once

    def names(self) -> list[str] | None:
        """Return what each sample is called, or None where samples have no names."""
        return self._inputs.names()

    def _prepare(self, indices: np.ndarray) -> Tensor:
        samples = torch.empty((len(indices), *self.shape), dtype=self.dtype)
        blocks = indices // BLOCK_ROWS
        for block in dict.fromkeys(blocks.tolist()):
            chosen = np.flatnonzero(blocks == block)
            samples[torch.from_numpy(chosen)] = self._block(block)[torch.from_numpy(indices[chosen] % BLOCK_ROWS)]
        return samples

    def _digest(self) -> np.ndarray:
        return stack_digests(self._digests_of_rows())

    def _digests_of_rows(self) -> Iterable[bytes]:
        digests = self._inputs.digests()
        for start in range(0, len(digests), BLOCK_ROWS):
            block = self._block_digest(start // BLOCK_ROWS)
            for place, row in enumerate(digests[start : start + BLOCK_ROWS]):
                yield digest_bytes(row.tobytes() + block + place.to_bytes(2, "big"), self._seed)

    def _block(self, number: int) -> Tensor:
        """Return the changed samples of a block."""
        if self._last is None or self._last[0] != number:
            rows = torch.arange(number * BLOCK_ROWS, min((number + 1) * BLOCK_ROWS, len(self)))
            seed = int.from_bytes(self._block_digest(number)[:8], "big", signed=True)
            with drawing_from(torch.Generator().manual_seed(seed)):
                self._last = (number, self._augmentation(self._inputs.gather(rows)[0]))
        return self._last[1]

    def _block_digest(self, number: int) -> bytes:
        rows = self._inputs.digests()[number * BLOCK_ROWS : (number + 1) * BLOCK_ROWS]
        return digest_bytes(rows.tobytes(), self._seed)
