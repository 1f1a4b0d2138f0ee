"""K-means patches, features without back-propagation: Coates, Lee & Ng 2011, https://proceedings.mlr.press/v15/coates11a.html."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import Tensor
from torch.nn.functional import unfold

BLOCK = 500  # images at a time


@dataclass(frozen=True)
class PatchFeatures:
    """Features of images: how near each patch is to each of some centres, summed over the quadrants.

    Attributes:
        side: of a patch, in pixels.
        mean: of normalised patches, `(values,)`.
        whitening: of normalised patches, `(values, values)`.
        centres: `(centres, values)`.
    """

    side: int
    mean: Tensor
    whitening: Tensor
    centres: Tensor

    @classmethod
    def fit(
        cls, images: Tensor, *, side: int = 6, num_centres: int = 300, num_patches: int = 100_000, seed: int = 0
    ) -> "PatchFeatures":
        """Return the features that k-means finds in whitened patches of images `(n, channels, height, width)`."""
        draw = torch.Generator().manual_seed(seed)
        chosen = images[torch.randint(len(images), (min(len(images), 10_000),), generator=draw)]
        patches = normalised(unfold(chosen, side).transpose(1, 2).flatten(0, 1))
        patches = patches[torch.randperm(len(patches), generator=draw)[:num_patches]]
        mean, whitening = whiten(patches)
        found = MiniBatchKMeans(num_centres, batch_size=4096, n_init=1, random_state=seed, max_no_improvement=50)
        found.fit(((patches - mean) @ whitening).numpy())
        return cls(side, mean, whitening, torch.from_numpy(found.cluster_centers_))

    def __call__(self, images: Tensor) -> np.ndarray:
        """Return the features of images, `(n, 4 * centres)`."""
        return torch.cat([self._of(block) for block in torch.split(images, BLOCK)]).numpy()

    def _of(self, images: Tensor) -> Tensor:
        rows, columns = (size - self.side + 1 for size in images.shape[2:])
        patches = normalised(unfold(images, self.side).transpose(1, 2))
        distances = torch.cdist((patches - self.mean) @ self.whitening, self.centres)
        triangles = (distances.mean(2, keepdim=True) - distances).clamp(min=0).view(len(images), rows, columns, -1)
        halves = [half for part in triangles.tensor_split(2, 1) for half in part.tensor_split(2, 2)]
        return torch.cat([quadrant.sum((1, 2)) for quadrant in halves], 1)


def normalised(patches: Tensor) -> Tensor:
    """Return patches `(…, values)` less their mean, divided by their deviation, to which a little is added."""
    patches = patches - patches.mean(-1, keepdim=True)
    return patches / (patches.square().mean(-1, keepdim=True) + 0.01).sqrt()


def whiten(patches: Tensor, added: float = 0.1) -> tuple[Tensor, Tensor]:
    """Return the mean of patches, and the symmetric matrix that makes the unit one of their covariance and `added`."""
    mean = patches.mean(0)
    values, vectors = torch.linalg.eigh((patches - mean).T.cov() + added * torch.eye(patches.size(1)))
    return mean, vectors @ torch.diag(values.rsqrt()) @ vectors.T
