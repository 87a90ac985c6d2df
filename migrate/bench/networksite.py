"""A network of each driver over the benchmark's hosts, and a client's place in it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from migrate.bench.errors import BenchImpossible
from migrate.bench.hosts import IMAGE, Site
from migrate.bench.loads.load import ADDRESS, NAME, PACKAGE, START_LIMIT

NETWORK, CLIENT = "bench", "client"
SUBNET, INSIDE = "10.99.0.0/24", "10.99.0.20"


@dataclass(frozen=True)
class Place:
    """Options by which a container joins, its address, and how a client is started."""

    options: tuple[str, ...]
    address: str
    popen: Callable[..., Any]


@contextlib.contextmanager
def network(site: Site, driver: str) -> Iterator[Place]:
    """A network of that driver on all hosts; unmade, with the container NAME, at the end."""
    *_, third = site.pair
    try:
        if driver == "bridge":
            bridge = ("--network", "bridge", "--bridge", "br-lan", "--ip", f"{ADDRESS}/24")
            yield Place(bridge, ADDRESS, site.client.popen)
            return
        peers = [word for host in site.pair for word in ("--peer", host.address)]
        for host in site.pair:
            host.run([site.migrate, "network", "create", NETWORK, "--driver", driver,
                      "--subnet", SUBNET, *peers])  # fmt: skip
        options = ("--network", NETWORK, "--ip", INSIDE)
        popen = third.popen if driver == "routed" else _in_container(site, third)
        yield Place(options, INSIDE, popen)
    finally:
        for host in site.pair:
            host.run([site.migrate, "rm", "-f", NAME, CLIENT], check=False)
            host.run([site.migrate, "network", "rm", NETWORK], check=False)


def _in_container(site: Site, host: Any) -> Callable[..., Any]:
    """Programs of the host in the network namespace of a container that does nothing."""
    made = host.run([
        site.migrate, "run", "-d", "--name", CLIENT, "--network", NETWORK,
        "-v", "/usr:/usr:ro", IMAGE, "/usr/bin/sleep", "1000000",
    ])  # fmt: skip
    namespace = f"/run/migrate/netns/{made.stdout.strip()}"

    def popen(command: list[str], **options: Any) -> Any:
        return host.popen(["nsenter", f"--net={namespace}", *command], **options)

    return popen


def start(site: Site, place: Place, ready: str, *command: str) -> None:
    """Run `command` in the container NAME on the first host; return when it has said `ready`."""
    host = site.pair[0]
    host.run([
        site.migrate, "run", "-d", "--name", NAME, *place.options, "-v", "/usr:/usr:ro",
        "-v", f"{PACKAGE}:/bench/migrate:ro", "-e", "PYTHONPATH=/bench", IMAGE, *command,
    ])  # fmt: skip
    deadline = time.monotonic() + START_LIMIT
    while ready not in host.run([site.migrate, "logs", NAME]).stdout:
        if time.monotonic() > deadline:
            raise BenchImpossible("the server did not start", cause=f"tried for {START_LIMIT:g} s")
        time.sleep(0.05)
