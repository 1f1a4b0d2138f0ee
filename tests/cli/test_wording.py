"""Messages name settings as Python does; the command line reads of its options."""

import click
import pytest

from reuse.cli.options import Command
from reuse.cli.printing import Printer
from reuse.cli.wording import as_typed
from reuse.errors import UsageError

OPTIONS = [
    click.Option(["--cache-kind"]),
    click.Option(["--weight-decay"]),
    click.Option(["--views"], type=int),
    click.Option(["--target"]),
    click.Option(["--cache/--no-cache"]),
    click.Option(["--no-early-stopping", "early_stopping"], is_flag=True),
]


def command(run):
    return Command("finetune", params=OPTIONS, callback=lambda **_: run())


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("to have one for later runs, say cache_kind=disk", "to have one for later runs, say --cache-kind disk"),
        ("samples change: views=5 computes five.", "samples change: --views 5 computes five."),
        ("(weight_decay=1e-4)", "(--weight-decay 1e-4)"),
        ("target='none', or else", "--target 'none', or else"),
        ("give cache=False, not cache=True", "give --no-cache, not --cache"),
        ("early_stopping=False", "--no-early-stopping"),
        ("early_stopping=True", "early_stopping=True"),
        ("'adamw:weight_decay=0.1' and adamw:beta=1,weight_decay=0.1", None),
        ("reuse.load(target='y') or views=[1, 2]", None),
        ("as in reuse.cached(model, dataset, views=5)", None),
        ("runs/views=5 and /data/target=x/part.parquet are no run folders", None),
        ("wrote views=5.csv; views=None; {views=2}; \\srv\\views=5\\x", None),
        ("no_setting=3, x.views=2, views==2", None),
    ],
)
def test_settings_are_named_as_they_are_typed(said, read, capsys):
    with click.Context(command(None)):
        assert as_typed(said) == (said if read is None else read)
        Printer().line(said)
    assert capsys.readouterr().err.strip() == (said if read is None else read)
    assert as_typed(said) == said  # outside of a command


def test_errors_name_settings_as_they_are_typed():
    def fail():
        raise UsageError("views is 1: give views=2")

    with pytest.raises(UsageError, match=r"^views is 1: give --views 2$"):
        command(fail).main([], standalone_mode=False)
