"""Acts that are killed by SIGKILL at a chosen one of their lines, in a fork of this interpreter."""

from __future__ import annotations

import mmap
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

CHECKOUT = Path(__file__).resolve().parents[2]
_NEVER = 1 << 60
LIMIT = 60.0  # seconds of one act


def lines_of(act: Callable[[], object], environment: dict[str, str]) -> int:
    """How many lines of the package `migrate` the act runs through; it must succeed."""
    with mmap.mmap(-1, mmap.PAGESIZE) as told:  # no pipe: what the act leaves running would hold it
        pid = os.fork()
        if pid == 0:
            _be(act, environment, _NEVER, told)
        _, status = os.waitpid(pid, 0)
        assert status == 0, f"the act itself fails: {status}"
        return int.from_bytes(told[:8], "little")


def killed_at(line: int, act: Callable[[], object], environment: dict[str, str]) -> bool:
    """Run the act until it has run through `line` lines; whether it came that far."""
    pid = os.fork()
    if pid == 0:
        _be(act, environment, line, None)
    _, status = os.waitpid(pid, 0)
    assert status in {0, signal.SIGKILL}, f"it failed before it was killed: {status}"
    return status == signal.SIGKILL


def points(count: int, wanted: int) -> Iterator[int]:
    """`wanted` lines out of `count`, evenly, always the same; all where there are fewer."""
    step = max(count // wanted, 1)
    return iter(range(1, count + 1, step))


def _be(
    act: Callable[[], object], environment: dict[str, str], line: int, told: mmap.mmap | None
) -> NoReturn:
    """The act alone is killed, not what it forks: that dies in other tests."""
    status = 1
    own, passed = os.getpid(), 0

    def trace(frame: Any, event: str, _argument: Any) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.startswith(f"{CHECKOUT}/migrate/"):
            return None
        if event == "line" and os.getpid() == own:
            passed += 1
            if passed >= line:
                os.kill(own, signal.SIGKILL)
        return trace

    try:
        _leave_test(environment, quiet=told is None)
        sys.settrace(trace)
        act()
        status = 0
    except SystemExit as ended:
        status = int(ended.code or 0)
    except BaseException:  # noqa: BLE001
        import traceback

        traceback.print_exc()
    finally:
        sys.settrace(None)
        if told is not None and os.getpid() == own:
            told[:8] = passed.to_bytes(8, "little")
        os._exit(status)


def _leave_test(environment: dict[str, str], *, quiet: bool) -> None:
    os.setsid()
    os.closerange(3, 65536)  # whatever runs on would hold the tests' locks and pipes
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2) if quiet else (0, 1):
        os.dup2(null, number)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    signal.alarm(int(LIMIT))


def until(condition: Callable[[], bool], limit: float = 30.0) -> bool:
    """Whether it comes true within `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
