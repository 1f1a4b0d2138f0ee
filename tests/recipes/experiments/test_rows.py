"""The last rows held out, and the first ones left as they were."""

import numpy as np
import pytest
from reuse.recipes.experiments import last_held_out
from sklearn.preprocessing import StandardScaler

import reuse


def test_the_last_training_rows_validate() -> None:
    whole, arrays = reuse.load("digits", valid_fraction=0.0), last_held_out("digits", 0.25)
    inputs = whole.train.inputs.resident().numpy()
    kept = round(len(inputs) * 0.75)
    np.testing.assert_array_equal(arrays["x_train"], inputs[:kept])
    np.testing.assert_array_equal(arrays["x_valid"], inputs[kept:])
    np.testing.assert_array_equal(arrays["y_valid"], whole.train.targets[kept:])
    np.testing.assert_array_equal(arrays["x_test"], whole.test.inputs.resident().numpy())


def test_images_stay_as_they_were_loaded() -> None:
    arrays = last_held_out("digits")
    again = reuse.load(arrays)
    np.testing.assert_array_equal(again.train.inputs.resident().numpy(), arrays["x_train"])
    assert again.valid.inputs.shape == (1, 8, 8)


def test_flat_rows_are_standardised_by_the_rows_to_train_on() -> None:
    arrays = last_held_out("digits", flat=True)
    scaler = StandardScaler().fit(arrays["x_train"].astype(np.float64))
    expected = scaler.transform(arrays["x_valid"].astype(np.float64))
    np.testing.assert_allclose(reuse.load(arrays).valid.inputs.resident().numpy(), expected, rtol=1e-5, atol=1e-5)


def test_data_without_targets_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "rows.npz", x=np.zeros((20, 1, 4, 4), np.float32))
    with pytest.raises(reuse.DataError, match="no targets"):
        last_held_out(str(tmp_path / "rows.npz"))
