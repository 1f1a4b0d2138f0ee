"""When this command began: the seconds that it says it took count from there, imports and all."""

import os
import time
from pathlib import Path

COLD_SECONDS = 1.0  # for which a Python that starts may wait for a disk


def command_start() -> float:
    """Return when this program began, in seconds of `time.perf_counter`.

    A shell becomes the last command that it runs, so that the process can be older than the program in it. A shell has
    mostly waited, for other processes or for input; a program that starts computes, or waits for a processor.
    """
    age, busy = _process_age(), time.process_time() + _seconds_in_queues()
    was_a_shell = _has_waited_for_processes() or age - busy > COLD_SECONDS
    return time.perf_counter() - (min(busy, age) if was_a_shell else age)


def _process_age() -> float:
    """Return for how long this process has existed, in seconds; endless where the system does not say it."""
    try:
        ticks = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()[19]
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(ticks) / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, ValueError, IndexError):
        return float("inf")


def _seconds_in_queues() -> float:
    """Return for how long this process could have run while the processors were others', where the system says it."""
    try:
        return int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


def _has_waited_for_processes() -> bool:
    """Return whether another process has ended that this one had started, before a line of ours ran."""
    try:
        import resource  # which Windows does not have
    except ImportError:
        return False
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_maxrss > 0 or children.ru_minflt > 0
