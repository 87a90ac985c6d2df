"""Asking hosts what they are and run, many at once, and cordoning them.

An answer is checked before it counts.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import msgspec

from migrate.errors import InternalError, MigrateError
from migrate.evacuate.errors import InventoryBad
from migrate.evacuate.inventory.hosts import Host
from migrate.evacuate.model import Guest, HostState
from migrate.move.journal import known_host_id
from migrate.move.survey import survey
from migrate.runtime import cordon
from migrate.runtime.cordon import Cordon
from migrate.runtime.paths import Paths
from migrate.transfer.errors import HostUnreachable, MethodUnknown, ProtocolError
from migrate.transfer.target import Target

AT_ONCE = 16
ANSWER_SECONDS = 60.0
Answers = dict[str, HostState | MigrateError]

_Word = Annotated[str, msgspec.Meta(max_length=256)]
_Text = Annotated[str, msgspec.Meta(max_length=4096)]
_Size = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
_Name = Annotated[str, msgspec.Meta(pattern=r"\A[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}\Z")]


class _Guest(msgspec.Struct, frozen=True):
    """A container as it comes from the wire; what a host may add is ignored."""

    identifier: _Name
    name: _Name
    status: Annotated[str, msgspec.Meta(pattern=r"\A[a-z]{1,32}\Z")]
    memory: _Size = 0
    limit: _Size = 0
    disk: _Size = 0
    disk_counted: bool = True
    labels: Annotated[dict[_Text, _Text], msgspec.Meta(max_length=1000)] = {}
    network: _Word = "none"
    bridge: _Word = ""
    address: _Word = ""
    address6: _Word = ""
    network_name: _Word = ""
    network_like: _Word = ""
    ports: Annotated[tuple[_Word, ...], msgspec.Meta(max_length=1000)] = ()
    host_paths: Annotated[tuple[_Text, ...], msgspec.Meta(max_length=1000)] = ()
    held: _Word = ""


class _Answer(msgspec.Struct, frozen=True):
    """What `migrate.move.survey` gives, as it comes from the wire."""

    host_id: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{1,64}\Z")]
    machine: _Word = ""
    kernel: _Word = ""
    criu: _Word = ""
    cpu_flags: Annotated[tuple[_Word, ...], msgspec.Meta(max_length=2000)] = ()
    memory_free: _Size = 0
    disk_free: _Size = 0
    cordoned: bool = False
    bridges: Annotated[tuple[_Word, ...], msgspec.Meta(max_length=2000)] = ()
    networks: Annotated[dict[_Word, _Word], msgspec.Meta(max_length=2000)] = {}
    guests: Annotated[tuple[_Guest, ...], msgspec.Meta(max_length=5000)] = ()


def ask(host: Host, paths: Paths | None = None) -> HostState:
    """The host's state now; this host's own, without SSH, where the address is "".

    In the state `address` is "" also where this very host has answered over SSH. Raises what
    connecting raises, MethodUnknown for an older migrate there, ProtocolError for an answer that
    is none, TimeLimitExceeded.
    """
    paths = paths or Paths.from_environment()
    if not host.address:
        return _state(host, survey(paths), "")
    answer = call(host, "host.survey")
    state = _state(host, answer, host.address)
    is_here = state.host_id == known_host_id(paths)
    return msgspec.structs.replace(state, address="") if is_here else state


def call(host: Host, method: str, **arguments: Any) -> Any:
    """Run one of the agent's methods at a host over SSH; raises what connecting raises."""
    from migrate.transfer.ssh import connect

    with connect(Target.parse(host.address)) as connection:
        try:
            return connection.client.call(method, timeout=ANSWER_SECONDS, **arguments)
        except MethodUnknown as error:
            raise MethodUnknown(
                f"the migrate at '{host.name}' is too old for this",
                cause=error.what,
                mend=f"install this version there: 'migrate host setup {host.name}'",
            ) from error


def set_cordon(host: Host, *, by: str = "", why: str = "") -> Cordon:
    """Let a host take no containers; raises what `call` raises, ProtocolError, OSError."""
    if not host.address:
        return cordon.cordon(Paths.from_environment(), by=by, why=why)
    answer = call(host, "host.cordon", by=by, why=why)
    try:
        return msgspec.convert(_printable(answer), Cordon)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"'{host.name}' answers no cordon", cause=str(error)[:300]) from error


def lift_cordon(host: Host) -> bool:
    """Let it take containers again; whether it was cordoned. Raises what `call` raises, OSError."""
    if not host.address:
        return cordon.uncordon(Paths.from_environment())
    return call(host, "host.uncordon") is True


def _state(host: Host, answer: object, address: str) -> HostState:
    try:
        told = msgspec.convert(answer, _Answer)
    except msgspec.ValidationError as error:
        raise ProtocolError(
            f"'{host.name}' answers what is no description of a host", cause=str(error)[:300]
        ) from error
    plain = _printable(msgspec.to_builtins(told))
    guests = tuple(msgspec.convert(guest, Guest) for guest in plain.pop("guests"))
    return msgspec.convert(
        plain | {"name": host.name, "address": address, "labels": host.labels, "guests": guests},
        HostState,
    )


def _printable(value: Any) -> Any:
    """Nothing that another host says can steer the terminal that it is printed on."""
    if isinstance(value, str):
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in value)
    if isinstance(value, dict):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(item) for item in value]
    return value


def ask_all(
    hosts: Iterable[Host], at_once: int = AT_ONCE, ask_one: Callable[[Host], HostState] = ask
) -> Answers:
    """Each host's state, or the error of asking it, by name, in the order of `hosts`.

    At most `at_once` are asked at a time. Raises nothing for a host that fails. Of two names of
    one host the second is an error: a plan must not count its memory twice.
    """
    wanted = list(hosts)
    waiting: queue.SimpleQueue[Host] = queue.SimpleQueue()
    for host in wanted:
        waiting.put(host)
    found: Answers = {}

    def work() -> None:
        while True:
            try:
                host = waiting.get_nowait()
            except queue.Empty:
                return
            found[host.name] = _ask_safely(host, ask_one)

    # Daemons: Ctrl-C ends the command, and waits for no host that is silent.
    threads = [threading.Thread(target=work, daemon=True) for _ in wanted[: max(1, at_once)]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _without_twins({host.name: found[host.name] for host in wanted})


def _without_twins(answers: Answers) -> Answers:
    first: dict[str, str] = {}
    for name, answer in answers.items():
        if isinstance(answer, MigrateError):
            continue
        other = first.setdefault(answer.host_id, name)
        if other != name:
            answers[name] = InventoryBad(
                f"'{name}' is the same host as '{other}'",
                cause=f"both answer with the identity {answer.host_id[:12]}",
                mend="take one of the two out of the inventory; if one host is a copy of the other,"
                " remove /var/lib/migrate/host-id there",
            )
    return answers


def _ask_safely(host: Host, ask_one: Callable[[Host], HostState]) -> HostState | MigrateError:
    try:
        return ask_one(host)
    except MigrateError as error:
        return error
    except OSError as error:
        return HostUnreachable(f"'{host.name}' can't be asked", cause=str(error))
    except Exception as error:  # noqa: BLE001 -- one host's failure must not hide the others
        return InternalError(
            f"an unforeseen {type(error).__name__} while '{host.name}' was asked", cause=str(error)
        )
