"""What this host takes from whom: /etc/migrate/policy.toml, looked at by its agent.

    [senders.web]                       # a key with command="... migrate agent --as web"
    images = ["shop/*:*"]               # patterns, as of the shell; left out: any, and any rootfs
    networks = ["none", "bridge:br-*"]  # driver, driver:bridge or driver:network
    ports = ["80??/tcp"]                # of this host, that it publishes
    host_paths = ["/srv/web"]           # of this host, mounted in it: these and what is below
    capabilities = ["CAP_NET_ADMIN"]    # beyond the usual set
    modes = ["cold"]                    # of the move
    memory = "2g"                       # it must have a limit, and no higher one
    [senders."*"]                       # everybody else, also who has an ordinary login

Where there is no file everything is taken. Where there is one, who is not in it may send nothing.
It stands against the mistakes of honest senders. Who forges CRIU's images can restore a process
with any capability, whatever the specification says: from senders that are not trusted with that,
take `modes = ["cold"]` alone.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from migrate.checkpoint.netns import contents
from migrate.checkpoint.state import State
from migrate.errors import MigrateError
from migrate.move.errors import PolicyBad, RefusedByPolicy
from migrate.runtime.spec import namespace_kinds
from migrate.runtime.usual import DEFAULT_CAPABILITIES

VARIABLE = "MIGRATE_POLICY"
EVERYBODY = "*"
_NETWORK = "CAP_NET_ADMIN"
_PLACE = "/etc/migrate/policy.toml"
_LIMIT = 1 << 20
_SIZE = re.compile(r"(\d+)([kmgt]?)b?", re.IGNORECASE)
_OWN_NAMESPACES = ("pid", "mount", "ipc", "uts")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one sender may send; None: anything of that kind."""

    images: list[str] | None = None
    networks: list[str] | None = None
    ports: list[str] | None = None
    host_paths: list[str] | None = None
    capabilities: list[str] | None = None
    modes: list[str] | None = None
    memory: str = ""

    @property
    def most_memory(self) -> int:
        """Bytes, 0 for any; raises ValueError."""
        if not self.memory:
            return 0
        matched = _SIZE.fullmatch(self.memory)
        if not matched:
            raise ValueError(f"memory = {self.memory!r} is no size")
        return int(matched[1]) << (10 * " kmgt".index(matched[2].lower() or " "))


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file."""

    senders: dict[str, Rule] = {}


def read() -> Policy | None:
    """This host's policy, None where there is none; raises PolicyBad, and then nothing is taken."""
    path = Path(os.environ.get(VARIABLE) or _PLACE)
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise PolicyBad(f"the policy {path} can't be read", cause=str(error)) from error
    return parse(data, str(path))


def parse(data: bytes, name: str) -> Policy:
    """The policy in a file's content; raises PolicyBad."""
    import tomllib

    try:
        if len(data) > _LIMIT:
            raise ValueError("it is too large")
        found = msgspec.convert(tomllib.loads(data.decode()), type=Policy)
        for rule in found.senders.values():
            rule.most_memory  # noqa: B018 -- raises what is wrong with it
    except ValueError as error:  # TOML's and msgspec's errors are ValueErrors
        raise PolicyBad(f"the policy {name} can't be used", cause=str(error)) from error
    return found


@dataclass(frozen=True)
class Permission:
    """What one sender may send, as the policy had it when it was read."""

    sender: str
    known: bool  # False: it may send nothing
    rule: Rule = Rule()  # noqa: RUF009 -- frozen

    def refusals(self, mode: str, state: State) -> list[MigrateError]:
        """What stands against such a move; `mode` is "" where it is not known yet."""
        if not self.known:
            who = f"'{self.sender}'" if self.sender else "this login"
            return [RefusedByPolicy(f"the target takes nothing from {who}")]
        return [
            RefusedByPolicy(f"the target's policy does not take {words}")
            for words in _against(self.rule, mode, state)
        ]

    def refuse(self, mode: str, state: State) -> None:
        """Raise RefusedByPolicy where something stands against it."""
        if found := self.refusals(mode, state):
            name = state.record.name
            raise RefusedByPolicy.together(f"the target does not take '{name}'", found)


def permission(sender: str) -> Permission:
    """What this host's policy permits to `sender`; raises PolicyBad."""
    policy = read()
    if policy is None:
        return Permission(sender, known=True)
    rule = policy.senders.get(sender) or policy.senders.get(EVERYBODY)
    return Permission(sender, known=rule is not None, rule=rule or Rule())


def _against(rule: Rule, mode: str, state: State) -> Iterator[str]:
    record = state.record
    if mode and rule.modes is not None and mode not in rule.modes:
        yield f"moves in mode {mode}"
    if rule.images is not None and not _matches(_tagged(record.image), rule.images):
        yield f"the image '{record.image}'" if record.image else "containers without an image"
    network = record.network.driver
    if place := record.network.name or record.network.bridge:
        network += f":{place}"
    if rule.networks is not None and not _matches(network, rule.networks):
        yield f"the network '{network}'"
    for port in record.network.ports:
        published = f"{port.host}/{port.protocol}"
        if rule.ports is not None and not _matches(published, rule.ports):
            yield f"a published port {published}"
    if rule.most_memory and not 0 < record.resources.memory <= rule.most_memory:
        yield f"containers without a memory limit of at most {rule.memory}"
    yield from _paths_against(rule, state)
    yield from _privileges_against(rule, state.spec)
    if rule.capabilities is not None and _NETWORK not in rule.capabilities:
        for words in contents.added(state.netns, record.network):
            if not words.startswith("settings"):
                yield f"{words} of the container's own (they need {_NETWORK})"


def _paths_against(rule: Rule, state: State) -> Iterator[str]:
    if rule.host_paths is None:
        return
    for bind in state.record.binds:
        path = PurePosixPath(os.path.normpath(bind.source))
        if not bind.volume and not any(path.is_relative_to(above) for above in rule.host_paths):
            yield f"a mount of {bind.source}"


def _privileges_against(rule: Rule, spec: dict[str, Any]) -> Iterator[str]:
    if rule.capabilities is None:
        return
    wanted: set[str] = set()
    for names in (spec.get("process", {}).get("capabilities") or {}).values():
        wanted |= set(names)
    if more := sorted(wanted - set(DEFAULT_CAPABILITIES) - set(rule.capabilities)):
        yield f"the capabilities {', '.join(more)}"
    if lacking := sorted(set(_OWN_NAMESPACES) - set(namespace_kinds(spec))):
        yield f"a container in the host's own {', '.join(lacking)} namespace"
    if spec.get("linux", {}).get("devices"):
        yield "devices of the host"


def _tagged(image: str) -> str:
    """With its tag, which may have been left away where it was given."""
    return image if not image or ":" in image.rpartition("/")[2] else f"{image}:latest"


def _matches(text: str, patterns: list[str]) -> bool:
    return bool(text) and any(fnmatch.fnmatchcase(text, pattern) for pattern in patterns)
