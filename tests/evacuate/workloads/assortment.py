"""So many containers of all kinds, at addresses of the hosts' network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from migrate.bench.hosts import make_image as make_bench_image
from tests.evacuate.workloads import nginx, postgres
from tests.evacuate.workloads.nginx import Nginx
from tests.evacuate.workloads.plain import Counter, MemoryWriter
from tests.evacuate.workloads.postgres import Postgres
from tests.evacuate.workloads.redis import LoadedRedis, Redis
from tests.evacuate.workloads.workload import Workload
from tests.hosts import redis
from tests.hosts.host import Host
from tests.hosts.lan import Lan
from tests.hosts.redis import MIGRATE
from tests.move.fixtures import make_counter_image

REDIS_SHARE, MEMORY_SHARE = 7, 6  # one in so many


def address(number: int) -> str:
    """The so-many-th that hosts leave to containers."""
    return f"10.77.0.{100 + number}"


def make_images(lan: Lan, host: Host, *others: Host) -> None:
    """All that the workloads need, on the host where they begin: the others get them by moves.

    `others` get the one image that clients in containers have.
    """
    make_counter_image(lan.shared, host)
    make_bench_image(lan.shared / "bench.tar", [host, *others], MIGRATE)
    redis.make_image(lan.shared, host)
    postgres.make_image(lan.shared, host)
    nginx.make_image(lan.shared, host)


def one_of_each(shared: Path) -> list[Workload]:
    """Each kind of workload once."""
    return [
        Redis("redis-0", address(0)), Postgres("postgres", address(2), shared),
        Nginx("nginx", address(3)), Counter("counter-0"), MemoryWriter("memory-0"),
    ]  # fmt: skip


def assortment(count: int, shared: Path, spanned: Sequence[Workload]) -> list[Workload]:
    """`count` (10 at least) containers: each kind and network driver, then more small ones.

    `spanned`: those of the networks over several hosts.
    """
    made = [*one_of_each(shared), *spanned]
    bridge = ("--network", "bridge", "--bridge", "br-lan", "--ip", f"{address(4)}/24")
    made += [
        LoadedRedis("redis-loaded", address(1)), Counter("counter-host", ("--network", "host")),
        Counter("counter-bridge", bridge),
    ]  # fmt: skip
    for number in range(1, count - len(made) + 1):
        if number % REDIS_SHARE == 0:
            made.append(Redis(f"redis-{number}", address(10 + number)))
        elif number % MEMORY_SHARE == 0:
            made.append(MemoryWriter(f"memory-{number}"))
        else:
            made.append(Counter(f"counter-{number}"))
    return made
