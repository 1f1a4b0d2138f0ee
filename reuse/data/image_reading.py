"""Reading image files: each is digested and decoded once, in several threads; what cannot be used is named."""

from collections.abc import Sequence
from dataclasses import replace

from reuse.data.file_digests import FileDigests
from reuse.data.image_check import ImageCheck
from reuse.data.image_findings import ImageFinding, ImageFindings
from reuse.data.images import IMAGE_SEED, ImageFile, ImageSamples
from reuse.data.pictures import MOST_PIXELS, without_pillows_warnings
from reuse.data.preprocessing import Preprocessing
from reuse.data.raw import Options, refuse_other_kind
from reuse.data.scales import white_of
from reuse.errors import DataError
from reuse.listing import some_of
from reuse.units import format_count, verb_of

LISTED = 5  # files named in a note


def read_images(files: Sequence[ImageFile], name: str, options: Options) -> ImageSamples:
    """Return image files as samples: every one is read, digested and decoded, or known from an earlier run.

    Pictures deeper than 8 bits are brought to 8 by one white for the whole data set: that of the preprocessing, else
    the end of the bits that all of them together fill.

    Args:
        files: the files, in the order of the rows.
        name: what the user called the data set.
        options: `image_size`, `channels` (3 unless given), `preprocessing`, `max_pixels`, `skip_bad`: set broken
            images aside, `hints`, where what is known of files is remembered, and `decode_late`: read headers alone
            at first, so that images are decoded while what was decoded before is computed with; `reporter` is told.

    Raises:
        DataError: broken images, unless they are to be skipped; sizes that differ where no size is asked for.
    """
    wanted = options.preprocessing or Preprocessing(
        "images", 255.0, image_size=options.size, channels=options.channels or 3
    )
    refuse_other_kind(wanted, "images", name)
    most = options.max_pixels or MOST_PIXELS
    findings = ImageFindings(options.hints, wanted, most)
    is_late = options.decode_late and not options.skip_bad  # what is set aside is to be known at once
    check = ImageCheck(files, wanted, FileDigests(options.hints, IMAGE_SEED), findings, is_late, options.reporter)
    with without_pillows_warnings():
        first = check.first_shape(name)
        check.look_at_all()
    check.refuse(skip_bad=options.skip_bad)
    white, notes = _white(files, check.found)
    notes += _firsts(files, check.found)
    reasons = {row: finding.reason for row, finding in enumerate(check.found) if finding.reason}
    preprocessing = replace(wanted, image_size=(first[1], first[2]), white=white or wanted.white)
    return ImageSamples(files, preprocessing, check, reasons, max_pixels=most, notes=notes)


def _firsts(files: Sequence[ImageFile], found: Sequence[ImageFinding]) -> tuple[str, ...]:
    """Return a note on files of which the first picture is taken and the others are left."""
    names = [file.name for file, finding in zip(files, found, strict=True) if finding.is_first]
    if not names:
        return ()
    several = f"{format_count(len(names), 'file')} {verb_of(len(names), 'holds', 'hold')} several frames or pages"
    return (f"{several} ({some_of(names, LISTED)}): the first of each is taken",)


def _white(files: Sequence[ImageFile], found: Sequence[ImageFinding]) -> tuple[float | None, tuple[str, ...]]:
    """Return the white of the pictures that wait for one, and a note on it; None where there are none.

    Raises:
        DataError: some hold whole numbers and some do not.
    """
    depths = {row: finding.depth for row, finding in enumerate(found) if finding.depth is not None}
    if not depths:
        return None, ()
    examples = {depth.is_whole: files[row].name for row, depth in depths.items()}
    if len(examples) > 1:
        raise DataError(
            f"{examples[True]} holds whole numbers beyond 8 bits, and {examples[False]} numbers with a point: there is "
            "no scale for both, so convert one kind"
        )
    highest = max(depth.highest for depth in depths.values())
    white = white_of(highest, is_whole=True in examples)
    deeper = f"{format_count(len(depths), 'image')} {verb_of(len(depths), 'is', 'are')} deeper than 8 bits"
    return white, (f"{deeper}: white is {white:g}, their largest value {highest:g}",)
