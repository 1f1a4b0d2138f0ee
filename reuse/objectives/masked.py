"""Hidden patches told from the visible ones: masked autoencoders, He et al. 2022."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from reuse.augmenting.patches import Patches, deviations, patches_of
from reuse.data.dataset import Dataset
from reuse.data.rows import Batch
from reuse.errors import UsageError
from reuse.nn.decoders import build_decoder, encoder_of
from reuse.nn.masks import draw_mask, exact_count
from reuse.nn.visible import PatchDecoder, encode_visible, takes_visible
from reuse.objectives.objective import Network, Objective, example_of


class PatchTeller(nn.Module):
    """An encoder of rows of which patches are hidden, and a decoder that tells these.

    Args:
        encoder: a vision transformer sees the visible patches alone; any other gets the row with 0 for the others.
        decoder: a `PatchDecoder`, or from the coding to a row.
        patches: how rows are cut.
        count: how many patches of each row are hidden.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, patches: Patches, count: int) -> None:
        super().__init__()
        self.encoder, self.decoder, self.patches, self.count = encoder, decoder, patches, count

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is told of all patches, their values, `(batch, patches, width)`, and which were hidden, bool."""
        hidden = draw_mask(len(x), len(self.patches), self.count, x.device)
        return self.tell(x, hidden), self.patches.cut(x), hidden

    def tell(self, x: Tensor, hidden: Tensor) -> Tensor:
        """Return what is told of all patches where some are `hidden`."""
        if not isinstance(self.decoder, PatchDecoder):
            return self.patches.cut(self.decoder(self.encoder(self.patches.hide(x, hidden))))
        places = hidden.int().argsort(dim=1, stable=True)[:, : len(self.patches) - self.count]
        return self.decoder(encode_visible(self.encoder, x, places), places)  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Masked(Objective):
    """The mean squared error of hidden patches.

    The encoder of a vision transformer sees the visible patches and no others, which is what makes it cheap; a light
    decoder puts a token of its own in the place of the hidden ones. Convolutions need whole images, so that hidden
    patches are 0 in theirs, as hidden values are in a vector. Each row has exactly the same number of hidden patches.

    Attributes:
        mask: share of the patches that are hidden, in whole patches.
        patch: pixels of a patch's side, for others than vision transformers; None: about an eighth of the image's.
        width: features of the decoder's tokens, a multiple of 4.
        depth: blocks of the decoder; both for vision transformers.
        standardise: whether each patch of an image is told less its own mean and divided by its own deviation.
    """

    mask: float = 0.75
    patch: int | None = None
    width: int = 128
    depth: int = 2
    standardise: bool = True
    summary: ClassVar[str] = "tell hidden patches of an image, or values of a vector, from the visible ones"
    suits: ClassVar[tuple[str, ...]] = ("images", "tables")
    paper: ClassVar[str] = "He et al. 2022, https://arxiv.org/abs/2111.06377"

    def __post_init__(self) -> None:
        if not 0 < self.mask < 1:
            raise UsageError(f"the share of hidden patches is {self.mask}: give more than 0 and less than 1, as 0.75")
        if self.width < 4 or self.width % 4 or self.depth < 1:
            raise UsageError(
                f"the decoder has width {self.width} and depth {self.depth}: give a multiple of 4, and 1 or more"
            )

    def build(self, model: nn.Module, data: Dataset) -> nn.Module:
        """Return the model without its output layer, and a decoder behind it."""
        if data.num_tokens is not None or len(data.input_shape) not in (1, 3):
            kind = "tokens" if data.num_tokens is not None else f"of shape {data.input_shape}"
            raise UsageError(
                f"masked hides patches of images or values of vectors, and these inputs are {kind}: masked_step hides "
                "steps of sequences"
            )
        encoder, example = encoder_of(model), example_of(data)
        if takes_visible(encoder):
            return self._transformer(encoder, data.input_shape)
        patches = patches_of(data.input_shape, self.patch)
        return PatchTeller(encoder, build_decoder(encoder, example), patches, exact_count(self.mask, len(patches)))

    def _transformer(self, encoder: nn.Module, shape: tuple[int, ...]) -> nn.Module:
        side = int(encoder.patch_embed.patch_size[0])  # type: ignore[union-attr, index]
        if self.patch not in (None, side):
            raise UsageError(f"patch is {self.patch}, and this vision transformer cuts its own of {side}: leave it out")
        patches = patches_of(shape, side)
        width = int(encoder.num_features)  # type: ignore[arg-type]
        decoder = PatchDecoder(width, patches.grid, patches.width, self.width, self.depth)
        return PatchTeller(encoder, decoder, patches, exact_count(self.mask, len(patches)))

    def losses(self, network: Network, batch: Batch) -> dict[str, Tensor]:
        """Return the mean over hidden patches of all rows."""
        told, truth, hidden = network(batch.inputs[0])
        if self.standardise and truth.size(2) > 1:
            truth = (truth - truth.mean(2, keepdim=True)) / deviations(truth)
        errors = (told - truth).square().mean(2)
        return {"loss": (errors * hidden).sum() / hidden.sum()}

    def pictures(self, trained: nn.Module, rows: Tensor) -> dict[str, Tensor]:
        """Return rows, what is visible of them, and hidden patches filled with what is told of them.

        A standardised patch has no brightness of its own: it gets the true mean and deviation, as the paper shows it.
        """
        assert isinstance(trained, PatchTeller)
        told, truth, hidden = trained(rows)
        if self.standardise and truth.size(2) > 1:
            told = told * deviations(truth) + truth.mean(2, keepdim=True)
        filled = trained.patches.join(torch.where(hidden.unsqueeze(2), told, truth))
        return {"reconstructions": torch.stack([rows, trained.patches.hide(rows, hidden), filled])}
