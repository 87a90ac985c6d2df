"""A page server whose first process kills itself at the n-th line of what deals with CRIU's words.

The request's option `die_at` is n; where it is larger than there are lines, nothing is killed.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType
from typing import Any

from migrate.criu.lazypages import server
from migrate.criu.lazypages.connection import Connection
from migrate.criu.lazypages.journal import Journal

WATCHED = {
    function.__code__
    for function in (
        server.Server._on_criu, server.Server._add, server.Server._on_finished,
        Connection.receive, Connection._receive_word, Connection.done, Connection._hang_up,
        Journal.append, Journal.finish,
    )
}  # fmt: skip


def serve(launch: dict[str, Any], restarts: int) -> int:
    """As the real one does."""
    left = launch["die_at"]

    def at_line(_frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal left
        if event == "line":
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return at_line

    if restarts == 0:
        sys.settrace(lambda frame, *_: at_line if frame.f_code in WATCHED else None)
    return server.serve(launch, restarts)
