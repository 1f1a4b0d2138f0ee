"""Finding images in a folder or a tar archive: class folders, with the user's own splits above them or without."""

import lzma
import tarfile
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from reuse.data.class_folders import Placement, place
from reuse.data.image_formats import is_image, suffix_of
from reuse.data.image_reading import read_images
from reuse.data.images import ImageFile
from reuse.data.raw import Options, RawData, refuse_table_options
from reuse.data.walking import list_files, parts_of
from reuse.errors import DataError
from reuse.files import check_fits, open_regular, room
from reuse.units import format_count, verb_of

MEMBER_BYTES = 2048  # that knowing of a member of an archive takes
Found = Sequence[tuple[str, Path | bytes]]


def read_image_folder(folder: Path, options: Options, *, name: str | None = None) -> RawData:
    """Return the images below a folder as a data set.

    `folder/CLASS/…` are classes, `folder/train/CLASS/…`, alone or beside `test` and `valid`, the user's own splits (see
    `class_folders.place`); images right in the folder have no targets. Classes are sorted by name. Without targets all
    images are rows, wherever they lie. Names that begin with a dot are passed over; what is left aside is in the notes.

    Raises:
        DataError: no images, a class folder without any, or images beside class folders or splits.
    """
    try:
        listing = list_files(folder)
    except OSError as error:
        raise DataError(f"{folder} cannot be read ({error})") from error
    found = [(path, folder / path) for path in listing.paths]
    images = [(path, content) for path, content in found if is_image(path, content)]
    if not images:
        raise _no_images(str(folder))
    if not options.without_targets:
        _refuse_empty(folder, listing.leaves, [path for path, _ in images])
    notes = (*listing.notes, *_note_others(found, images))
    return _source_of_images(images, name or str(folder), str(folder), options, notes)


def read_image_archive(path: Path, options: Options, *, name: str | None = None) -> RawData:
    """Return the images in a tar archive (.tar, .tar.gz, .tar.xz, …), read without unpacking it to disk."""
    try:
        with open_regular(path) as file, tarfile.open(fileobj=file) as archive:
            members = _members(archive)
            files = {m.name: f.read() for m in members if m.isfile() and (f := archive.extractfile(m)) is not None}
    except (OSError, EOFError, MemoryError, ValueError, tarfile.TarError, lzma.LZMAError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a tar archive ({error})") from error
    others = sorted(m.name for m in members if not m.isfile())
    listed = ", ".join(others[:5]) + (", …" if len(others) > 5 else "")
    notes = [f"{len(others)} links and others in the archive are no files and were left aside ({listed})"] * bool(
        others
    )
    names = sorted((str(PurePosixPath(member)) for member in files), key=parts_of)
    contents = {str(PurePosixPath(member)): content for member, content in files.items()}
    found = [(inside, contents[inside]) for inside in names if not _is_hidden(inside)]
    images = [(inside, content) for inside, content in found if is_image(inside, content)]
    if not images:
        raise _no_images(str(path))
    return _source_of_images(images, name or str(path), str(path), options, (*notes, *_note_others(found, images)))


def _members(archive: tarfile.TarFile) -> list[tarfile.TarInfo]:
    """Return what is in an archive, folders apart.

    Raises:
        UnfitFileError: all of it together would not fit in memory; nothing is unpacked to find out.
    """
    members, needed, most = list[tarfile.TarInfo](), 0, room()
    for member in archive:
        needed += member.size + MEMBER_BYTES
        if needed > most:
            check_fits(needed)
        if not member.isdir():
            members.append(member)
    return members


def read_image_files(paths: Sequence[Path], options: Options, *, name: str) -> RawData:
    """Return image files in the order in which they are given, without targets."""
    refuse_table_options(options, f"{name}, a list of images,")
    samples = read_images([ImageFile(str(path), path) for path in paths], name, options)
    rows, notes = samples.usable()
    return RawData(name, samples, None, "unlabelled", (), rows, notes=notes)


def _source_of_images(images: Found, name: str, where: str, options: Options, notes: Sequence[str]) -> RawData:
    refuse_table_options(options, f"{where}, a set of images,")
    paths = [path for path, _ in images]
    nothing = Placement([""] * len(paths), [""] * len(paths))
    placed = nothing if options.without_targets else place(paths, where)
    samples = read_images([ImageFile(f"{where}/{path}", content) for path, content in images], name, options)
    rows, set_aside = samples.usable()
    notes, splits = (*notes, *set_aside), np.array(placed.splits)
    parts = {part: np.flatnonzero(splits == part) for part in sorted(set(placed.splits) - {""})}
    if not any(placed.labels):
        return RawData(name, samples, None, "unlabelled", (), rows, parts, notes=notes)
    classes, targets = np.unique(placed.labels, return_inverse=True)
    return RawData(
        name, samples, targets.astype(np.int64), "classification", tuple(classes.tolist()), rows, parts, notes=notes
    )


def _refuse_empty(folder: Path, leaves: Sequence[str], images: Sequence[str]) -> None:
    folders = {path.rpartition("/")[0] for path in images}
    full = {"/".join(parts[:depth]) for parts in map(parts_of, folders) for depth in range(1, len(parts) + 1)}
    empty = [leaf for leaf in leaves if leaf not in full]
    if empty:
        raise DataError(f"{folder}: no images in {', '.join(empty[:5])}: remove empty folders or fill them")


def _no_images(where: str) -> DataError:
    return DataError(f"{where} holds no images: expected class folders of .jpg, .png and what else Pillow reads")


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") and part != "." for part in PurePosixPath(name).parts)


def _note_others(found: Found, images: Found) -> Iterable[str]:
    """Return a line on files that are no images, counted by the endings of their names."""
    taken = {path for path, _ in images}
    suffixes = Counter(suffix_of(path) or parts_of(path)[-1] for path, _ in found if path not in taken)
    if not suffixes:
        return ()
    listed = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(5))
    return (
        (
            f"{format_count(suffixes.total(), 'file')} "
            f"{verb_of(suffixes.total(), 'is not an image and was', 'are not images and were')} left aside ({listed})"
        ),
    )
