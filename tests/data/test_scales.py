"""One scale for bytes, floats to 255 and floats to 1, in training and whenever a model is asked."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reuse.data.loading import load
from reuse.data.preprocessing import Preprocessing, image_preprocessing
from reuse.errors import DataError

RNG = np.random.default_rng(5)
BYTES = RNG.integers(0, 256, (12, 3, 9, 9), dtype=np.uint8)
EVERY: dict[str, Any] = {"valid_fraction": 0, "test_fraction": 0}
FORMS = {
    "bytes": BYTES,
    "floats to 255": BYTES.astype(np.float32),
    "doubles to 255": BYTES.astype(np.float64),
    "integers": BYTES.astype(np.int64),
    "floats to 1": (BYTES / 255).astype(np.float32),
    "doubles to 1": BYTES / 255,
    "bytes, channels last": np.moveaxis(BYTES, 1, 3),
    "floats to 1, channels last": np.moveaxis(BYTES / 255, 1, 3),
}
TIMM = image_preprocessing((0.5, 0.4, 0.3), (0.2, 0.3, 0.4), "bicubic", 0.875, 8)


def inputs(x: np.ndarray, preprocessing: Preprocessing | None = None) -> Tensor:
    found = load((x, None), preprocessing=preprocessing, **EVERY).train.inputs.resident()
    assert found is not None
    return found


@pytest.mark.parametrize("learned", FORMS)
@pytest.mark.parametrize("asked", FORMS)
def test_all_forms_give_the_same_inputs(learned: str, asked: str) -> None:
    preprocessing = load((FORMS[learned], None), **EVERY).preprocessing
    expected = torch.from_numpy(BYTES).float() / 255
    torch.testing.assert_close(inputs(FORMS[learned]), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(inputs(FORMS[asked], preprocessing), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("asked", FORMS)
def test_all_forms_are_alike_to_a_pretrained_model(asked: str) -> None:
    torch.testing.assert_close(inputs(FORMS[asked], TIMM), inputs(BYTES, TIMM), rtol=0, atol=2e-6)


def test_a_dark_row_alone_stays_dark() -> None:
    dark = BYTES[:1] // 4
    for form in (BYTES.astype(np.float32), BYTES):
        learned = load((form, None), **EVERY).preprocessing
        torch.testing.assert_close(inputs(dark.astype(np.float32), learned), torch.from_numpy(dark).float() / 255)


def test_a_black_row_of_whole_numbers_is_black() -> None:
    learned = load((BYTES, None), **EVERY).preprocessing
    assert inputs(np.ones((1, 3, 9, 9), np.int64), learned).max() == pytest.approx(1 / 255)


@pytest.mark.parametrize("white", [16, 1000, 4095])
def test_shares_of_white_are_that_to_a_model_whose_pictures_count_to_something_else(white: int) -> None:
    counted = np.round(BYTES / 255 * white)
    counted[0, 0, 0, 0] = white
    learned = load((counted, None), **EVERY).preprocessing
    assert learned.divisor == white
    for form in (counted / white, (counted / white).astype(np.float32)):
        torch.testing.assert_close(inputs(form, learned), inputs(counted), rtol=0, atol=1e-6)
    torch.testing.assert_close(inputs(np.minimum(counted, 1), learned).max(), torch.tensor(1 / white))


@pytest.mark.parametrize("learned", [BYTES, BYTES / 255, BYTES / 255 * 16, BYTES > 127])
def test_true_is_white(learned: np.ndarray) -> None:
    preprocessing = load((learned, None), **EVERY).preprocessing
    assert torch.equal(inputs(BYTES > 127, preprocessing), torch.from_numpy(BYTES > 127).float())


@pytest.mark.parametrize(
    ("learned", "asked", "words"),
    [
        (BYTES / 255 - 0.5, BYTES, "below and above 0: prepare them like those"),
        (BYTES, BYTES / 255 - 0.5, "give pixels that are not normalised"),
        (BYTES / 255, BYTES / 255 * 16, "divide them by what is white"),
        (BYTES, BYTES / 255 * 4095, "divide them by what is white"),
        (BYTES / 255 * 16, BYTES.astype(np.float32), "end at 16: scale them alike"),
    ],
)
def test_what_can_be_on_no_common_scale_is_refused(learned: np.ndarray, asked: np.ndarray, words: str) -> None:
    preprocessing = load((learned, None), **EVERY).preprocessing
    with pytest.raises(DataError, match=words):
        load((asked, None), preprocessing=preprocessing, **EVERY)


def test_a_training_split_that_happens_to_be_darker_counts_to_255_all_the_same() -> None:
    data = load({"x_train": np.minimum(BYTES, 250).astype(np.float32), "x_test": BYTES.astype(np.float32)})
    assert data.preprocessing.divisor == 255
    assert any("divided by 255" in note for note in data.notes)


def test_rows_that_count_otherwise_have_other_digests() -> None:
    """The same numbers mean another picture where white is 255 than where it is 1, and are cached apart."""
    learned = load((BYTES, None), **EVERY).preprocessing
    faint = RNG.random((2, 3, 9, 9)).astype(np.float32)
    alone = load((faint, None), preprocessing=learned, **EVERY).train.inputs
    bright = np.concatenate([faint, BYTES[:1].astype(np.float32)])
    beside = load((bright, None), preprocessing=learned, **EVERY).train.inputs
    assert (alone.digests() != beside.digests()[:2]).any(axis=1).all()
    floats = (BYTES.astype(np.float32), None)
    again = load(floats, preprocessing=learned, **EVERY).train.inputs
    assert (load(floats, **EVERY).train.inputs.digests() == again.digests()).all()


@pytest.mark.parametrize("channels", [2, 5, 13])
def test_other_numbers_of_channels_come_last_too(channels: int) -> None:
    x = RNG.random((4, 16, 16, channels))
    assert load((x, None), **EVERY).input_shape == (channels, 16, 16)
    assert load((np.moveaxis(x, 3, 1), None), **EVERY).input_shape == (channels, 16, 16)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_transparency_of_arrays_is_composed_on_white(kind: Any) -> None:
    pixels = np.zeros((2, 4, 3, 3), kind)
    pixels[0, 0], pixels[1, 2] = 255, 200
    pixels[0, 3, 0, 0] = 51
    three = inputs(pixels, Preprocessing("images", 255.0, image_size=(3, 3), channels=3))
    assert (three[:, :, 1, 1] == 1).all()
    torch.testing.assert_close(three[0, :, 0, 0], torch.tensor([1.0, 0.8, 0.8]))
