"""A disk on which the power can fail: records what the cache does to it, and lays out what would be left.

Strict on purpose: what was written is only sure after the file was synced, a name only after its folder was. What is
not sure may be there or not; the four ways below are the corners of that.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from reuse.caching import files

WAYS = ("everything kept", "everything unsynced lost", "names kept, content zeroed", "names lost, content kept")


@dataclass
class Node:
    """A file or folder: what a reader sees now, and what is surely on the disk."""

    is_folder: bool
    now: bytearray = field(default_factory=bytearray)
    sure: bytes = b""
    names: dict[str, "Node"] = field(default_factory=dict)
    sure_names: dict[str, "Node"] = field(default_factory=dict)


class Disk:
    """The recorded operations on `root`, replayed from the contents that the folder had at the start."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.operations: list[tuple[str, tuple[object, ...]]] = []
        self._start = {path: path.read_bytes() if path.is_file() else None for path in sorted(root.rglob("*"))}

    def record(self, patch: pytest.MonkeyPatch) -> None:
        for name in (
            "make_folder",
            "create",
            "write_at",
            "append",
            "fsync",
            "fsync_folder",
            "rename",
            "remove",
            "touch",
        ):
            patch.setattr(files, name, self._recorder(name, getattr(files, name)))
        patch.setattr(files, "allocate", lambda path: None)

    def after(self, count: int, way: str, target: Path) -> None:
        """Lay out in the empty folder `target` what is left when the power fails after `count` operations."""
        top = Node(is_folder=True)
        for path, content in self._start.items():
            node = Node(is_folder=content is None, now=bytearray(content or b""), sure=content or b"")
            for names in (self._folder(top, path).names, self._folder(top, path).sure_names):
                names[path.name] = node
        for name, arguments in self.operations[:count]:
            self._apply(top, name, arguments)
        _lay_out(top, way, target)

    def _recorder(self, name: str, real: Callable[..., None]) -> Callable[..., None]:
        def operation(path: Path, *rest: object) -> None:
            if name in {"write_at", "append"}:
                rest = (bytes(rest[0]), *rest[1:])
            if name not in {"fsync", "fsync_folder"}:  # waiting for the real disk shows nothing here
                real(path, *rest)
            if name == "create":
                rest = (path.read_bytes(),)
            self.operations.append((name, (path, *rest)))

        return operation

    def _folder(self, top: Node, path: Path) -> Node:
        node = top
        for part in path.relative_to(self.root).parts[:-1]:
            node = node.names[part]
        return node

    def _apply(self, top: Node, name: str, arguments: tuple[object, ...]) -> None:
        path, *rest = arguments
        if path == self.root:
            return  # the root holds prefixes only, whose names are taken as sure
        folder = self._folder(top, path)
        if name in {"write_at", "append", "fsync", "fsync_folder"}:
            _change_node(folder.names[path.name], name, rest)
        elif name == "rename":
            self._folder(top, rest[0]).names[rest[0].name] = folder.names.pop(path.name)
        else:
            _change_names(folder.names, name, path.name, rest)
            if path.parent == self.root:
                top.sure_names = dict(top.names)


def _change_node(node: Node, operation: str, rest: list[object]) -> None:
    match operation:
        case "write_at":
            data, offset = rest
            node.now[offset : offset + len(data)] = data
        case "append":
            node.now += rest[0]
        case "fsync":
            node.sure = bytes(node.now)
        case "fsync_folder":
            node.sure_names = dict(node.names)


def _change_names(names: dict[str, Node], operation: str, name: str, rest: list[object]) -> None:
    match operation:
        case "make_folder":
            names.setdefault(name, Node(is_folder=True))
        case "create":
            names[name] = Node(is_folder=False, now=bytearray(rest[0]))
        case "touch":
            names.setdefault(name, Node(is_folder=False))
        case "remove":
            names.pop(name, None)


def _lay_out(node: Node, way: str, target: Path) -> None:
    for name, child in (node.names if way in (WAYS[0], WAYS[2]) else node.sure_names).items():
        if child.is_folder:
            (target / name).mkdir()
            _lay_out(child, way, target / name)
        elif way in (WAYS[0], WAYS[3]):
            (target / name).write_bytes(child.now)
        else:
            length = len(child.now) if way == WAYS[2] else len(child.sure)
            (target / name).write_bytes(child.sure[:length].ljust(length, b"\0"))
