"""Hosts by name, as an inventory has them, and what may stand in one."""

from __future__ import annotations

import ipaddress
import os
import platform
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from migrate.evacuate.errors import HostUnknown, InventoryBad
from migrate.transfer.errors import TargetInvalid
from migrate.transfer.target import Target

NAME = re.compile(r"[a-z0-9A-Z._-]{1,63}")
SIZE_LIMIT = 1 << 20
"""Bytes of an inventory's file."""
LINE_LIMIT = 4096
"""Characters of a line of TOML or INI."""
HOSTS_LIMIT = 1000
LABELS_LIMIT = 100
"""Labels of one host."""
KEY_LIMIT, VALUE_LIMIT = 128, 256
"""Characters of a label's key and value."""


class Host(msgspec.Struct, frozen=True):
    """A host by its name; `address` is USER@HOST[:PORT], "" for this very host."""

    name: str
    address: str
    labels: dict[str, str] = {}


@dataclass(frozen=True)
class Inventory:
    """The hosts of one file. What is in it but can't be reached by SSH is left out, with a why."""

    path: Path
    hosts: dict[str, Host] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def this_host() -> Host:
    """The host that this runs on; it is asked without SSH."""
    return Host(platform.node(), "")


def bad(path: Path, place: str, cause: str) -> InventoryBad:
    """The error for a fault at a place of the file; what is quoted of it can't steer a terminal."""
    what = f"the inventory {path} is not valid at {_printable(place)}"
    return InventoryBad(what, cause=_printable(cause))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def check_lines(path: Path, text: str) -> None:
    """Refuse very long lines, at which parsers take the square of the time; raises InventoryBad."""
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > LINE_LIMIT:
            raise bad(path, f"line {number}", f"it is longer than {LINE_LIMIT} characters")


def name_fault(name: str) -> str:
    """Why this can't be a host's name, "" when it can."""
    if NAME.fullmatch(name):
        return ""
    return f"'{name[:80]}' is no host name: 1 to 63 letters, digits, '.', '_' and '-'"


def label_fault(key: str, value: str) -> str:
    """Why this can't be a label, "" when it can."""
    if not key or len(key) > KEY_LIMIT or "=" in key or " " in key or not key.isprintable():
        wanted = f"1 to {KEY_LIMIT} printable characters without blanks and '='"
        return f"{key[:80]!r} is no label: {wanted}"
    if len(value) > VALUE_LIMIT or not value.isprintable():
        return f"the value of label '{key}' is not printable, or longer than {VALUE_LIMIT}"
    return ""


def checked(path: Path, place: str, host: Host) -> Host:
    """The host, its address as `Target` writes it; raises InventoryBad."""
    faults = [name_fault(host.name), *(label_fault(k, v) for k, v in host.labels.items())]
    if len(host.labels) > LABELS_LIMIT:
        faults.append(f"more than {LABELS_LIMIT} labels")
    for fault in filter(None, faults):
        raise bad(path, place, fault)
    if not host.address:
        return host
    try:
        address = str(Target.parse(host.address))
    except TargetInvalid as error:
        raise bad(path, f"{place}, address", f"{error.what}; {error.mend}") from error
    return msgspec.structs.replace(host, address=address)


def read_bounded(path: Path) -> bytes:
    """The file's bytes; raises InventoryBad, FileNotFoundError."""
    try:
        # A fifo would keep the opener waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise InventoryBad(f"the inventory {path} is no file", cause="give a file")
            data = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise InventoryBad(f"the inventory {path} can't be read", cause=str(error)) from error
    if len(data) > SIZE_LIMIT:
        raise InventoryBad(
            f"the inventory {path} is too large", cause=f"more than {SIZE_LIMIT >> 10} KiB"
        )
    return data


def is_address(text: str) -> bool:
    """Whether it can only be an address: USER@HOST, HOST:PORT, or numbers."""
    if any(mark in text for mark in "@:["):
        return True
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def resolve(text: str, inventory: Inventory) -> Host:
    """The host of that name in the inventory, else the one at that address.

    An address that the inventory knows is its host, with name and labels. Raises HostUnknown, and
    TargetInvalid for what looks like an address and is none.
    """
    if text in inventory.hosts:
        return inventory.hosts[text]
    if not is_address(text) or text in inventory.left_out:
        raise HostUnknown(
            f"there is no host '{text[:80]}'",
            cause=inventory.left_out.get(text)
            or f"it is not in {inventory.path}, and an address is written USER@HOST[:PORT]",
        )
    address = str(Target.parse(text))
    for host in inventory.hosts.values():
        if host.address == address:
            return host
    return Host(address, address)
