"""Data sets known by name: where each is looked for, and where it is fetched from when it is not there."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from reuse.data.array_files import read_npz, source_of_arrays
from reuse.data.csv_files import CsvFile
from reuse.data.idx import find_idx, read_idx_folder
from reuse.data.image_files import read_image_archive, read_image_folder
from reuse.data.raw import Options, RawData, refuse_image_options, refuse_table_options
from reuse.data.table_files import source_of_table
from reuse.data.table_libraries import pd
from reuse.errors import DataError
from reuse.paths import from_home

DEBIAN_FOLDER = Path("/usr/share/datasets")
DIGIT_NAMES = tuple("0123456789")
FASHION_NAMES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
DIGITS_MAXIMUM = 16.0
CIFAR10_SIZE = 60_000
HOUSING_TARGET_UNIT = 100_000.0
UNREACHABLE = (OSError, RuntimeError)  # URLError is an OSError; torchvision raises RuntimeError


def _scikit_learns(loader: str) -> Callable[..., Any]:
    """Return a function of `sklearn.datasets` by name."""
    from sklearn import datasets  # scikit-learn takes a second to import, and not every command needs it

    found: Callable[..., Any] = getattr(datasets, loader)
    return found


def read_digits(options: Options) -> RawData:
    """Return scikit-learn's digits as images `(1, 8, 8)`, whose values go from 0 to 16."""
    refuse_table_options(options, "digits")
    rows = _digits()
    arrays = {"x": rows[:, :-1].reshape(-1, 8, 8).astype(np.uint8), "y": rows[:, -1].astype(np.int64)}
    return source_of_arrays(arrays, "digits", options, class_names=DIGIT_NAMES, divisor=DIGITS_MAXIMUM)


def _digits() -> np.ndarray:
    """Return scikit-learn's digits `(n, 64 pixels and the digit)`: its file where it lies, since its import is long."""
    package = find_spec("sklearn")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz" if package and package.origin else None
    if file is not None and file.is_file():
        return np.loadtxt(file, delimiter=",")
    digits = _scikit_learns("load_digits")()
    return np.column_stack([digits.data, digits.target])


def read_shipped(name: str, loader: str, options: Options, **arguments: Any) -> RawData:
    """Return one of the small tables that scikit-learn ships."""
    refuse_table_options(options, name)
    bunch = _scikit_learns(loader)(**arguments)
    classes = tuple(map(str, bunch.get("target_names", ())))
    return source_of_arrays({"x": bunch.data, "y": bunch.target}, name, options, class_names=classes)


def read_mnist_like(name: str, torchvision_name: str, class_names: tuple[str, ...], options: Options) -> RawData:
    """Return MNIST or Fashion-MNIST with its own test split: from .npz, IDX files, or torchvision's download."""
    refuse_table_options(options, name)
    for place in _places():
        for folder in (place / name, place / torchvision_name / "raw"):
            if folder.is_dir() and "x_train" in find_idx(folder):
                return source_of_arrays(read_idx_folder(folder), name, options, class_names=class_names)
        if (place / f"{name}.npz").is_file():
            return _named(read_npz(place / f"{name}.npz", options), name, class_names)
    splits = _from_torchvision(name, torchvision_name, f"{name}.npz, or a folder {name} of the four IDX files,")
    arrays = {f"{role}_{part}": array for part, (x, y) in splits.items() for role, array in (("x", x), ("y", y))}
    return source_of_arrays(arrays, name, options, class_names=class_names)


def read_cifar10(options: Options) -> RawData:
    """Return CIFAR-10: from its Python batches, a tree of class folders or an archive of one, or downloaded."""
    for place in _places():
        if (place / "cifar-10-batches-py").is_dir():
            break
        if (place / "cifar10").is_dir():
            return _note_part(read_image_folder(place / "cifar10", options, name="cifar10"), place / "cifar10")
        for archive in sorted(place.glob("cifar10*.tar*")) if place.is_dir() else ():
            return _note_part(read_image_archive(archive, options, name="cifar10"), archive)
    refuse_table_options(options, "cifar10")
    splits = _from_torchvision("cifar10", "CIFAR10", "cifar-10-batches-py, or a tree of class folders cifar10")
    arrays = {f"{role}_{part}": array for part, (x, y) in splits.items() for role, array in (("x", x), ("y", y))}
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    return source_of_arrays(arrays, "cifar10", options, class_names=names)


def read_california_housing(options: Options) -> RawData:
    """Return the eight features of scikit-learn's California housing; the target is in 100,000 dollars."""
    refuse_table_options(options, "california-housing")
    refuse_image_options(options, "california-housing")
    for place in _places():
        for path in (place / "housing.csv", place / "california-housing" / "housing.csv"):
            if path.is_file():
                columns = _housing_features(CsvFile.open(path).read(), path)
                return source_of_table(columns, "california-housing", _with_target(options, "MedHouseVal"))
    try:
        bunch = _fetch(_scikit_learns("fetch_california_housing"))
    except UNREACHABLE as error:
        raise _unreachable("california-housing", "housing.csv", error) from error
    frame = pd.DataFrame(bunch.data, columns=bunch.feature_names).assign(MedHouseVal=bunch.target)
    return source_of_table(frame, "california-housing", _with_target(options, "MedHouseVal"))


def read_openml(name: str, options: Options) -> RawData:
    """Return a data set of https://www.openml.org by name, fetched (and kept) by scikit-learn."""
    refuse_image_options(options, f"openml:{name}")
    try:
        bunch = _fetch(_scikit_learns("fetch_openml"), name, as_frame=True, parser="auto")
    except (*UNREACHABLE, ValueError) as error:
        raise DataError(f"openml:{name} could not be fetched ({error}): check the name and the connection") from error
    target = options.target or ",".join(bunch.target_names)
    chosen = _with_target(options, target) if target else replace(options, without_targets=True)
    return source_of_table(bunch.frame, f"openml:{name}", chosen)


NAMED: dict[str, Callable[[Options], RawData]] = {
    "digits": read_digits,
    "breast-cancer": partial(read_shipped, "breast-cancer", "load_breast_cancer"),
    "iris": partial(read_shipped, "iris", "load_iris"),
    "wine": partial(read_shipped, "wine", "load_wine"),
    "diabetes": partial(read_shipped, "diabetes", "load_diabetes", scaled=False),
    "mnist": partial(read_mnist_like, "mnist", "MNIST", DIGIT_NAMES),
    "fashion-mnist": partial(read_mnist_like, "fashion-mnist", "FashionMNIST", FASHION_NAMES),
    "cifar10": read_cifar10,
    "california-housing": read_california_housing,
}


# What each data set that scikit-learn does not ship looks like where it is found.
FILES = {
    "mnist": ("mnist", "mnist.npz", "MNIST/raw"),
    "fashion-mnist": ("fashion-mnist", "fashion-mnist.npz", "FashionMNIST/raw"),
    "cifar10": ("cifar-10-batches-py", "cifar10", "cifar10*.tar*"),
    "california-housing": ("housing.csv", "california-housing/housing.csv"),
}


def found_places() -> dict[str, Path | None]:
    """Return where each named data set that is not shipped lies on this machine, None where it does not."""
    places = [*_places(), download_folder()]
    return {
        name: next((path for place in places for pattern in patterns for path in sorted(place.glob(pattern))), None)
        for name, patterns in FILES.items()
    }


def download_folder() -> Path:
    """Return where torchvision's downloads go: `reuse/data` in the user's cache folder."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reuse" / "data"


def _places() -> Iterator[Path]:
    """Yield the folders that data sets are looked for in, best first."""
    if given := os.environ.get("REUSE_DATA"):
        yield from_home(given)
    yield DEBIAN_FOLDER


def _from_torchvision(name: str, torchvision_name: str, wanted: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return (images, class numbers) of the training and test split, downloaded unless torchvision finds them."""
    from torchvision import datasets  # slow to import, and needed only where nothing was found

    kind = getattr(datasets, torchvision_name)
    for place in _places():
        try:
            return {part: _arrays_of(kind(place, train=part == "train", download=False)) for part in ("train", "test")}
        except UNREACHABLE:
            continue
    try:
        folder = download_folder()
        with redirect_stdout(sys.stderr):  # torchvision prints; standard output is the caller's, for --json
            return {part: _arrays_of(kind(folder, train=part == "train", download=True)) for part in ("train", "test")}
    except UNREACHABLE as error:
        raise _unreachable(name, wanted, error) from error


def _fetch(fetch: Callable[..., Any], *args: Any, **settings: Any) -> Any:
    """Return what one of scikit-learn's fetchers brings, trying twice; its warnings say no more than its error."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fetch(*args, **settings, n_retries=1, delay=0.1)


def _arrays_of(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(dataset.data), np.asarray(dataset.targets)


def _unreachable(name: str, wanted: str, error: Exception) -> DataError:
    looked = ", ".join(str(place) for place in _places())
    reason = " ".join(str(error).split())
    return DataError(
        f"{name} was not found in {looked} and could not be downloaded ({reason}): "
        f"put {wanted} into a folder and set REUSE_DATA to that folder"
    )


def _housing_features(raw: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return scikit-learn's eight features and the target from the census columns."""
    needed = ("median_income", "housing_median_age", "total_rooms", "total_bedrooms", "population", "households",
              "latitude", "longitude", "median_house_value")  # fmt: skip
    missing = [column for column in needed if column not in raw or raw[column].dtype.kind not in "iuf"]
    if missing:
        raise DataError(f"{path}: no numbers in column {', '.join(missing)}: expected the 1990 census table")
    numbers = {column: raw[column].astype(np.float64) for column in needed}
    households = numbers["households"]
    columns = {
        "MedInc": numbers["median_income"],
        "HouseAge": numbers["housing_median_age"],
        "AveRooms": numbers["total_rooms"] / households,
        "AveBedrms": numbers["total_bedrooms"] / households,
        "Population": numbers["population"],
        "AveOccup": numbers["population"] / households,
        "Latitude": numbers["latitude"],
        "Longitude": numbers["longitude"],
        "MedHouseVal": numbers["median_house_value"] / HOUSING_TARGET_UNIT,
    }
    return pd.DataFrame(columns)


def _with_target(options: Options, target: str) -> Options:
    return replace(options, target=target if options.target != "none" else "none")


def _named(source: RawData, name: str, class_names: tuple[str, ...]) -> RawData:
    return replace(
        source, name=name, classes=class_names if len(source.classes) == len(class_names) else source.classes
    )


def _note_part(source: RawData, path: Path) -> RawData:
    if len(source.rows) >= CIFAR10_SIZE:
        return source
    return replace(
        source, notes=(*source.notes, f"cifar10: {len(source.rows):,} of {CIFAR10_SIZE:,} images, from {path}")
    )
