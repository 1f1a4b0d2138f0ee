"""How values are printed is part of a key where a forward makes texts of values, and nowhere else."""

import io
import operator
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
import torch
from torch import Tensor, nn

from caching.prefixes import print_of

TEMPLATE = "%s"


@pytest.fixture(autouse=True)
def printing_of_before() -> Iterator[None]:
    yield
    torch.set_printoptions(profile="default")


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear, self.width, self.template = nn.Linear(4, 4), 4, "%s"
        self.register_buffer("number", torch.tensor(2.55555))


class RaisesFormatted(Layer):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] != self.width:
            raise ValueError(f"expected {self.width} columns, got {x.shape}")
        return self.linear(x)


class RaisesOtherTexts(Layer):
    def forward(self, x: Tensor) -> Tensor:
        if x.dim() > 2:
            raise TypeError("expected rows, got " + str(x.shape))
        if x.dim() < 1:
            raise RuntimeError("got {}".format(x.shape))  # noqa: UP032
        if x.shape[1] != self.width:
            raise NotImplementedError("expected %s columns, got %r" % (self.width, x.shape)) from None  # noqa: UP031
        return self.linear(x)


ASSERTS = """
def checked_by_assertion(x, width):
    assert x.shape[1] == width, f"got {x.shape}"
"""
exec(ASSERTS)  # as pytest writes assertions of this file anew


class Asserts(Layer):
    def forward(self, x: Tensor) -> Tensor:
        checked_by_assertion(x, self.width)  # type: ignore[name-defined]  # noqa: F821
        return self.linear(x)


class Documented(Layer):
    def forward(self, x: Tensor) -> Tensor:
        """Keep 100 % of the columns."""
        return self.linear(x) * (x.shape[1] % self.width + 1)


class NumbersBesideTexts(Layer):
    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] % 2:
            raise ValueError("100 % of the columns go in pairs")
        width = x.shape[1]
        width %= 3
        return self.linear(x) * (width % self.width % len(x.shape))


def fail(number: Tensor) -> None:
    raise ValueError(f"{number}")


class LeavesErrorsUnread(Layer):
    def forward(self, x: Tensor) -> Tensor:
        with suppress(ValueError):
            fail(self.number)
        try:
            raise ValueError("%s" % self.number)  # noqa: UP031
        except ValueError:
            pass
        return self.linear(x)


class InHelper(Layer):
    def forward(self, x: Tensor) -> Tensor:
        checked(x, self.width)
        return self.linear(x)


def checked(x: Tensor, width: int) -> None:
    if x.shape[1] != width:
        raise ValueError(f"got {x.shape}")


class GlobalTemplate(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * len(TEMPLATE % self.number)


class HeldTemplate(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * len(self.template % self.number)


class TemplateByDefault(Layer):
    def forward(self, x: Tensor, template: str = "%s") -> Tensor:
        return self.linear(x) * len(template % self.number)


class TemplateInVariable(Layer):
    def forward(self, x: Tensor) -> Tensor:
        template = "%s" if x.dim() > 1 else "%r"
        return self.linear(x) * len(template % self.number)


class GrowsText(Layer):
    def forward(self, x: Tensor) -> Tensor:
        text = "%s"
        text %= self.number
        return self.linear(x) * len(text)


class RemainderOrNumber(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * len("%s" % (self.number if x.dim() > 1 else 0))


class RemainderOrNothing(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * len("%s" % (self.number or 0))


class TemplateOrNumber(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * len(("%s" if x.dim() > 1 else 7) % self.number)  # type: ignore[arg-type]


# A name beyond the first 255 takes a longer instruction, where ways through the code meet too.
FAR = """
def far(c):
    if c is None:
        return NAMES
    return ("%s" if c else 7) % TEMPLATE
""".replace("NAMES", ", ".join(f"n{place}" for place in range(300)))
exec(FAR)


class TemplateBeforeFarName(Layer):
    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x) * len(far(x.dim() > 1))  # type: ignore[name-defined]  # noqa: F821


class ReadsWhatWasRaised(Layer):
    def forward(self, x: Tensor) -> Tensor:
        try:
            raise ValueError(f"{self.number}")
        except ValueError as error:
            return self.linear(x) * len(error.args[0])


class PrintsWhatWasRaised(Layer):
    def forward(self, x: Tensor) -> Tensor:
        buffer = io.StringIO()
        try:
            raise ValueError(f"{self.number}")
        except ValueError as error:
            print(error, file=buffer)
        return self.linear(x) * len(buffer.getvalue())


class ReadsByText(Layer):
    def forward(self, x: Tensor) -> Tensor:
        try:
            raise ValueError(f"{self.number}")
        except ValueError as error:
            return self.linear(x) * len(getattr(error, "args")[0])  # noqa: B009


class RaisesRemainder(Layer):
    def forward(self, x: Tensor) -> Tensor:
        try:
            raise ValueError("%s" % self.number)  # noqa: UP031
        except ValueError as error:
            return self.linear(x) * len(error.args[0])


class PrintsGroups(Layer):
    def forward(self, x: Tensor) -> Tensor:
        buffer = io.StringIO()
        try:
            raise ValueError(f"{self.number}")
        except* ValueError as group:
            print(group.exceptions[0], file=buffer)
        return self.linear(x) * len(buffer.getvalue())


class PrintsTheCurrentError(Layer):
    def forward(self, x: Tensor) -> Tensor:
        buffer = io.StringIO()
        try:
            raise ValueError(f"{self.number}")
        except ValueError:
            print(sys.exc_info()[1], file=buffer)
        return self.linear(x) * len(buffer.getvalue())


class FindsTheCurrentErrorByText(Layer):
    def forward(self, x: Tensor) -> Tensor:
        buffer = io.StringIO()
        try:
            raise ValueError(f"{self.number}")
        except ValueError:
            print(operator.methodcaller("exc_info")(sys)[1], file=buffer)
        return self.linear(x) * len(buffer.getvalue())


class Kept:
    def __init__(self) -> None:
        self.buffer = io.StringIO()

    def __enter__(self) -> "Kept":
        return self

    def __exit__(self, _kind: object, error: object, _trace: object) -> bool:
        print(error, file=self.buffer)
        return True


class PrintsOnLeaving(Layer):
    def forward(self, x: Tensor) -> Tensor:
        with Kept() as kept:
            fail(self.number)
        return self.linear(x) * len(kept.buffer.getvalue())


def keep(buffer: io.StringIO, error: object) -> bool:
    print(error, file=buffer)
    return True


class PrintsOnLeavingAStack(Layer):
    def forward(self, x: Tensor) -> Tensor:
        buffer = io.StringIO()
        with ExitStack() as stack:
            stack.push(lambda _kind, error, _trace: keep(buffer, error))
            fail(self.number)
        return self.linear(x) * len(buffer.getvalue())


class Found(Exception):
    def __init__(self, text: str) -> None:
        self.length = len(text)


class RaisesWhatItFound(Layer):
    def forward(self, x: Tensor) -> Tensor:
        try:
            raise Found(f"{self.number}")
        except Found as found:
            return self.linear(x) * found.length


class FormatsBeside(Layer):
    def forward(self, x: Tensor) -> Tensor:
        text = f"{self.number}"
        if x.dim() < 2:
            raise ValueError(f"got {x.shape}")
        return self.linear(x) * len(text)


def keys(kind: type[Layer]) -> list[str]:
    """Return the keys of a layer where four digits of numbers are printed, and where one is."""
    torch.manual_seed(0)
    model = nn.Sequential(kind())
    before = print_of(model).key
    torch.set_printoptions(precision=1)
    return [before, print_of(model).key]


@pytest.mark.parametrize(
    "kind",
    [RaisesFormatted, RaisesOtherTexts, Asserts, Documented, NumbersBesideTexts, LeavesErrorsUnread, InHelper],
    ids=lambda k: k.__name__,
)
def test_texts_of_errors_and_remainders_print_no_values(kind: type[Layer]) -> None:
    before, after = keys(kind)
    assert before == after


@pytest.mark.parametrize(
    "kind",
    [GlobalTemplate, HeldTemplate, TemplateByDefault, TemplateInVariable, GrowsText, RemainderOrNumber,
     RemainderOrNothing, TemplateOrNumber, TemplateBeforeFarName, ReadsWhatWasRaised, PrintsWhatWasRaised, ReadsByText,
     RaisesRemainder, PrintsGroups, PrintsTheCurrentError, FindsTheCurrentErrorByText, PrintsOnLeaving,
     PrintsOnLeavingAStack, RaisesWhatItFound, FormatsBeside],
    ids=lambda k: k.__name__,
)  # fmt: skip
def test_texts_that_reach_a_result_print_values(kind: type[Layer]) -> None:
    before, after = keys(kind)
    assert before != after
