import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from reuse.errors import UnknownNameError, UsageError
from reuse.nn.norms import MAP_NORMS, VECTOR_NORMS, build_norm, num_groups

# Into how many groups of channels each norm of a map splits 12, and over which dimensions of
# (batch, groups, channels, height, width) it takes mean and variance.
SPLITS = {
    "batch": (12, (0, 2, 3, 4)),
    "layer": (1, (1, 2, 3, 4)),
    "group": (3, (2, 3, 4)),
    "instance": (12, (2, 3, 4)),
}


def standardize(x: Tensor, dimensions: tuple[int, ...]) -> Tensor:
    mean = x.mean(dimensions, keepdim=True)
    return (x - mean) / (x.var(dimensions, keepdim=True, correction=0) + 1e-5).sqrt()


@pytest.mark.parametrize("name", SPLITS)
def test_norms_of_maps_equal_the_formula(name: str) -> None:
    x = torch.randn(3, 12, 4, 5, dtype=torch.float64) * 2 + 1
    groups, dimensions = SPLITS[name]
    expected = standardize(x.reshape(3, groups, -1, 4, 5), dimensions).reshape(x.shape)
    torch.testing.assert_close(build_norm(name, 12, maps=True).double()(x), expected)


@pytest.mark.parametrize("name", ["batch", "layer", "group"])
def test_norms_of_vectors_equal_the_formula(name: str) -> None:
    x = torch.randn(7, 12, dtype=torch.float64) * 2 + 1
    groups = num_groups(12)
    expected = {
        "batch": standardize(x, (0,)),
        "layer": standardize(x, (1,)),
        "group": standardize(x.reshape(7, groups, -1), (2,)).reshape(7, 12),
    }[name]
    torch.testing.assert_close(build_norm(name, 12).double()(x), expected)


def test_rms_of_vectors_and_of_maps_divides_by_the_root_mean_square_of_the_features() -> None:
    x = torch.randn(3, 12, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(build_norm("rms", 12, maps=True).double()(x), x / x.square().mean(1, True).sqrt())
    torch.testing.assert_close(build_norm("rms", 5).double()(x), x / x.square().mean(-1, True).sqrt())


def test_rms_of_maps_is_contiguous() -> None:
    """Convolutions round otherwise in another layout, so that stored maps would train another model than fresh ones."""
    assert build_norm("rms", 12, maps=True)(torch.randn(3, 12, 4, 5)).is_contiguous()


@pytest.mark.parametrize(
    ("name", "width", "arguments"), [("layer", 1, {}), ("rms", 1, {}), ("group", 1, {}), ("group", 6, {"groups": 6.0})]
)
def test_a_norm_over_a_single_feature_is_refused(name: str, width: int, arguments: dict[str, float]) -> None:
    """Its outputs would be the same for all inputs, or nothing but their signs."""
    with pytest.raises(UsageError, match="single feature"):
        build_norm(name, width, arguments=arguments)
    if name == "rms":
        with pytest.raises(UsageError, match="single feature"):
            build_norm(name, width, maps=True)
    else:  # these are over the positions of a map too
        build_norm(name, width, maps=True, arguments=arguments)


def test_local_response_divides_by_the_neighbours_of_the_same_place() -> None:
    x = torch.randn(2, 7, 3, 4, dtype=torch.float64) * 50
    sums = torch.stack([x[:, max(i - 2, 0) : i + 3].square().sum(1) for i in range(7)], 1)
    expected = x / (2 + 0.01 / 5 * sums) ** 0.75
    arguments = {"size": 5.0, "alpha": 0.01, "beta": 0.75, "k": 2.0}
    torch.testing.assert_close(build_norm("local_response", 7, maps=True, arguments=arguments)(x), expected)
    vectors = build_norm("local_response", 7, arguments=arguments)(x[:, :, 0, 0])
    torch.testing.assert_close(vectors, expected[:, :, 0, 0])


@given(st.integers(1, 4096))
def test_groups_are_equal_and_never_of_a_single_feature(width: int) -> None:
    groups = num_groups(width)
    assert width % groups == 0
    assert groups <= 32
    assert groups == 1 or width // groups >= 4


def test_names_are_those_of_both_menus() -> None:
    assert set(VECTOR_NORMS) | {"instance"} == set(MAP_NORMS)
    with pytest.raises(UnknownNameError, match="batch"):
        build_norm("batchnorm", 4)
    with pytest.raises(UsageError, match="needs maps"):
        build_norm("instance", 4)
