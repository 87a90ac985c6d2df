"""Acts that are killed by SIGKILL at a chosen one of their lines, in a fork of this interpreter."""

from __future__ import annotations

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
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be(act, environment, _NEVER, writer)
    os.close(writer)
    with os.fdopen(reader) as told:
        count = told.read()
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the act itself fails: {status}"
    return int(count)


def killed_at(line: int, act: Callable[[], object], environment: dict[str, str]) -> bool:
    """Run the act until it has run through `line` lines; whether it came that far."""
    pid = os.fork()
    if pid == 0:
        _be(act, environment, line, -1)
    _, status = os.waitpid(pid, 0)
    assert status in {0, signal.SIGKILL}, f"it failed before it was killed: {status}"
    return status == signal.SIGKILL


def points(count: int, wanted: int) -> Iterator[int]:
    """`wanted` lines out of `count`, evenly, always the same; all where there are fewer."""
    step = max(count // wanted, 1)
    return iter(range(1, count + 1, step))


def _be(act: Callable[[], object], environment: dict[str, str], line: int, told: int) -> NoReturn:
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
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2) if line != _NEVER else (0, 1):
            os.dup2(null, number)
        os.environ.clear()
        os.environ.update(environment)
        signal.alarm(int(LIMIT))
        sys.settrace(trace)
        act()
        sys.settrace(None)
        if told >= 0:
            os.write(told, str(passed).encode())
        status = 0
    except SystemExit as ended:
        sys.settrace(None)
        if told >= 0:
            os.write(told, str(passed).encode())
        status = int(ended.code or 0) if os.getpid() == own else 1
    except BaseException:  # noqa: BLE001
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def until(condition: Callable[[], bool], limit: float = 10.0) -> bool:
    """Whether it comes true within `limit` seconds."""
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
