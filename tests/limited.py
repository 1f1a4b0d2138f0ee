"""Commands in one process of their own that may take only so much memory and time, and what each of them answered."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HEADROOM = 2**30  # bytes of address space beside what the process has when torch is imported
SECONDS = 60  # that one command may take
MOUNTING = ("unshare", "--map-root-user", "--mount")  # runs what follows where it may mount


@dataclass(frozen=True)
class Answer:
    """What a command left.

    Attributes:
        code: its exit code; None where it ended in a traceback.
        out: its standard output.
        err: its standard error, or the traceback.
    """

    code: int | None
    out: str
    err: str

    def refusal(self, *words: str) -> str:
        """Assert one clear line that holds `words`, exit code 2 and no standard output, and return the line."""
        assert self.code == 2, self.err
        assert not self.out
        lines = self.err.splitlines()
        assert [line for line in lines if line.startswith("error: ")] == lines[-1:], self.err
        assert lines[-1].isprintable(), lines[-1]
        for word in words:
            assert word in lines[-1]
        return lines[-1]


def may_mount() -> bool:
    """Return whether a process may mount in a namespace of its own, as on most Linux machines."""
    if shutil.which(MOUNTING[0]) is None:
        return False
    tried = subprocess.run([*MOUNTING, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    return tried.returncode == 0


def answers(
    commands: Sequence[Sequence[object]],
    folder: Path,
    headroom: int = HEADROOM,
    largest_file: int | None = None,
    inside: Sequence[str] = (),
) -> list[Answer]:
    """Return what each command answers, all of them in one limited process, one after the other.

    Args:
        commands: arguments of `reuse`.
        folder: where they are run.
        headroom: bytes of address space beside what the process has when torch is imported.
        largest_file: bytes that a file may get; None: as many as the disk has.
        inside: a command that runs the one behind it, such as `unshare`.
    """
    parts = [[str(part) for part in one] for one in commands]
    told = json.dumps({"commands": parts, "headroom": headroom, "largest_file": largest_file})
    done = subprocess.run(
        [*inside, sys.executable, __file__],
        input=told,
        cwd=folder,
        env={**os.environ, "MALLOC_ARENA_MAX": "1"},  # each thread's heap reserves 64 MB of addresses, used or not
        capture_output=True,
        text=True,
        check=False,
    )
    found = [Answer(**json.loads(line)) for line in done.stdout.splitlines()]
    assert len(found) == len(commands), f"{commands[len(found)]} ended the process ({done.returncode}): {done.stderr}"
    return found


def _limit_memory(headroom: int) -> None:
    import resource

    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    most = 1024 * int(fields["VmSize"].split()[0]) + headroom
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _too_long(*_: object) -> None:
    raise TimeoutError(f"the command took more than {SECONDS} s")


def answer(command: list[str]) -> dict[str, Any]:
    """Return what a command answers in this process: the fields of an `Answer`."""
    from reuse.cli.main import main

    out, err, code = io.StringIO(), io.StringIO(), None
    try:
        signal.alarm(SECONDS)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main(command)
    except SystemExit as leaving:
        code = leaving.code
    except BaseException:  # noqa: BLE001 - whatever it is, it is not what a user should see
        err.write(traceback.format_exc())
    finally:
        signal.alarm(0)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def _serve() -> None:
    import pyarrow
    import torch

    from reuse.finetuning import finetune  # noqa: F401 - what all commands import is no part of what they may take
    from reuse.pretraining import pretrain  # noqa: F401

    torch.set_num_threads(1)
    pyarrow.array(["text"] * 1000).cast(pyarrow.large_string())  # its allocator reserves a gigabyte of addresses
    signal.signal(signal.SIGALRM, _too_long)
    told, answering = json.load(sys.stdin), os.fdopen(os.dup(1), "w")
    _limit_memory(told["headroom"])
    if told["largest_file"] is not None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (told["largest_file"],) * 2)
    for command in told["commands"]:
        answering.write(json.dumps(answer(command)) + "\n")
        answering.flush()


if __name__ == "__main__":
    _serve()
