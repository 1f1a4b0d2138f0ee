"""Names that code reads: which attributes may reach its result, and which are only kept, such as a counter.

Bytecode is read statement by statement. What a statement loads is read, unless it only serves to keep something:
`self.calls += 1`, `self.last = x.detach()`, `self.sizes.append(len(x))`. Then it is read if what is kept is. In doubt
everything is read: where names are computed, or the object itself is handed on.
"""

import dis
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from types import CodeType

LOADS = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"})
VARIABLES = frozenset({"LOAD_FAST", "LOAD_DEREF", "LOAD_FAST_BORROW", "LOAD_FAST_CHECK"})
ON_ITSELF = LOADS | {"STORE_ATTR", "DELETE_ATTR", "COPY"}
CALLS = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX"})
ENDS_OF_ARGUMENTS = CALLS | {"PRECALL"}
CALLED = 2  # values that a call takes beside its arguments: a function with its object or with nothing
PUSHES = VARIABLES | {"LOAD_CONST", "LOAD_GLOBAL", "LOAD_NAME", "PUSH_NULL", "LOAD_SMALL_INT"}
PUSHES |= {"LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"}
EFFECTS = frozenset({"IMPORT_NAME", "YIELD_VALUE", "SEND", "STORE_GLOBAL", "STORE_DEREF", "STORE_FAST", "STORE_NAME"})
IN_PLACE = 13  # the first number of an operator such as `+=`
# What looks up names that the code does not spell out.
DYNAMIC = frozenset(
    {"vars", "__dict__", "eval", "exec", "locals", "globals", "dir", "attrgetter", "__getattribute__", "getmembers",
     "buffers", "named_buffers", "_buffers", "state_dict", "deepcopy", "dumps"}
)  # fmt: skip
MATCHED = "__match_args__"  # names of attributes, by place
ANYTHING = "…"  # stands behind the beginning of names that are made up, such as `layer` and a number
GETTERS = frozenset({"getattr", "hasattr"})
NAMED_GETTERS = frozenset({"get_buffer", "__getattr__", "getattr", "getattr_static"})  # as attributes of something
KEEPING = frozenset({"append", "appendleft", "extend", "add", "insert", "update", "clear", "discard", "remove"})
# Functions and methods that change nothing but an iterator, by which what is kept is computed.
HARMLESS = frozenset(
    {"next", "time", "time_ns", "perf_counter", "perf_counter_ns", "monotonic", "process_time", "now", "len", "float",
     "int", "str", "bool", "round", "detach", "clone", "cpu", "item", "tolist", "mean", "std", "var", "sum", "max",
     "min", "abs", "norm", "size", "dim", "numel"}
)  # fmt: skip


@dataclass(frozen=True)
class Reads:
    """Names that a code object and those nested in it look up.

    Attributes:
        names: that may reach what it returns; beginnings of such names end in `ANYTHING`.
        kept: pairs of a name that is only kept and a name that is read for it.
        changed: names whose values are changed in place to keep something.
        assigned: names that are given another value.
        dynamic: whether it may look up any other name.
    """

    names: frozenset[str]
    kept: frozenset[tuple[str, str]]
    changed: frozenset[str]
    assigned: frozenset[str]
    dynamic: bool


@cache
def reads_of(code: CodeType, receiver: str | None = None) -> Reads:
    """Return what a code object reads.

    Args:
        code: of a function.
        receiver: the variable that holds the object whose method it is; None: it is no method.
    """
    names, kept, changed, assigned = set(_spelt(code)), set[tuple[str, str]](), set[str](), set[str]()
    looked_up = list(_names_made_up(code))
    names.update(beginning + ANYTHING for beginning in looked_up if beginning)
    dynamic = not DYNAMIC.isdisjoint(code.co_names) or "" in looked_up or _escapes(code, receiver)
    for statement, whole in statements(code):
        loaded = {str(step.argval) for step in statement if step.opname in LOADS}
        target = _kept_by(statement) if whole else None
        in_place = target is not None and (statement[-1].opname != "STORE_ATTR" or any(map(_is_in_place, statement)))
        assigned |= {str(step.argval) for step in statement if step.opname == "STORE_ATTR" and not in_place}
        if target is None or not _is_harmless(statement):
            names |= loaded
            continue
        kept |= {(target, name) for name in loaded}
        if in_place:
            changed.add(target)
    for nested in filter(lambda constant: isinstance(constant, CodeType), code.co_consts):
        inner = reads_of(nested, receiver if receiver in nested.co_freevars else None)
        names |= inner.names
        kept |= inner.kept
        changed |= inner.changed
        assigned |= inner.assigned
        dynamic = dynamic or inner.dynamic
    return Reads(frozenset(names), frozenset(kept), frozenset(changed), frozenset(assigned), dynamic)


def is_read(name: str, names: frozenset[str]) -> bool:
    """Return whether a name is among those that are read, or begins as one that is made up."""
    return name in names or name.startswith(_beginnings(names))


@cache
def _beginnings(names: frozenset[str]) -> tuple[str, ...]:
    return tuple(name.removesuffix(ANYTHING) for name in names if name.endswith(ANYTHING))


def closed(names: frozenset[str], kept: frozenset[tuple[str, str]]) -> frozenset[str]:
    """Return names with those that are read to keep one of them."""
    found = names
    while more := {name for target, name in kept if is_read(target, found)} - found:
        found |= more
    return found


def statements(code: CodeType) -> Iterator[tuple[list[dis.Instruction], bool]]:
    """Yield stretches of code that leave the stack as it was, and whether each is a whole statement without a jump."""
    statement, depth, lowest = list[dis.Instruction](), 0, 0
    for step in _steps(code):
        if step.is_jump_target and statement:
            yield statement, False
            statement, depth, lowest = [], 0, 0
        statement.append(step)
        depth += dis.stack_effect(step.opcode, step.arg)
        lowest = min(lowest, depth)
        if depth <= 0:
            yield statement, lowest == 0 and not any("JUMP" in step.opname for step in statement)
            statement, depth, lowest = [], 0, 0
    if statement:
        yield statement, False


@cache
def _steps(code: CodeType) -> tuple[dis.Instruction, ...]:
    return tuple(step for step in dis.get_instructions(code) if step.opname not in {"EXTENDED_ARG", "NOP", "CACHE"})


def _kept_by(statement: list[dis.Instruction]) -> str | None:
    """Return the attribute that a statement keeps something in, None where it does something else."""
    operations = [step.opname for step in statement]
    if operations[-1] == "STORE_ATTR":
        return str(statement[-1].argval)
    if operations[-1] == "STORE_SUBSCR":  # `self.counts[key] = value`, or `+=`
        if "COPY" in operations:
            return _container(statement[: operations.index("COPY")], 1)
        return _container(statement[:-1], 2)
    if operations[-1] == "POP_TOP" and len(statement) > 3 and operations[1] in LOADS and operations[2] in LOADS:
        return str(statement[1].argval) if statement[2].argval in KEEPING else None
    return None


def _container(steps: list[dis.Instruction], depth: int) -> str | None:
    """Return the attribute that is loaded at a depth of the stack, and stays there while a key is computed."""
    depths, now = [], 0
    for step in steps:
        now += dis.stack_effect(step.opcode, step.arg)
        depths.append(now)
    for place in range(1, len(steps)):
        if steps[place].opname in LOADS and depths[place] == depth and min(depths[place + 1 :], default=0) > depth:
            return str(steps[place].argval)
    return None


def _is_harmless(statement: list[dis.Instruction]) -> bool:
    """Whether all that a statement calls is known to change nothing but what it keeps."""
    if any(step.opname in EFFECTS for step in statement):
        return False
    called = [step.argval for step in statement if _is_called(step)]
    calls = sum(step.opname in CALLS for step in statement)
    return calls == len(called) and all(name in HARMLESS or name in KEEPING for name in called)


def _is_called(step: dis.Instruction) -> bool:
    """Whether an instruction loads what will be called."""
    if step.opname == "LOAD_METHOD":
        return True
    return step.opname in {"LOAD_GLOBAL", "LOAD_ATTR"} and "NULL" in step.argrepr


def _is_in_place(step: dis.Instruction) -> bool:
    return step.opname == "BINARY_OP" and step.arg is not None and step.arg >= IN_PLACE


def _spelt(code: CodeType) -> Iterator[str]:
    """Yield the names that constants spell out: `getattr(x, "scale")`, `f(x, scale=2)`; and `case Point(x, y)`."""
    if any(step.opname == "MATCH_CLASS" for step in _steps(code)):
        yield MATCHED
    for constant in code.co_consts:
        for text in constant if isinstance(constant, tuple | frozenset) else (constant,):
            if isinstance(text, str):
                yield from (part for part in text.split(".") if part.isidentifier())


def _names_made_up(code: CodeType) -> Iterator[str]:
    """Yield how a name begins that is no constant and looked up by `getattr` or a method like it; "": in any way."""
    steps = _steps(code)
    for place, step in enumerate(steps):
        following = steps[place + 1 :]
        if step.opname in {"LOAD_GLOBAL", "LOAD_NAME"} and step.argval in GETTERS:
            given = next((n for n, s in enumerate(following) if not _is_path(s)), len(following))
            following = following[given:]
        elif step.opname not in LOADS or step.argval not in NAMED_GETTERS:
            continue
        beginning = _beginning(following)
        if beginning is not None:
            yield beginning


def _is_path(step: dis.Instruction) -> bool:
    return step.opname in LOADS | VARIABLES | {"LOAD_GLOBAL", "PUSH_NULL"}


def _beginning(steps: Sequence[dis.Instruction]) -> str | None:
    """Return how the text begins that an argument is, "" where that is not known; None where it is a constant.

    Args:
        steps: that begin with those that compute it.
    """
    if not steps or steps[0].opname != "LOAD_CONST" or not isinstance(steps[0].argval, str):
        return ""
    above, is_whole = 0, True  # values that lie on the text, and whether it is the constant still
    for before, step in pairwise(steps):
        if step.opname in ENDS_OF_ARGUMENTS and before.opname != "PRECALL" and above < (step.arg or 0) + CALLED:
            return None if is_whole else steps[0].argval.partition("%")[0]
        change = dis.stack_effect(step.opcode, step.arg)
        takes = 0 if step.opname in PUSHES else 1  # at least, of which something else is made
        if "JUMP" in step.opname:
            return ""
        if min(above, above + change) < takes:
            if not _appends(step, above):
                return ""
            is_whole = False
        above += change
    return ""


def _appends(step: dis.Instruction, above: int) -> bool:
    """Whether an instruction makes a text that begins as the one does that some values lie on."""
    if step.opname == "BUILD_STRING":
        return step.arg == above + 1
    return step.opname == "BINARY_OP" and step.argrepr in {"+", "%"} and above == 1


def _escapes(code: CodeType, receiver: str | None) -> bool:
    """Whether the object whose method the code is goes anywhere else than to its own attributes."""
    steps = _steps(code)
    for before, step, after in zip((None, *steps), steps, (*steps[1:], None), strict=False):
        if step.opname.startswith("LOAD_FAST") and isinstance(step.argval, tuple) and receiver in step.argval[:-1]:
            return True
        loads = step.opname in VARIABLES and step.argval == receiver
        asked = before is not None and before.argval in GETTERS and after is not None and after.opname == "LOAD_CONST"
        if loads and not asked and (after is None or after.opname not in ON_ITSELF):
            return True
    return False
