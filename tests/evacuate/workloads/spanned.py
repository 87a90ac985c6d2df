"""Redis in networks over several hosts, overlay and routed; their clients are at the desk."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from migrate.bench.hosts import IMAGE
from tests.evacuate.fleet import Fleet
from tests.evacuate.workloads.redis import Redis
from tests.hosts.host import Client, Host
from tests.hosts.redis import MIGRATE

OVERLAY, ROUTED = "soak-overlay", "soak-routed"
_THIRD_OCTET = {OVERLAY: 98, ROUTED: 99}
_CLIENT = "client"


@dataclass(frozen=True)
class InContainer:
    """What programs of a host see from the network namespace of one of its containers."""

    host: Host
    container: str  # id

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """As of a host."""
        return self.host.popen(self._entered(command), **options)

    def run(self, command: Sequence[str], **options: Any) -> Any:
        """As of a host."""
        return self.host.run(self._entered(command), **options)

    def _entered(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--net=/run/migrate/netns/{self.container}", *command]


class SpannedRedis(Redis):
    """In one of the two networks; its client is where that network is reached at the desk."""

    def __init__(self, network: str, desk: Host) -> None:
        address = f"10.{_THIRD_OCTET[network]}.0.20"
        super().__init__(f"redis-{network}", address, ("--network", network, "--ip", address))
        self._network, self._desk = network, desk

    def start(self, host: Host, client: Client) -> None:
        """Its client is not the one that is given, which is in neither network."""
        self._begin(host, self._place())

    def _place(self) -> InContainer | Host:
        """A host has routes to all of a routed network, but only containers are in an overlay."""
        if self._network == ROUTED:
            return self._desk
        made = self._desk.run([
            MIGRATE, "run", "-d", "--name", _CLIENT, "--network", OVERLAY, "-v", "/usr:/usr:ro",
            IMAGE, "/usr/bin/sleep", "1000000",
        ])  # fmt: skip
        return InContainer(self._desk, made.stdout.strip())


@contextlib.contextmanager
def networks(fleet: Fleet) -> Iterator[list[SpannedRedis]]:
    """Both networks on all hosts and the desk, and a Redis for each, not started yet."""
    hosts = [*fleet.hosts.values(), fleet.desk]
    peers = [word for host in hosts for word in ("--peer", host.address)]
    try:
        for name, driver in ((OVERLAY, "overlay"), (ROUTED, "routed")):
            subnet = f"10.{_THIRD_OCTET[name]}.0.0/24"
            for host in hosts:
                host.run([
                    MIGRATE, "network", "create", name, "--driver", driver, "--subnet", subnet,
                    *peers,
                ])  # fmt: skip
        yield [SpannedRedis(name, fleet.desk) for name in (OVERLAY, ROUTED)]
    finally:
        fleet.desk.run([MIGRATE, "rm", "-f", _CLIENT], check=False)
        fleet.clean()
        for host in hosts:
            for name in (OVERLAY, ROUTED):
                host.run([MIGRATE, "network", "rm", name], check=False)
