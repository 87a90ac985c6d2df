"""The inventory in TOML: read strictly, and changed so that a person's comments survive.

[hosts.web1]
address = "root@10.0.0.3:22"
labels = {zone = "a"}
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from migrate.errors import MigrateError, UsageError
from migrate.evacuate.errors import HostUnknown, InventoryBad, InventoryReadOnly
from migrate.evacuate.inventory.hosts import (
    HOSTS_LIMIT,
    SIZE_LIMIT,
    Host,
    bad,
    check_lines,
    checked,
    label_fault,
    name_fault,
    read_bounded,
)
from migrate.evacuate.inventory.reading import Place
from migrate.kernel.files import write_atomically
from migrate.transfer.target import Target

if TYPE_CHECKING:
    from tomlkit import TOMLDocument

LOCK_LIMIT = 10.0  # seconds
Hosts = dict[str, Host]


def parse(path: Path, data: bytes) -> Hosts:
    """The hosts in `data`, in the order of the file; raises InventoryBad, which names `path`."""
    try:
        text = data.decode()
        check_lines(path, text)
        document = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise InventoryBad(f"the inventory {path} is no TOML", cause=str(error)[:300]) from error
    for key in document.keys() - {"hosts"}:
        raise bad(path, f"'{key[:80]}'", "there is nothing but [hosts.NAME] tables in it")
    tables = document.get("hosts", {})
    if not isinstance(tables, dict):
        raise bad(path, "'hosts'", "it is no table; write [hosts.NAME]")
    if len(tables) > HOSTS_LIMIT:
        raise bad(path, "'hosts'", f"more than {HOSTS_LIMIT} hosts")
    return {name: _host(path, name, table) for name, table in tables.items()}


def _host(path: Path, name: str, table: object) -> Host:
    place = f"hosts.{name[:80]}"
    if not isinstance(table, dict):
        raise bad(path, place, "it is no table; write [hosts.NAME]")
    for key in table.keys() - {"address", "labels"}:
        raise bad(path, f"{place}.{key[:80]}", "a host has an address and labels, nothing else")
    address, labels = table.get("address", ""), table.get("labels", {})
    if not isinstance(address, str) or not address:
        raise bad(path, f"{place}.address", 'it must be there, as "USER@HOST[:PORT]"')
    if not isinstance(labels, dict) or not all(isinstance(v, str) for v in labels.values()):
        raise bad(path, f"{place}.labels", 'they are a table of strings, {zone = "a"}')
    return checked(path, place, Host(name, address, labels))


def add(place: Place, host: Host) -> None:
    """Enter a new host; raises UsageError, InventoryBad, InventoryReadOnly."""

    def edit(hosts: Hosts) -> Hosts:
        same = [h.name for h in hosts.values() if h.address == host.address]
        if host.name in hosts or same:
            other = host.name if host.name in hosts else same[0]
            raise UsageError(
                f"there is a host '{other}' already", cause=f"it is {hosts[other].address}",
                mend="choose another name, or remove it first with 'migrate host rm'",
            )  # fmt: skip
        return {**hosts, host.name: host}

    change(place, edit)


def remove(place: Place, names: tuple[str, ...]) -> None:
    """Take hosts out, all or none; raises HostUnknown, InventoryBad, InventoryReadOnly."""

    def edit(hosts: Hosts) -> Hosts:
        for name in names:
            _known(hosts, name, place.path)
        return {name: host for name, host in hosts.items() if name not in names}

    change(place, edit)


def relabel(place: Place, name: str, labels: dict[str, str], without: set[str]) -> None:
    """Set labels, and remove others; raises HostUnknown, InventoryBad, InventoryReadOnly."""

    def edit(hosts: Hosts) -> Hosts:
        host = _known(hosts, name, place.path)
        kept = {k: v for k, v in host.labels.items() if k not in without}
        return {**hosts, name: Host(name, host.address, kept | labels)}

    change(place, edit)


def new_host(name: str, address: str, labels: dict[str, str]) -> Host:
    """A host that may be entered; raises UsageError, TargetInvalid."""
    check_labels(labels)
    if fault := name_fault(name):
        raise UsageError(f"'{name[:80]}' can't be a host's name", cause=fault)
    return Host(name, str(Target.parse(address)), labels)


def check_labels(labels: dict[str, str]) -> None:
    """Raise UsageError for what can't be a label."""
    for key, value in labels.items():
        if fault := label_fault(key, value):
            raise UsageError(f"'{key[:80]}' can't be set as a label", cause=fault)


def _known(hosts: Hosts, name: str, path: Path) -> Host:
    if name not in hosts:
        raise HostUnknown(f"there is no host '{name[:80]}'", cause=f"it is not in {path}")
    return hosts[name]


def refuse_to_change(place: Place) -> None:
    """Raise InventoryReadOnly for what is not migrate's own format."""
    if not place.is_ours:
        raise InventoryReadOnly(
            f"the inventory {place.path} is not migrate's to change",
            cause="it is Ansible's (its name does not end in .toml)",
        )


def change(place: Place, edit: Callable[[Hosts], Hosts]) -> None:
    """Write what `edit` makes of the hosts, all or nothing, one writer at a time.

    A missing file is made, 0600, in a directory that is made 0700. Raises InventoryBad,
    InventoryReadOnly and what `edit` raises; then the file is as before.
    """
    refuse_to_change(place)
    try:
        path = place.path.resolve()  # a link to the file stays one
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(path):
            _change(path, edit)
    except MigrateError:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        raise InventoryBad(f"can't write the inventory {place.path}", cause=str(error)) from error


def _change(path: Path, edit: Callable[[Hosts], Hosts]) -> None:
    mode, data = 0o600, b""
    with contextlib.suppress(FileNotFoundError):
        data = read_bounded(path)
        mode = stat.S_IMODE(path.stat().st_mode)
    before = parse(path, data)
    after = edit(before)
    written = _rewritten(path, data.decode(), before, after)
    if len(written) > SIZE_LIMIT or len(after) > HOSTS_LIMIT:
        raise InventoryBad(
            f"the inventory {path} would be too large",
            cause=f"at most {HOSTS_LIMIT} hosts and {SIZE_LIMIT >> 10} KiB",
            mend="remove hosts, or keep several inventories (--inventory)",
        )
    if parse(path, written) != after:
        raise _beyond_us(path, "the file would not say what it should")
    write_atomically(path, written, mode=mode)
    if stat.S_IMODE(path.stat().st_mode) != mode:  # by the umask
        path.chmod(mode)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of the file's directory: the file itself is replaced at each write."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    deadline = time.monotonic() + LOCK_LIMIT
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise InventoryBad(
                        f"the inventory {path} is being changed by another command",
                        cause=f"its lock was not free within {LOCK_LIMIT:g} seconds",
                        mend="wait for that command, or end it, then try again",
                    ) from error
                time.sleep(0.02)
        yield
    finally:
        os.close(descriptor)


def _rewritten(path: Path, text: str, before: Hosts, after: Hosts) -> bytes:
    """The file's text with just what differs changed."""
    import tomlkit

    try:
        document = tomlkit.parse(text)
        _apply(document, before, after)
        return tomlkit.dumps(document).encode()
    except Exception as error:  # tomlkit has defects at TOML that few write
        raise _beyond_us(path, f"{type(error).__name__}: {error}"[:300]) from error


def _apply(document: TOMLDocument, before: Hosts, after: Hosts) -> None:
    import tomlkit

    if "hosts" not in document:
        document["hosts"] = tomlkit.table(is_super_table=True)
    tables: Any = document["hosts"]
    for name in before.keys() - after.keys():
        del tables[name]
    for name, host in after.items():
        if name not in before:
            table = tomlkit.table()
            table["address"] = host.address
            if host.labels:
                table["labels"] = tomlkit.inline_table()
                table["labels"].update(host.labels)
            tables[name] = table
        elif host.labels != before[name].labels:
            _apply_labels(tables[name], before[name].labels, host.labels)


def _apply_labels(table: Any, before: dict[str, str], after: dict[str, str]) -> None:
    import tomlkit

    if "labels" not in table:
        table["labels"] = tomlkit.inline_table()
    for key in before.keys() - after.keys():
        del table["labels"][key]
    for key, value in after.items():
        if before.get(key) != value:
            table["labels"][key] = value
    if not after:
        del table["labels"]


def _beyond_us(path: Path, cause: str) -> InventoryBad:
    return InventoryBad(
        f"the inventory {path} can't be changed by this command: it is as before",
        cause=cause,
        mend="change it with an editor; [hosts.NAME] tables are changed best",
    )
