"""Installing migrate and CRIU at another host, over one SSH connection and from what is here."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

import migrate
from migrate.move import bundle, farside
from migrate.move.doctor import Finding, from_json
from migrate.move.errors import HostPythonUnfit, HostSetupFailed
from migrate.runtime.paths import Paths
from migrate.transfer.remote import INSTALLED_COMMAND, MISSING_STATUS, migrate_command_line
from migrate.transfer.ssh import Connection
from migrate.transfer.ssh_errors import agent_missing

FINAL = Path(INSTALLED_COMMAND).parents[1]
SEND_LIMIT = 3600.0
"""Seconds for sending and unpacking."""
DOCTOR_LIMIT = 120.0
_NO_PYTHON = 91
_PYTHONS = ("python3", "/usr/bin/python3", "/usr/local/bin/python3", "python3.13", "python3.12",
            "python3.11")  # fmt: skip
# As in transfer.remote: no '!' and no newline, for csh's sake.
_FIND_PYTHON = (
    'for c in "$@"; do p=$(command -v "$c" 2>/dev/null) && '
    '"$p" -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null && '
    'exec "$p" -I -c "$LOADER"; done; python3 --version >&2; exit {}'
)

Report = Callable[[str], None]


class Far(msgspec.Struct, frozen=True):
    """The other host as `farside.look` describes it."""

    uid: int
    machine: str
    python: tuple[int, int]
    executable: str
    free: int
    digest: str
    taken: bool


@dataclass(frozen=True)
class Outcome:
    """What was done, and what the doctor says there."""

    target: str
    path: str
    version: str
    python: str
    sent: int
    """Bytes; 0 when the same was there already."""
    findings: list[Finding]


def set_up(connection: Connection, paths: Paths, report: Report, *, force: bool = False) -> Outcome:
    """Install what is here at the far end of `connection`, unless the same is there already.

    The old installation stays whole until the new one has been tried there. Raises
    HostSetupFailed, HostPythonUnfit, CriuMissing, ConnectionLost.
    """
    target = str(connection.target)
    far = look(connection)
    _refuse(target, far)
    python = ".".join(map(str, far.python))
    report(f"{target}: Python {python}, {far.machine}")
    made = bundle.assemble(far.python, far.machine, paths.state / "wheels")
    sent = 0
    if far.digest == made.digest and not force:
        report("the same is installed there already")
    else:
        sent = _send(connection, far, made, report)
    if made.criu is None:
        report("no CRIU is sent: this host uses the system's; looking for one there")
    _provide_criu(connection, report)
    findings = examine(connection, INSTALLED_COMMAND)
    return Outcome(target, str(FINAL), migrate.__version__, python, sent, findings)


def look(connection: Connection) -> Far:
    """Find a Python at the far end and let it describe the host. Raises HostPythonUnfit."""
    answer = _run_there(connection, {"do": "look", "final": str(FINAL)}, b"", _PYTHONS)
    try:
        return msgspec.convert(answer, Far)
    except msgspec.ValidationError as error:
        raise HostSetupFailed(
            f"{connection.target} describes itself strangely", cause=str(error)
        ) from error


def _refuse(target: str, far: Far) -> None:
    if far.uid != 0:
        raise HostSetupFailed(
            f"the user at {target} is not root", cause=f"its uid is {far.uid}",
            mend="name root: migrate host setup root@HOST",
        )  # fmt: skip
    if far.taken:
        raise HostSetupFailed(
            f"{FINAL} at {target} is something else",
            cause=f"it holds no {farside.INSTALLED}, so migrate did not put it there",
            mend="move it away",
        )


def _send(connection: Connection, far: Far, made: bundle.Bundle, report: Report) -> int:
    """Pack, send, unpack and try out; the bytes sent."""
    room = 2 * made.size
    if far.free < room:
        raise HostSetupFailed(
            f"{connection.target} has too little room in {FINAL.parent}",
            cause=f"{room >> 20} MiB needed, {far.free >> 20} MiB free", mend="free some space",
        )  # fmt: skip
    report(f"packing migrate {migrate.__version__}, its packages"
           + (" and CRIU" if made.criu else ""))  # fmt: skip
    data = bundle.pack(made, FINAL)
    report(f"sending {len(data) / 1e6:.1f} MB")
    settings = {
        "do": "unpack", "final": str(FINAL), "executable": far.executable, "digest": made.digest,
        "modules": bundle.MODULES,
    }  # fmt: skip
    _run_there(connection, settings, data, (far.executable,))
    report(f"installed in {FINAL}")
    return len(data)


def _run_there(
    connection: Connection, settings: dict[str, Any], data: bytes, pythons: tuple[str, ...]
) -> dict[str, Any]:
    """Run `farside` there; its answer. Raises HostPythonUnfit, HostSetupFailed, ConnectionLost."""
    script = Path(farside.__file__).read_bytes()
    line = json.dumps(settings).encode()
    stdin = b"%d\n%s%s\n%s" % (len(script), script, line, data)
    find = _FIND_PYTHON.format(_NO_PYTHON).replace("$LOADER", farside.LOADER)
    status, out, err = connection.run(
        shlex.join(["exec", "sh", "-c", find, "sh", *pythons]), stdin=stdin, timeout=SEND_LIMIT
    )
    complaint = (err.decode(errors="replace").strip().splitlines() or [f"exit code {status}"])[-1]
    if status == _NO_PYTHON:
        raise HostPythonUnfit(
            f"{connection.target} has no python3 >= 3.11", cause=f"it says: {complaint[:200]}"
        )
    answers = [x for x in out.decode(errors="replace").splitlines() if x.startswith(farside.MARKER)]
    try:
        answer = json.loads(answers[-1].removeprefix(farside.MARKER))
    except (IndexError, ValueError) as error:
        what = f"{connection.target} did not answer as it should"
        raise HostSetupFailed(what, cause=complaint[:400]) from error
    if not isinstance(answer, dict) or "error" in answer:
        cause = str(answer.get("error", "") if isinstance(answer, dict) else answer)
        raise HostSetupFailed(f"{connection.target} could not be set up", cause=cause[:1000])
    return answer


def _provide_criu(connection: Connection, report: Report) -> None:
    """Let the far end choose and probe its CRIU; what fails there, its doctor tells."""
    python = shlex.quote(str(FINAL / "bin/python3"))
    status, out, err = connection.run(f"{python} -m migrate.criu.provide", timeout=SEND_LIMIT)
    for line in (out + (err if status else b"")).decode(errors="replace").splitlines():
        report(f"there: {line}")


def examine(connection: Connection, command: str | None = None) -> list[Finding]:
    """What `migrate doctor` finds there. Raises AgentMissing, HostSetupFailed, ConnectionLost."""
    status, out, err = connection.run(
        migrate_command_line(("doctor", "--json"), command), timeout=DOCTOR_LIMIT
    )
    complaint = err.decode(errors="replace").strip()[-600:]
    if status == MISSING_STATUS:
        raise agent_missing(connection.target, complaint)
    try:
        return from_json(out)
    except ValueError as error:
        raise HostSetupFailed(
            f"the doctor at {connection.target} makes no sense",
            cause=complaint or f"{error}; exit code {status}",
            mend="install this version there: 'migrate host setup'",
        ) from error
