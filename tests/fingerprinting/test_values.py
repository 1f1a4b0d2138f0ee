"""Equal values have one description, different values different ones, whatever they are."""

import collections
import copy
import enum
import functools
import logging
import operator
import pathlib
import re
import threading
import types
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reuse.errors import CacheError
from reuse.fingerprinting.modules import describe_module
from reuse.fingerprinting.values import Description


@dataclass
class Settings:
    slope: float
    inner: object = None


class Slotted:
    __slots__ = ("size",)

    def __init__(self, size):
        self.size = size


class Kind(enum.Enum):
    ONE = 1
    TWO = 2


def outer(factor):
    return lambda x: x * factor


def first(x):
    return x + 1


def second(x):
    return x - 1


@functools.lru_cache
def remembered(x):
    return x


@torch.no_grad()
def wrapped(x):
    return first(x)


@torch.no_grad()
def wrapped_too(x):
    return second(x)


# Built anew by each call, so that nothing is the same by being the same object.
VALUES = {
    "none": lambda: [None, False, 0, 0.0, -0.0, 1, True, 1.0, "1", b"1", 1j, ..., float("nan"), ""],
    "containers": lambda: [[1, 2], (1, 2), [2, 1], {1, 2}, {1: 2}, [[1], 2], [1, [2]], [], (), {}],
    "dicts": lambda: [{"a": 1, "b": 2}, {"b": 2, "a": 1}, collections.OrderedDict(a=1), collections.Counter("aab")],
    "torch": lambda: [
        torch.float32,
        torch.float16,
        torch.Size([2]),
        torch.channels_last,
        torch.device("cpu"),
        torch.strided,
    ],
    "tensors": lambda: [
        torch.zeros(2, 3),
        torch.zeros(3, 2),
        torch.zeros(6),
        -torch.zeros(6),
        torch.zeros(6, dtype=torch.float64),
        torch.zeros(6, dtype=torch.bfloat16),
        torch.zeros(6, dtype=torch.bool),
        torch.zeros(6, dtype=torch.complex64),
        torch.zeros(()),
        torch.zeros(0),
    ],
    "arrays": lambda: [
        np.zeros(3),
        np.zeros(3, np.float32),
        np.ones(3),
        np.zeros((1, 3)),
        np.float64(0),
        np.dtype("f4"),
    ],
    "objects": lambda: [Settings(0.1), Settings(0.2), Settings(0.1, [1]), Slotted(1), Slotted(2), Kind.ONE, Kind.TWO],
    "compiled": lambda: [
        operator.itemgetter(1),
        operator.itemgetter(2),
        Fraction(1, 3),
        Fraction(2, 3),
        range(3),
        slice(3),
    ],
    "functions": lambda: [first, second, outer(1), outer(2), lambda x: x, lambda x: x + 1, len, max, remembered],
    "decorated": lambda: [wrapped, wrapped_too],
    "torch functions": lambda: [
        torch.relu,
        torch.tanh,
        nn.functional.relu,
        torch.Tensor.add,
        torch.Tensor.mul,
        operator.add,
    ],
    "operators": lambda: [
        torch.ops.aten.relu.default,
        torch.ops.aten.tanh.default,
        torch.ops.aten.relu,
        np.add,
        np.multiply,
    ],
    "bound": lambda: [Fraction(1, 2).limit_denominator, Fraction(1, 3).limit_denominator, [1].index, [2].index],
    "partials": lambda: [functools.partial(first, 1), functools.partial(first, 2), functools.partial(first, x=1)],
    "classes": lambda: [
        Settings,
        Slotted,
        int,
        nn.Linear,
        list[int],
        type("Made", (), {"a": 1}),
        type("Made", (), {"a": 2}),
    ],
    "modules": lambda: [nn.LeakyReLU(0.1), nn.LeakyReLU(0.2), nn.ReLU(), nn.ReLU().eval(), nn.Sequential(nn.ReLU())],
    "names": lambda: [
        logging.getLogger("a"),
        logging.getLogger("b"),
        pathlib.PurePosixPath("a"),
        re.compile("a"),
        re.compile("a", re.I),
    ],
    "spaces": lambda: [types.SimpleNamespace(a=1), types.SimpleNamespace(a=2), types.MappingProxyType({"a": 1})],
    "long": lambda: ["x" * 500, "x" * 501, list(range(200)), [*range(199), 0]],
}


def describe(value):
    description = Description(describe_module)
    text = description.text(value)
    return text, tuple(sorted(description.code().items()))


@pytest.mark.parametrize("kind", VALUES)
def test_values_are_told_apart_and_equal_ones_are_not(kind):
    described = [describe(value) for value in VALUES[kind]()]
    assert len(set(described)) == len(described)
    assert described == [describe(value) for value in VALUES[kind]()]
    assert not any(re.search("0x[0-9a-f]{5}", text) for text, _ in described)
    assert max(len(text) for text, _ in described) < 400


@given(
    st.recursive(
        st.integers() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4),
        max_leaves=20,
    )
)
def test_nested_values_are_described_by_content_alone(value):
    assert describe(value) == describe(copy.deepcopy(value))
    assert describe([value]) != describe([[value]])


def test_sets_are_described_in_an_order_of_their_own():
    assert describe({"a", "b", "c"}) == describe(set("cba"))
    assert describe({"a": {1}, "b": {(2, 3)}})[0] == "{'a': set {1}, 'b': set {(2, 3)}}"


def test_cycles_end():
    loop = [1]
    loop.append(loop)
    other = [1]
    other.append(other)
    assert describe(loop) == describe(other)
    settings = Settings(0.1)
    settings.inner = settings
    assert describe(settings) != describe(Settings(0.1))


def test_a_lock_or_generator_is_described_by_its_class():
    assert describe(threading.Lock()) == describe(threading.Lock())
    generator = torch.Generator()
    before = describe(generator)
    torch.rand(1, generator=generator)
    assert describe(generator) == before


def test_tensors_are_described_by_their_values_not_their_strides():
    values = torch.arange(12.0).reshape(3, 4)
    assert describe(values) == describe(values.t().contiguous().t())
    assert describe(values) == describe(values.clone().requires_grad_())
    assert describe(values[:, ::2]) == describe(values[:, ::2].clone())
    assert describe(torch.tensor([1 + 2j]).conj()) == describe(torch.tensor([1 - 2j]))


@pytest.mark.parametrize("tensor", [torch.empty(2, device="meta"), torch.eye(2).to_sparse()], ids=["meta", "sparse"])
def test_tensors_without_plain_values_are_refused(tensor):
    with pytest.raises(CacheError, match="cannot be part of a cache key"):
        describe(tensor)
