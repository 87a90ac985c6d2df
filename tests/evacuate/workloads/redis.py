"""A Redis with a client that writes and reads back, or under the load of many connections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.evacuate.workloads.workload import Reporter
from tests.hosts import redis as redis_in_container
from tests.hosts.host import Client, Host

CONNECTIONS = 50


class Redis:
    """With one client, tests/hosts/redisclient.py; `network`: options, the hosts' own if none."""

    def __init__(self, name: str, address: str, network: Sequence[str] = ()) -> None:
        self.name, self.address = name, address
        self._options = network or redis_in_container.on_the_link(address)
        self._client: redis_in_container.Client | None = None

    def start(self, host: Host, client: Client) -> None:
        self._begin(host, client)

    def _begin(self, host: Host, place: Any) -> None:
        """`place`: whatever has `run` and `popen`, and reaches the container."""
        redis_in_container.start_in(host, self.name, self._options)
        redis_in_container.wait_for(place, self.address)
        self._client = redis_in_container.Client(place, self.address)

    def mark(self) -> float:
        assert self._client
        return self._client.mark().longest_gap

    def finish(self, host: Host) -> list[str]:
        assert self._client
        told = self._client.finish()
        wrong = list(told.errors)
        if told.found != told.written or not told.written:
            wrong.append(f"{told.found} of {told.written} keys found")
        return wrong

    def kill(self) -> None:
        if self._client:
            self._client.kill()


class LoadedRedis:
    """With programs/redisload.py: 50 connections that each count."""

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address
        self._load: Reporter | None = None

    def start(self, host: Host, client: Client) -> None:
        redis_in_container.start(host, self.name, self.address)
        redis_in_container.wait_for(client, self.address)
        port = str(redis_in_container.PORT)
        self._load = Reporter(client, "redisload.py", self.address, port, str(CONNECTIONS))

    def mark(self) -> float:
        assert self._load
        return float(self._load.mark()["gap"])

    def finish(self, host: Host) -> list[str]:
        assert self._load
        told = self._load.finish()
        wrong = list(told["errors"])
        if not told.get("requests"):
            wrong.append("no request was answered")
        return wrong

    def kill(self) -> None:
        if self._load:
            self._load.kill()
