"""A plan for a person: its options in a table."""

from collections.abc import Sequence

from reuse.planning.options import Option, fastest_first
from reuse.planning.plan import Plan
from reuse.units import format_bytes, format_seconds

HEADINGS = ("", "cut", "cache", "bytes", "this run", "later runs", "pays from")


def plan_table(plan: Plan) -> list[str]:
    """Return the options of a plan in lines, the shortest run first; a star marks what is chosen, `~` what rounds."""
    chosen = ("none" if not plan.cache else plan.kind, plan.behind if plan.cache else ())
    rows: list[tuple[str, ...]] = [HEADINGS]
    for option in fastest_first(plan.options):
        is_chosen = (option.kind, option.behind) == chosen and option.bytes == (plan.bytes if plan.cache else 0)
        rows.append((("*" if is_chosen else ""), *_cells(option)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [_line(row, widths) for row in rows]


def _cells(option: Option) -> tuple[str, ...]:
    if option.kind == "none":
        seconds = format_seconds(option.first)
        return "", "none", "", seconds, seconds, ""
    cut = f"before {option.behind[0]}" if option.behind else "deepest"
    kind = f"{option.kind} {option.dtype}" + ("" if option.exact else " ~")
    pays = option.why_not or ("never" if option.pays_from is None else f"epoch {option.pays_from}")
    return cut, kind, format_bytes(option.bytes), format_seconds(option.first), format_seconds(option.later), pays


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
