"""K-means patches: whitening, and the features of an image in plain loops."""

import numpy as np
import pytest
import torch
from reuse.recipes.experiments import PatchFeatures
from reuse.recipes.experiments.patches import whiten

IMAGES = torch.rand(40, 1, 9, 10, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def features() -> PatchFeatures:
    return PatchFeatures.fit(IMAGES, side=4, num_centres=7, num_patches=800)


def test_features_are_the_sums_over_quadrants_written_by_hand(features: PatchFeatures) -> None:
    image, centres = IMAGES[0, 0].numpy(), features.centres.numpy()
    sums = np.zeros((2, 2, 7))
    for row in range(6):
        for column in range(7):
            patch = image[row : row + 4, column : column + 4].flatten()
            patch = (patch - patch.mean()) / np.sqrt(patch.var() + 0.01)
            white = (patch - features.mean.numpy()) @ features.whitening.numpy()
            distances = np.array([np.linalg.norm(white - centre) for centre in centres])
            sums[int(row >= 3), int(column >= 4)] += np.maximum(distances.mean() - distances, 0)
    np.testing.assert_allclose(features(IMAGES[:1])[0], sums.flatten(), rtol=1e-3, atol=1e-3)


def test_whitened_values_are_uncorrelated_and_of_variance_one() -> None:
    draw = torch.Generator().manual_seed(0)
    mixed = torch.randn(5000, 4, generator=draw) @ torch.randn(4, 4, generator=draw)
    mean, whitening = whiten(mixed, added=0.0)
    torch.testing.assert_close(((mixed - mean) @ whitening).T.cov(), torch.eye(4), rtol=0, atol=1e-3)
    torch.testing.assert_close(whitening, whitening.T)


def test_the_same_seed_finds_the_same_centres(features: PatchFeatures) -> None:
    again = PatchFeatures.fit(IMAGES, side=4, num_centres=7, num_patches=800)
    torch.testing.assert_close(again.centres, features.centres)
