"""One row of an experiment against another, draw by draw, in words."""

from reuse.recipes.experiments.recording import Record

from reuse.intervals import paired_interval


def compare_pairs(record: Record, row: str, other: str, figure: str, other_figure: str = "") -> str:
    """Return what a row gains over another, the 95 % interval of the paired difference, and what that says of it.

    Args:
        record: of both rows, with the same seeds.
        row: the row.
        other: what it is compared with.
        figure: a share, the higher the better.
        other_figure: that of the other row, where it is another one; both are then named.
    """
    pairs = record.values(other, other_figure or figure), record.values(row, figure)
    if other_figure:
        row, other = f"{row}, {figure}", f"{other}, {other_figure}"
    gain, low, high = (100 * value for value in paired_interval(*pairs))
    verdict = "gain" if low > 0 else "loss" if high < 0 else "no gain"
    interval = f"{gain:+.2f} points, 95 % interval {low:+.2f} to {high:+.2f}"
    return f"{row} minus {other}: {interval}, paired over {len(pairs[0])} draws: {verdict}"
