"""UDP from another host: held while the server is frozen, never refused, and answered after it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.engine import eventually
from tests.evacuate.workloads.workload import Reporter
from tests.hosts.redis import MIGRATE
from tests.move.networks import site
from tests.move.networks.site import Joined, Trio

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]
PROGRAM = Path(__file__).parent / "programs/datagrams.py"
PORT = "7400"


@pytest.mark.timeout(100 + 30 * site.TURNS)
def test_datagrams_wait_for_the_thaw(hosts: Trio, joined: Joined) -> None:
    ends = hosts[:2]
    site.run_program(
        ends[0], "server", *joined.options, "-v", f"{PROGRAM.parent}:/programs:ro",
        program=("/programs/datagrams.py", "serve", PORT),
    )  # fmt: skip
    assert eventually(
        lambda: "ready" in ends[0].run([MIGRATE, "logs", "server"]).stdout, site.START_LIMIT
    )
    client = Reporter(joined.client, str(PROGRAM), "ask", joined.address, PORT)
    for turn in range(site.TURNS):
        client.mark()
        frozen = site.move(ends[turn % 2], ends[(turn + 1) % 2], "server")["freeze_seconds"]
        told = client.mark()
        assert told["errors"] == []
        assert told["gap"] < float(frozen) + 5.0
    assert eventually(lambda: client.mark()["asked"] > 100 * site.TURNS)
    told = client.finish()
    assert told["errors"] == []
    assert told["lost"] == 0
