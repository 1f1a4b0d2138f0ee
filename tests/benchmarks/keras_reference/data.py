"""The rows that both sides see: read and split here without `reuse`, so that an error of its readers would show."""

import gzip
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.model_selection import train_test_split

HELD_OUT = 0.1
SPLIT_SEED = 42


@dataclass(frozen=True)
class Rows:
    """Inputs `(rows, features)` float32 and targets `(rows,)` of the training, validation and test split."""

    train: tuple[np.ndarray, np.ndarray]
    valid: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def load(name: str, standardised: bool) -> Rows:
    """Return the rows of a data set, standardised by the training rows if wanted."""
    rows = _housing() if name == "california-housing" else _images(name)
    return _standardise(rows) if standardised else rows


def _folder() -> Path:
    return Path(os.environ["REUSE_DATA"])


def _images(name: str) -> Rows:
    """Return MNIST or Fashion-MNIST, divided by 255, the last tenth of the training rows held out."""
    if name == "mnist":
        arrays = np.load(_folder() / "mnist.npz")
        images, labels, *test = (arrays[key] for key in ("x_train", "y_train", "x_test", "y_test"))
    else:
        images, labels, *test = (
            _idx(_folder() / name / f"{part}-{kind}.gz")
            for part in ("train", "t10k")
            for kind in ("images-idx3-ubyte", "labels-idx1-ubyte")
        )
    kept = round(len(images) * (1 - HELD_OUT))
    parts = ((images[:kept], labels[:kept]), (images[kept:], labels[kept:]), test)
    return Rows(*((x.reshape(len(x), -1).astype(np.float32) / 255, y.astype(np.int32)) for x, y in parts))


def _idx(path: Path) -> np.ndarray:
    """Return what an IDX file of bytes holds: the number of dimensions in byte 3, then their sizes, then the values."""
    raw = gzip.decompress(path.read_bytes())
    sizes = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(sizes)


def _housing() -> Rows:
    """Return California housing in two successive 25 % splits; missing numbers become the training rows' median."""
    table = pd.read_csv(_folder() / "housing.csv")
    columns = {
        "MedInc": table.median_income,
        "HouseAge": table.housing_median_age,
        "AveRooms": table.total_rooms / table.households,
        "AveBedrms": table.total_bedrooms / table.households,
        "Population": table.population,
        "AveOccup": table.population / table.households,
        "Latitude": table.latitude,
        "Longitude": table.longitude,
    }
    features, target = pd.DataFrame(columns).to_numpy(np.float64), table.median_house_value.to_numpy() / 100_000
    rest, x_test, y_rest, y_test = train_test_split(features, target, random_state=SPLIT_SEED)
    x_train, x_valid, y_train, y_valid = train_test_split(rest, y_rest, random_state=SPLIT_SEED)
    median = np.nanmedian(x_train, axis=0)
    parts = ((x_train, y_train), (x_valid, y_valid), (x_test, y_test))
    return Rows(*((np.where(np.isnan(x), median, x).astype(np.float32), y.astype(np.float32)) for x, y in parts))


def _standardise(rows: Rows) -> Rows:
    """Return the rows with mean 0 and standard deviation 1 a feature; a constant feature is only shifted."""
    mean, std = (function(rows.train[0], axis=0, dtype=np.float64) for function in (np.mean, np.std))
    std = np.where(std == 0, 1, std)
    return Rows(*((((x - mean) / std).astype(np.float32), y) for x, y in (rows.train, rows.valid, rows.test)))
