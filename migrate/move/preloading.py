"""Modules that a move needs later, loaded while it waits for the target.

They take some 0.3 s of a processor together. What is loaded between the last round and the freeze
costs more than time: the container goes on writing, and all of that travels in the pause.
"""

from __future__ import annotations

import contextlib
import importlib
import threading

_LATER = ("numpy", "migrate.kernel.pagemap", "pycriu.rpc_pb2")


def begin() -> None:
    """Load them in a thread. Who imports one meanwhile waits for it, and learns of a failure."""
    with contextlib.suppress(RuntimeError):  # no thread: they are loaded when they are needed
        threading.Thread(target=_load, name="preloading", daemon=True).start()


def _load() -> None:
    for name in _LATER:
        with contextlib.suppress(Exception):
            importlib.import_module(name)
