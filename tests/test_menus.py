"""Text and what it says are two forms of one thing; what cannot be read or taken is refused in one kind of message."""

import inspect
import string
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reuse.errors import UnknownNameError, UsageError
from reuse.menus import Named, arguments_for, choose, lookup, name_of, nearest, parse_named, parse_several, read_value

WORDS = st.text(string.ascii_letters + string.digits + "_.-", min_size=1, max_size=12)
NAMES = WORDS.filter(lambda word: isinstance(read_value(word), str))
NUMBERS = st.integers() | st.floats(allow_nan=False)
SINGLE = NUMBERS | st.booleans() | st.none() | NAMES
VALUES = SINGLE | st.lists(SINGLE, min_size=2, max_size=4).map(tuple)
NAMED = st.builds(Named, NAMES, st.lists(VALUES, max_size=4).map(tuple), st.dictionaries(NAMES, VALUES, max_size=4))
SPACES = st.sampled_from(["", " ", "  "])


@given(NAMED)
def test_text_and_what_it_says_are_two_forms_of_one_thing(named: Named) -> None:
    read = parse_named(str(named), "setting")
    assert read == named
    assert [*map(type, read.positions)] == [*map(type, named.positions)]  # 1 == 1.0 == True
    assert name_of(str(named)) == named.name


@given(st.lists(st.builds(Named, NAMES, st.lists(VALUES, max_size=1).map(tuple)), min_size=1, max_size=5))
def test_so_are_several_names(several: list[Named]) -> None:
    assume(len({named.name for named in several}) == len(several))
    assert parse_several(",".join(map(str, several)), "setting") == several


@given(NAMED, SPACES)
def test_spaces_around_separators_do_not_matter(named: Named, space: str) -> None:
    text = str(named)
    for separator in ":,=/":
        text = text.replace(separator, f"{space}{separator}{space}")
    assert parse_named(text, "setting") == named


@given(st.dictionaries(st.sampled_from("abc"), st.floats(allow_nan=False), max_size=3), st.integers(0, 3))
def test_a_function_gets_what_python_would_give_it(given_values: dict[str, float], by_position: int) -> None:
    """The first arguments are given by position, the others by key."""

    def function(a: float = 0.5, b: float = 1.5, c: float = 2.5) -> tuple[float, float, float]:
        return a, b, c

    first = [given_values[key] for key in sorted(given_values)][:by_position]
    rest = {key: given_values[key] for key in "abc"[len(first) :] if key in given_values}
    text = str(Named("name", tuple(first), rest))
    assert choose({"name": function}, text, "setting")() == function(*first, **rest)


def test_values_are_numbers_words_and_tuples_of_these() -> None:
    read = parse_named("name:1,1.0,1e-10,True,false,none,fan_avg,0.9/none,10steps,key=a/b", "setting")
    expected = (1, 1.0, 1e-10, True, False, None, "fan_avg", (0.9, None), "10steps")
    assert read.positions == expected
    assert [*map(type, read.positions)] == [*map(type, expected)]
    assert read.keywords == {"key": ("a", "b")}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty place"),
        (":1", "empty place"),
        ("name:", "empty place"),
        ("name:1,", "empty place"),
        ("name:1,,2", "empty place"),
        ("name:key=", "empty place"),
        ("name:=1", "empty place"),
        ("name:0.9/", "empty place"),
        ("name:key=1,key=2", "gives key twice"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_kind_of_message(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^setting {text!r} cannot be read: .*{said}"):
        parse_named(text, "setting")


@pytest.mark.parametrize(
    ("text", "said"), [("a:1,,b", "empty place"), ("", "empty place"), ("a,b,a:2", "names a twice")]
)
def test_so_are_several(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^setting {text!r} cannot be read: .*{said}"):
        parse_several(text, "setting")


def narrow(first: object, scale: float = 0.5, steps: int = 3, exact: bool = False) -> tuple[object, ...]:
    return first, scale, steps, exact


def wide(first: object, *numbers: float, last: float = 1.0) -> tuple[object, ...]:
    return first, numbers, last


MENU: dict[str, Callable[..., tuple[object, ...]]] = {"narrow": narrow, "wide": wide}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("narrow", (0, 0.5, 3, False)),
        ("narrow:2,exact=true", (0, 2.0, 3, True)),
        ("narrow:steps=7,2", (0, 2.0, 7, False)),
        ("wide:1,2,3,last=4", (0, (1, 2, 3), 4.0)),
    ],
)
def test_arguments_are_filled_in(text: str, expected: tuple[Any, ...]) -> None:
    found = choose(MENU, text, "setting", hidden=("first",))(0)
    assert found == expected
    assert type(found[1]) is type(expected[1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("narrow:1,2,true,4", "too many positional arguments; narrow takes scale, steps, exact"),
        ("narrow:1,scale=2", "scale.*; narrow takes scale, steps, exact"),
        ("narrow:scala=2", r"takes no 'scala' \(did you mean 'scale'\?\); narrow takes scale, steps, exact"),
        ("narrow:first=2", "takes no 'first'"),
        ("narrow:exact=1", "exact is 1; give true or false"),
    ],
)
def test_what_the_function_does_not_take_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=f"^setting {text!r}: .*{said}"):
        choose(MENU, text, "setting", hidden=("first",))


def test_what_needs_an_argument_says_so() -> None:
    def needy(number: int) -> int:
        return number

    with pytest.raises(UsageError, match=r"missing.*'number'; needy takes number"):
        arguments_for(needy, Named("needy"), "setting")
    assert inspect.signature(needy).bind(4).arguments == arguments_for(needy, Named("needy", (4,)), "setting")[1]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nesterof", "did you mean 'nesterov'"),
        ("Ada-Grad", "did you mean 'ada_grad'"),
        ("xyz", "choose one of ada_grad,"),
    ],
)
def test_an_unknown_name_gets_the_nearest_or_all_of_a_short_menu(name: str, said: str) -> None:
    with pytest.raises(UnknownNameError, match=f"^unknown optimizer {name!r}: {said}"):
        lookup({"nesterov": 1, "ada_grad": 2}, name, "optimizer")


def test_names_that_are_equally_near_come_in_their_own_order() -> None:
    layers = [f"hidden{number}" for number in (1, 2, 3, 4)]
    assert nearest("hidn", layers) == layers[:3]
    assert nearest("hidn3", layers) == ["hidden3", "hidden1", "hidden2"]
    assert nearest("hidden", []) == []


def test_a_long_menu_is_not_listed() -> None:
    with pytest.raises(UnknownNameError, match="none of the 26 known names is near it"):
        lookup(dict.fromkeys(string.ascii_lowercase), "?", "letter")
