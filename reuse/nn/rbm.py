"""Restricted Boltzmann machines: Smolensky 1986; as Hinton 2002 trains them, https://doi.org/10.1162/089976602760128018."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus


class Rbm(nn.Module):
    """Visible units v and hidden units h with p(v, h) ∝ exp(-E(v, h)), E = -hᵀWv - cᵀh - bᵀv (+ |v|² / 2, if normal).

    Hidden units are 0 or 1, so that a layer with a sigmoid behind it gives P(h = 1 | v). Visible ones are 0 or 1, or
    normal with variance 1 around b + Wᵀh.

    Args:
        hidden: W and c, shared with the layer that they belong to: from the visible units to the hidden ones.
        normal: whether visible units are normal.
        chains: how many chains of visible units last from step to step; 0: none.
    """

    def __init__(self, hidden: nn.Linear, *, normal: bool = False, chains: int = 0) -> None:
        super().__init__()
        self.hidden, self.normal = hidden, normal
        self.visible_bias = nn.Parameter(hidden.weight.new_zeros(hidden.in_features))
        start = hidden.weight.new_empty(chains, hidden.in_features)
        self.register_buffer("chains", start.normal_() if normal else start.bernoulli_())

    def forward(self, v: Tensor, steps: int = 1) -> tuple[Tensor, Tensor]:
        """Return the free energies of rows, and of what the machine makes of them, or of its chains, in some steps."""
        rows = v.flatten(1)
        chains: Tensor = self.get_buffer("chains")
        with torch.no_grad():
            sampled = chains if len(chains) and self.training else rows
            for _ in range(steps):
                sampled = self.sample_visible(self.sample_hidden(sampled))
            if len(chains) and self.training:
                chains.copy_(sampled)
        return self.free_energy(rows), self.free_energy(sampled)

    def free_energy(self, v: Tensor) -> Tensor:
        """Return -log Σ_h exp(-E(v, h)) of each row, `(batch, visible)` to `(batch,)`."""
        alone = (v - self.visible_bias).square().sum(1) / 2 if self.normal else -v @ self.visible_bias
        return alone - softplus(self.hidden(v)).sum(1)

    def sample_hidden(self, v: Tensor) -> Tensor:
        """Return hidden units drawn from P(h | v)."""
        return torch.bernoulli(self.hidden(v).sigmoid())

    def sample_visible(self, h: Tensor) -> Tensor:
        """Return visible units drawn from P(v | h)."""
        mean = linear(h, self.hidden.weight.t(), self.visible_bias)
        return mean + torch.randn_like(mean) if self.normal else torch.bernoulli(mean.sigmoid())
