"""What is said of a training at its end."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from reuse.pretraining.pretrain import pretrain


def far_table(scale: float, split: str) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    table = pd.DataFrame(draw.normal(size=(40, 3)), columns=["a", "b", "c"])
    table["part"] = ["train"] * 20 + ["valid"] * 8 + ["test"] * 12
    table.loc[table["part"] == split, ["a", "b", "c"]] *= scale
    table["y"] = draw.choice(["u", "v"], 40)
    return table


@pytest.mark.parametrize("objective", ["autoencoder", "supervised"])
@pytest.mark.parametrize("scale", [1e9, 1e25])
def test_rows_far_from_the_training_rows_are_spoken_of(objective: str, scale: float) -> None:
    settings: dict[str, Any] = {"target": "y", "split_column": "part", "model": "mlp:4", "epochs": 1}
    far = pretrain(objective, data=far_table(scale, "test"), **settings)
    [note] = [note for note in far.notes if "far from the training rows (test " in note]
    assert note.endswith("look for other units, scales or huge values in them")
    assert not [note for note in pretrain(objective, data=far_table(1, "test"), **settings).notes if "far from" in note]
