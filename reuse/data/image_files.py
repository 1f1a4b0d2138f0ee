"""Finding images in a folder or a tar archive: class folders, with the user's own splits above them or without."""

import os
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from reuse.data.images import ImageFile, read_images
from reuse.data.raw import Options, RawData, refuse_table_options
from reuse.errors import DataError

IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
SPLIT_FOLDERS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}

Found = list[tuple[PurePosixPath, Path | bytes]]


def read_image_folder(folder: Path, options: Options, *, name: str | None = None) -> RawData:
    """Return the images below a folder as a data set.

    `folder/CLASS/…` are classes, `folder/train/CLASS/…`, alone or beside `test` and `valid` (`val`, `validation`), the
    user's own splits; images right in the folder have no targets. Classes are sorted by name. Names that begin with a
    dot are passed over; other files that are not images are counted in the notes.

    Raises:
        DataError: no images, a class folder without any, or images beside class folders or splits.
    """
    try:
        found, folders = _walk(folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error})") from error
    if not any(is_image(path) for path, _ in found):
        raise _no_images(str(folder))
    empty = sorted(f for f in folders if not any(f in path.parents for path, _ in found if is_image(path)))
    if empty:
        raise DataError(f"{folder}: no images in {', '.join(map(str, empty[:5]))}: remove empty folders or fill them")
    return _source_of_images(found, name or str(folder), str(folder), options)


def read_image_archive(path: Path, options: Options, *, name: str | None = None) -> RawData:
    """Return the images in a tar archive (.tar, .tar.gz, .tar.xz, …), read without unpacking it to disk.

    Folders that hold everything else are left out: `archive/train/cat/1.png` reads as `train/cat/1.png`.
    """
    try:
        with tarfile.open(path) as archive:
            members = [member for member in archive if member.isfile()]
            files = {m.name: f.read() for m in members if (f := archive.extractfile(m)) is not None}
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{path} cannot be read as a tar archive ({error})") from error
    found: Found = [(PurePosixPath(name), content) for name, content in sorted(files.items()) if not _is_hidden(name)]
    while found and len({p.parts[0] for p, _ in found}) == 1 and min(len(p.parts) for p, _ in found) > 2:
        found = [(PurePosixPath(*p.parts[1:]), content) for p, content in found]
    return _source_of_images(found, name or str(path), str(path), options)


def is_image(path: PurePosixPath) -> bool:
    """Return whether a file is called like an image."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def _source_of_images(found: Found, name: str, where: str, options: Options) -> RawData:
    refuse_table_options(options, f"{where}, a set of images,")
    images = [(path, content) for path, content in found if is_image(path)]
    if not images:
        raise _no_images(where)
    paths = [path for path, _ in images]
    split_names, labels = _split_and_label(paths, where)
    samples = read_images([ImageFile(f"{where}/{p}", content) for p, content in images], name, options)
    rows = np.setdiff1d(np.arange(len(images)), list(samples.broken)).astype(np.int64)
    set_aside = [f"set aside: {samples.files[row].name} ({reason})" for row, reason in samples.broken.items()]
    notes = (*_note_others(path for path, _ in found if not is_image(path)), *set_aside)
    parts = {part: np.flatnonzero(split_names == part) for part in sorted(set(split_names.tolist()) - {""})}
    if options.without_targets or not any(labels):
        return RawData(name, samples, None, "unlabelled", (), rows, parts, notes=notes)
    classes, targets = np.unique(labels, return_inverse=True)
    return RawData(
        name, samples, targets.astype(np.int64), "classification", tuple(classes.tolist()), rows, parts, notes=notes
    )


def _split_and_label(paths: Sequence[PurePosixPath], where: str) -> tuple[np.ndarray, list[str]]:
    """Return each image's split ("" where the user does not split) and class ("" without classes)."""
    is_split = any(path.parts[0] == "train" and len(path.parts) > 2 for path in paths)
    if is_split:
        _refuse_outside_splits(paths, where)
    below = [path.parts[1:] if is_split else path.parts for path in paths]
    splits = np.array([SPLIT_FOLDERS[path.parts[0]] if is_split else "" for path in paths])
    labels = [parts[0] if len(parts) > 1 else "" for parts in below]
    if any(labels) and not all(labels):
        stray = paths[labels.index("")]
        raise DataError(f"{where}: {stray} {_how_to_place(stray, is_split)}")
    return splits, labels


def _refuse_outside_splits(paths: Sequence[PurePosixPath], where: str) -> None:
    outside = sorted({path.parts[0] for path in paths} - set(SPLIT_FOLDERS))
    if outside:
        raise DataError(
            f"{where}: {', '.join(outside[:5])} stands beside train, which holds class folders: move it away or into "
            f"a split ({', '.join(SPLIT_FOLDERS)}); where train is itself a class, leave no folders in it"
        )


def _how_to_place(stray: PurePosixPath, is_split: bool) -> str:
    if is_split and SPLIT_FOLDERS[stray.parts[0]] != "train":
        return "has no class folder: predict it with `reuse predict`, or move it"
    return "lies beside class folders: move it into one"


def _walk(folder: Path) -> tuple[Found, list[PurePosixPath]]:
    """Return the files below a folder, sorted, and the folders that have no folders in them."""
    found: Found = []
    leaves = []
    for place, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        relative = Path(place).relative_to(folder)
        found += [(PurePosixPath(relative.as_posix(), n), Path(place, n)) for n in names if not n.startswith(".")]
        if not folders and relative != Path():
            leaves.append(PurePosixPath(relative.as_posix()))
    return sorted(found, key=lambda item: item[0]), leaves


def _no_images(where: str) -> DataError:
    return DataError(f"{where} holds no images: expected class folders of {', '.join(sorted(IMAGE_SUFFIXES))}")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part != "." for part in PurePosixPath(name).parts)


def _note_others(paths: Iterable[PurePosixPath]) -> tuple[str, ...]:
    suffixes = Counter(path.suffix or path.name for path in paths)
    if not suffixes:
        return ()
    listed = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5))
    return (f"{suffixes.total()} files are not images and were left aside ({listed})",)
