"""Hooks: programs that get the container's state on stdin (config.md, "POSIX-platform Hooks")."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from migrate.oci.errors import HookFailed

KINDS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
_TOLD = 1000  # characters of a failed hook's output in the error


def run_hooks(spec: dict[str, Any], kind: str, state: dict[str, Any]) -> None:
    """Run all hooks of a kind in their order; raises HookFailed at the first that fails."""
    for entry in (spec.get("hooks") or {}).get(kind) or []:
        _run(kind, entry, json.dumps(state).encode())


def run_all(spec: dict[str, Any], kind: str, state: dict[str, Any]) -> list[HookFailed]:
    """Run all whatever becomes of each, as poststart and poststop want it; what failed."""
    failed = []
    for entry in (spec.get("hooks") or {}).get(kind) or []:
        try:
            _run(kind, entry, json.dumps(state).encode())
        except HookFailed as error:
            failed.append(error)
    return failed


def _environment(entry: dict[str, Any]) -> dict[str, str] | None:
    """What `env` says; without that the hook has our own, as with runc and crun."""
    if entry.get("env") is None:
        return None
    return dict(e.split("=", 1) for e in entry["env"] if "=" in e)


def _run(kind: str, entry: dict[str, Any], state: bytes) -> None:
    path = str(entry["path"])
    timeout = entry.get("timeout")
    with os.fdopen(os.memfd_create("hook"), "w+b") as output:
        try:
            done = subprocess.run(
                entry.get("args") or [path], executable=path, input=state, stdout=output,
                stderr=output, timeout=timeout, check=False,
                env=_environment(entry),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise HookFailed(
                f"the {kind} hook {path} took longer than {timeout} s", cause="it was killed",
                mend="mend the hook, or give it a longer timeout",
            ) from None  # fmt: skip
        except OSError as error:
            raise HookFailed(
                f"the {kind} hook {path} can't be executed", cause=str(error)
            ) from None
        if done.returncode != 0:
            output.seek(0)
            told = output.read(_TOLD).decode(errors="replace").strip()
            raise HookFailed(
                f"the {kind} hook {path} failed with status {done.returncode}", cause=told,
                mend="mend the hook; it gets the container's state on its standard input",
            )  # fmt: skip
