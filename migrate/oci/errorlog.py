"""The log of `--log`: a line an error, as runc's (logrus) writes them for engines to read."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any


def log(path: str, form: str, level: str, message: str) -> None:
    """Append one entry to `path`; a log that can't be written is passed over."""
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    if form == "json":
        line = json.dumps({"level": level, "msg": message, "time": now})
    else:
        line = f'time="{now}" level={level} msg={json.dumps(message)}'
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        descriptor = os.open(path, flags, 0o644)
        try:
            os.write(descriptor, line.encode() + b"\n")
        finally:
            os.close(descriptor)


def warn_of_capabilities(settings: dict[str, Any], names: list[str]) -> None:
    """Of those that the specification asks for in vain."""
    if names:
        warn(settings, f"ignoring unknown or unavailable capabilities: {', '.join(names)}")


def warn(settings: dict[str, Any], text: str) -> None:
    """A warning on stderr, and in --log."""
    sys.stderr.write(f"migrate-oci: warning: {text}\n")
    if settings["log"]:
        log(settings["log"], settings["log_format"], "warning", text)
