"""A Restorer that can't start leaves nothing open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from migrate.checkpoint import restore
from migrate.checkpoint.restore import Restorer
from migrate.checkpoint.state import State
from migrate.criu.errors import CriuDied
from migrate.runtime.errors import MonitorFailed
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record

pytestmark = pytest.mark.criu
NO_PID = 1 << 22  # PID_MAX_LIMIT


@pytest.fixture
def restorer(tmp_path: Path) -> Restorer:
    """One that is about to ask its monitor for CRIU."""
    record = Record("abc", "abc", 0.0)
    made = Restorer.__new__(Restorer)
    made._paths = Paths(tmp_path, tmp_path)
    made._own = made._paths.container(record.identifier)
    made._state = State(record, {}, {}, ())
    made._netns = True
    made._own.netns.parent.mkdir()
    made._own.netns.touch()
    return made


def _opened() -> set[str]:
    """Fewer later on: what an earlier test has left is collected at any time."""
    return set(os.listdir("/proc/self/fd"))


def test_a_monitor_that_is_not_there(restorer: Restorer):
    before = _opened()
    with pytest.raises(MonitorFailed) as raised:
        restorer._start_criu()
    assert _opened() <= before  # while the error, and so the frame that raised it, is held
    assert raised.value.code == MonitorFailed.code


def test_a_criu_that_died_at_once(restorer: Restorer, monkeypatch: pytest.MonkeyPatch):
    def answer(*_words: Any) -> dict[str, Any]:
        return {"descriptors": [10, 11], "pid": NO_PID}

    monkeypatch.setattr(restore, "ask", answer)
    before = _opened()
    with pytest.raises(CriuDied) as raised:
        restorer._start_criu()
    assert _opened() <= before
    assert raised.value.code == CriuDied.code
