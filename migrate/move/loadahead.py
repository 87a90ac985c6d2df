"""Modules that a move needs later, loaded while one side waits for the other.

They take some 0.3 s of a processor on each side. What is loaded between the last round and the
freeze costs more than time: the container goes on writing, and all of that travels in the pause.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Sequence

AT_SOURCE = ("numpy", "migrate.kernel.pagemap", "pycriu.rpc_pb2")
AT_TARGET = ("pyroute2", "pycriu.rpc_pb2")


def load_ahead(names: Sequence[str]) -> Callable[[], None]:
    """Load them in a thread; what is returned waits for its end.

    It is called before this process forks: a fork of one with threads that hold a lock may hang.
    A module that can't be loaded is no matter here: who needs it learns why.
    """
    thread = threading.Thread(target=_load, args=(names,), name="load-ahead", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # no memory for a thread
        return lambda: None
    return thread.join


def _load(names: Sequence[str]) -> None:
    for name in names:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
