"""systemd's part in control groups: a container's group is a scope unit of its own.

Spoken to over D-Bus by its private socket, as systemctl does for root, so that no bus is needed
(org.freedesktop.systemd1(5)). A scope is made around processes that are there: a placeholder of
ours, until the container's first process has joined it. `Delegate=` makes the group ours
(systemd's CGROUP_DELEGATION.md): what is below it, and files that no property of the unit is for.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections.abc import Iterator
from typing import Any

from migrate.oci import unitproperties
from migrate.oci.errors import BadConfig
from migrate.runtime.cgroups.layout import Layout, detect
from migrate.runtime.errors import CgroupFailed

SOCKET = "/run/systemd/private"
DEFAULT_SLICE, DEFAULT_PREFIX = "system.slice", "migrate-oci"
_PATH, _MANAGER = "/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager"
_NAME_ON_BUS = "org.freedesktop.systemd1"
_LIMIT = 30.0  # seconds for an answer, and for a job
_LONGEST_ANSWER = 256  # bytes
_NAME = re.compile(r"[A-Za-z0-9:_.\\@-]{1,249}")  # systemd.unit(5)
_GONE = ("org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.UnitMasked")


def group_of(path: str, identifier: str) -> tuple[str, str]:
    """The group's parent beneath the hierarchy, and its name, of "slice:prefix:name".

    Raises BadConfig. Without a path the scope is migrate-oci-ID in system.slice.
    """
    parts = path.split(":") if path else [DEFAULT_SLICE, DEFAULT_PREFIX, identifier]
    if len(parts) != 3:
        raise BadConfig(
            f'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, '
            f"got {path!r} instead",
            mend="leave --systemd-cgroup out, or let the engine use its systemd driver",
        )
    slice_, prefix, name = parts
    unit = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    if not _NAME.fullmatch(unit) or not name:
        raise BadConfig(f"cgroupsPath {path!r} gives no name of a unit", cause="systemd.unit(5)")
    return _directory_of(slice_ or DEFAULT_SLICE), unit


def _directory_of(slice_: str) -> str:
    """a-b.slice is the directory a.slice/a-b.slice (systemd.slice(5)); raises BadConfig."""
    stem = slice_.removesuffix(".slice")
    if stem == "-" and slice_ != stem:
        return ""
    parts = stem.split("-")
    if stem == slice_ or "" in parts or "/" in stem or not _NAME.fullmatch(slice_):
        raise BadConfig(f"cgroupsPath: {slice_!r} is no slice", cause="systemd.slice(5)")
    return "/".join("-".join(parts[: n + 1]) + ".slice" for n in range(len(parts)))


@contextlib.contextmanager
def scope(unit: str, parent: str, spec: dict[str, Any], text: str) -> Iterator[list[str]]:
    """The unit, kept by a placeholder meanwhile; raises CgroupFailed, SpecInvalid.

    Gives the directories beside those of the controllers that a process has to join: of version
    1 the one by which systemd itself knows its units.
    """
    ours, theirs = os.pipe()
    placeholder = os.fork()
    if placeholder == 0:
        os.close(theirs)
        os.read(ours, 1)
        os._exit(0)
    os.close(ours)
    try:
        wanted = (spec.get("linux") or {}).get("resources") or {}
        properties = [
            ("Description", ("s", text)),
            ("Slice", ("s", os.path.basename(parent) or "-.slice")),
            ("PIDs", ("au", [placeholder])),
            ("Delegate", ("b", True)),
            ("DefaultDependencies", ("b", False)),
            ("CollectMode", ("s", "inactive-or-failed")),
            *unitproperties.accounting(detect()),
            *unitproperties.of_resources(wanted, detect()),
            *unitproperties.of_annotations(spec.get("annotations") or {}),
        ]
        with Manager() as manager:
            manager.start(unit, properties)
        yield _named(placeholder)
    finally:
        os.close(theirs)
        os.kill(placeholder, signal.SIGKILL)
        os.waitpid(placeholder, 0)


def _named(pid: int) -> list[str]:
    """The directory of a process in version 1's hierarchy without a controller (name=systemd)."""
    with open("/proc/self/mountinfo") as file:
        mounts = [line.split() for line in file if " - cgroup " in line]
    place = next((m[4] for m in mounts if "name=systemd" in m[-1].split(",")), "")
    with open(f"/proc/{pid}/cgroup") as file:
        own = [line.rstrip("\n").split(":", 2) for line in file]
    return [f"{place}{path}" for _number, name, path in own if place and name == "name=systemd"]


def update(unit: str, wanted: dict[str, Any], layout: Layout) -> None:
    """Other limits for the unit, or systemd would write the old ones again; raises CgroupFailed."""
    properties = unitproperties.of_resources(wanted, layout)
    if properties:
        with Manager() as manager:
            manager.call("SetUnitProperties", "sba(sv)", (unit, True, properties))


def stop(unit: str) -> None:
    """End the unit, if there still is one; raises CgroupFailed."""
    with Manager() as manager:
        manager.stop(unit)


class Manager:
    """A connection to systemd; a context manager."""

    def __init__(self) -> None:
        """Raises CgroupFailed."""
        from jeepney.low_level import Parser

        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_LIMIT)
        try:
            self._socket.connect(SOCKET)
            self._authenticate()
        except OSError as error:
            self._socket.close()
            raise CgroupFailed("systemd can't be reached", cause=f"{SOCKET}: {error}") from error
        self._parser = Parser()
        self._serial = 0
        self._ended: dict[str, str] = {}  # job -> its result

    def __enter__(self) -> Manager:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _authenticate(self) -> None:
        """By our uid (D-Bus specification, "Authentication Protocol"); raises OSError.

        All in one, as systemctl does: systemd lets a message lie that comes together with BEGIN.
        """
        who = str(os.geteuid()).encode().hex()
        self._socket.sendall(f"\0AUTH EXTERNAL {who}\r\nBEGIN\r\n".encode())
        answer = b""
        while not answer.endswith(b"\r\n"):
            data = self._socket.recv(_LONGEST_ANSWER)
            answer += data
            if not data or len(answer) > _LONGEST_ANSWER:
                raise ConnectionResetError(104, "it does not answer")
        if not answer.startswith(b"OK "):
            raise PermissionError(13, f"it answers {answer[:80]!r}")

    def start(self, unit: str, properties: list[Any]) -> None:
        """Start a transient unit and wait until it is there."""
        arguments: tuple[Any, ...] = (unit, "fail", properties, [])
        (job,) = self.call("StartTransientUnit", "ssa(sv)a(sa(sv))", arguments)
        if (result := self._wait(job)) != "done":
            raise CgroupFailed(f"systemd could not start {unit}", cause=f"the job ended: {result}")

    def stop(self, unit: str) -> None:
        """Stop a unit and wait until it is gone; one that is not there is no error."""
        job = self.call("StopUnit", "ss", (unit, "replace"), ignored=_GONE)
        if job:
            self._wait(job[0])

    def call(
        self, method: str, signature: str, arguments: tuple[Any, ...], ignored: tuple[str, ...] = ()
    ) -> tuple[Any, ...]:
        """The answer; () for an error of `ignored`. Raises CgroupFailed."""
        from jeepney import DBusAddress, HeaderFields, MessageType, new_method_call

        self._serial += 1
        address = DBusAddress(_PATH, _NAME_ON_BUS, _MANAGER)
        message = new_method_call(address, method, signature, arguments)
        try:
            self._socket.sendall(message.serialise(serial=self._serial))
            while True:
                answer = self._receive()
                if answer.header.fields.get(HeaderFields.reply_serial) == self._serial:
                    break
        except OSError as error:
            raise CgroupFailed(f"systemd does not answer ({method})", cause=str(error)) from error
        if answer.header.message_type is not MessageType.error:
            return tuple(answer.body)
        name = answer.header.fields.get(HeaderFields.error_name)
        if name in ignored:
            return ()
        raise CgroupFailed(f"systemd refuses {method}", cause=f"{name}: {' '.join(answer.body)}")

    def _receive(self) -> Any:
        """The next message; jobs that have ended are noted."""
        from jeepney import HeaderFields

        while (message := self._parser.get_next_message()) is None:
            data = self._socket.recv(65536)
            if not data:
                raise ConnectionResetError(104, "it has closed the connection")
            self._parser.add_data(data)
        if message.header.fields.get(HeaderFields.member) == "JobRemoved":
            _number, job, _unit, result = message.body
            self._ended[job] = result
        return message

    def _wait(self, job: str) -> str:
        """A job's result; raises CgroupFailed."""
        try:
            while job not in self._ended:
                self._receive()
        except OSError as error:
            raise CgroupFailed("systemd does not end a job", cause=str(error)) from error
        return self._ended[job]
