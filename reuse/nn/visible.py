"""Vision transformers that see some patches alone, and a light decoder that tells the others."""

import torch
from torch import Tensor, nn

from reuse.nn.outputs import is_timm


def takes_visible(model: nn.Module) -> bool:
    """Return whether `encode_visible` takes a model: timm's plain vision transformers, by whichever name.

    Not those that pool by attention, whose pooling would not be trained.
    """
    if not is_timm(model):
        return False
    from timm.models.vision_transformer import VisionTransformer  # timm takes seconds to import

    return isinstance(model, VisionTransformer) and model.attn_pool is None


def encode_visible(model: nn.Module, x: Tensor, places: Tensor) -> Tensor:
    """Return what a vision transformer says of some patches, which see each other and nothing else.

    Args:
        model: of timm, see `takes_visible`; what stands behind its blocks but the classifier goes along.
        x: `(batch, channels, height, width)`.
        places: of the patches in the image, int64 `(batch, visible)`.

    Returns:
        `(batch, leading + visible, features)`; leading tokens have no place in the image (class, registers).
    """
    tokens: Tensor = model._pos_embed(model.patch_embed(x))  # type: ignore[operator]
    leading = int(model.num_prefix_tokens)  # type: ignore[arg-type]
    seen = pick(tokens[:, leading:], places)
    out = model.blocks(model.norm_pre(torch.cat([tokens[:, :leading], seen], 1)))  # type: ignore[operator]
    told: Tensor = model.fc_norm(model.norm(out))  # type: ignore[operator]
    return told


def pick(tokens: Tensor, places: Tensor) -> Tensor:
    """Return the tokens `(batch, some, features)` at `places`, `(batch, some)`."""
    return tokens.gather(1, places.unsqueeze(2).expand(-1, -1, tokens.size(2)))


class PatchDecoder(nn.Module):
    """A few transformer blocks that see what is known of some patches, and tell the values of all.

    Args:
        num_features: of a token that comes in.
        grid: rows and columns of patches.
        patch_width: values of a patch.
        width: features of its own tokens, a multiple of 4.
        depth: blocks.

    Attributes:
        mask_token: in the place of each patch that was not seen.
        positions: sine and cosine of the places (Vaswani et al. 2017, https://arxiv.org/abs/1706.03762), in 2-D.
    """

    positions: Tensor

    def __init__(self, num_features: int, grid: tuple[int, int], patch_width: int, width: int, depth: int) -> None:
        super().__init__()
        from timm.layers import build_sincos2d_pos_embed

        self.embed = nn.Linear(num_features, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.register_buffer("positions", build_sincos2d_pos_embed(list(grid), width, interleave_sin_cos=False))
        heads = next(number for number in (width // 32, 4, 2, 1) if number and width % number == 0)
        self.blocks = nn.Sequential(*(_block(width, heads) for _ in range(depth)))
        self.norm, self.told = nn.LayerNorm(width), nn.Linear(width, patch_width)

    def forward(self, coding: Tensor, places: Tensor) -> Tensor:
        """Return the values of all patches, `(batch, patches, patch_width)`.

        Args:
            coding: `(batch, leading + visible, num_features)`, as `encode_visible` gives it.
            places: of the visible ones, int64 `(batch, visible)`.
        """
        known = self.embed(coding)
        leading = known.size(1) - places.size(1)
        index = places.unsqueeze(2).expand(-1, -1, known.size(2))
        blank = self.mask_token.to(known.dtype).expand(len(known), len(self.positions), -1)
        placed = blank.scatter(1, index, known[:, leading:]) + self.positions.to(known.dtype)
        out: Tensor = self.blocks(torch.cat([known[:, :leading], placed], 1))
        told: Tensor = self.told(self.norm(out[:, leading:]))
        return told


def _block(width: int, heads: int) -> nn.Module:
    return nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
