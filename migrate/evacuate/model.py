"""Hosts and their containers as a plan sees them: values, asked once, never looked up again.

Labels of a container that a plan heeds (`migrate run --label`):
- `migrate.evacuate`: `keep` (it stays, whatever comes) or `cold-only` (it is stopped, moved and
  started there);
- `migrate.priority`: an integer, 0 if there is none; those with more go first;
- `migrate.apart`: a group's name; no two running containers of a group come to one host.
"""

from __future__ import annotations

import msgspec

EVACUATE_LABEL = "migrate.evacuate"
PRIORITY_LABEL = "migrate.priority"
APART_LABEL = "migrate.apart"
KEEP, COLD_ONLY = "keep", "cold-only"


class Guest(msgspec.Struct, frozen=True, omit_defaults=True):
    """A container of a host. Sizes in bytes."""

    identifier: str
    name: str
    status: str = "running"  # created, running, paused or stopped
    memory: int = 0  # in use
    limit: int = 0  # that it may use, 0 for any
    disk: int = 0  # of its writable layer and its volumes
    disk_counted: bool = True  # whether all of it: a count that takes too long is ended
    labels: dict[str, str] = {}
    network: str = "none"  # the driver: none, host, bridge
    bridge: str = ""
    address: str = ""  # with prefix length
    address6: str = ""
    network_name: str = ""  # "" for the default one of the driver
    network_like: str = ""  # what the target's network of that name must be, too
    ports: tuple[str, ...] = ()  # that it publishes, as [ADDRESS:]HOST:CONTAINER/PROTOCOL
    host_paths: tuple[str, ...] = ()  # of the host, mounted in it
    held: str = ""  # the id of an unsettled move


class HostState(msgspec.Struct, frozen=True, omit_defaults=True):
    """A host as it answered. Sizes in bytes."""

    name: str  # in the inventory; its address if it is in none
    address: str  # USER@HOST[:PORT], "" for this host
    host_id: str
    machine: str = ""
    kernel: str = ""
    criu: str = ""  # its version, "" where there is none
    cpu_flags: tuple[str, ...] = ()
    memory_free: int = 0
    disk_free: int = 0
    cordoned: bool = False
    labels: dict[str, str] = {}
    bridges: tuple[str, ...] = ()
    networks: dict[str, str] = {}  # by name, what they are
    guests: tuple[Guest, ...] = ()


class Step(msgspec.Struct, frozen=True):
    """One container to one host. `seconds` and `downtime` are predicted; `bytes` to be sent."""

    container: str
    name: str
    target: str  # a host's name
    mode: str  # of `migrate move --mode`
    bytes: int = 0
    seconds: float = 0.0
    downtime: float = 0.0
    note: str = ""  # what a person should know of it: why it goes cold, what can't follow


class Stays(msgspec.Struct, frozen=True):
    """A container that can't go, and why: by host, or under "" for what holds everywhere."""

    container: str
    name: str
    why: dict[str, str]


class Plan(msgspec.Struct, frozen=True):
    """Who goes where, in this order; `addresses` by host name. `seconds` and `bytes` for all."""

    source: str
    source_id: str
    addresses: dict[str, str]
    steps: tuple[Step, ...] = ()
    stay: tuple[Stays, ...] = ()
    version: int = 1
    seconds: float = 0.0
    bytes: int = 0
    warnings: tuple[str, ...] = ()
