"""Modules are loaded beside, in a process of their own; one that is missing harms nobody."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys, threading
from migrate.move import preloading
assert "numpy" not in sys.modules
preloading._LATER = ("no_such_module", *preloading._LATER)
preloading.begin()
for thread in threading.enumerate():
    if thread.name == "preloading":
        thread.join()
print("numpy" in sys.modules, "pycriu.rpc_pb2" in sys.modules)
"""


def test_what_is_needed_later_is_there() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True True\n", done.stderr
