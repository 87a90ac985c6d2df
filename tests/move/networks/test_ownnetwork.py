"""What a container's root has set in its own network is there after a move, and works."""

from __future__ import annotations

import json

import pytest

from migrate.bench.network import Client
from migrate.checkpoint.errors import NotDumpable
from tests.engine import eventually
from tests.hosts import Host
from tests.hosts.redis import MIGRATE
from tests.move.networks import ownnetwork, site
from tests.move.networks.site import Joined, Trio

pytestmark = [pytest.mark.root, pytest.mark.criu, pytest.mark.hosts]


def namespace_of(container: str) -> str:
    return f"/run/migrate/netns/{container}"


@pytest.mark.timeout(240)
@pytest.mark.parametrize("joined", site.DRIVERS if site.SOAK else ["bridge"], indirect=True)
def test_all_of_it_follows_and_connections_pass_the_firewall(hosts: Trio, joined: Joined) -> None:
    alpha, beta, _ = hosts
    made = site.run_joined(alpha, "server", *joined.options, *ownnetwork.OPTIONS)
    namespace = namespace_of(made)
    ownnetwork.make(alpha, "server", namespace)
    with Client(joined.place, joined.address) as client:
        assert site.answers_on(client, 100)
        before, count = ownnetwork.dump(alpha, namespace), ownnetwork.counted(alpha, namespace)
        for source, target in ((alpha, beta), (beta, alpha)):
            site.move(source, target, "server")
            assert eventually(lambda at=target: ownnetwork.dump(at, namespace) == before)
            assert ownnetwork.counted(target, namespace) == count > 0
            assert site.answers_on(client, 100)
            assert eventually(lambda: client.mark()["idle"] < 1)


@pytest.mark.timeout(240)
def test_a_namespace_without_a_link_and_what_changes_late(hosts: Trio) -> None:
    """With the driver none; also what is set when the target has prepared its place already."""
    alpha, beta, _ = hosts
    made = site.run(
        alpha, "quiet", "none", *ownnetwork.OPTIONS, program=("-c", "import signal; signal.pause()")
    )
    try:
        ownnetwork.make(alpha, "quiet", namespace_of(made))
        before = ownnetwork.dump(alpha, namespace_of(made))
        site.move(alpha, beta, "quiet")
        assert eventually(lambda: ownnetwork.dump(beta, namespace_of(made)) == before)
    finally:
        for host in (alpha, beta):
            site.remove_containers(host)


def refused(source: Host, target: Host) -> str:
    done = source.run([MIGRATE, "move", "odd", target.ssh_target, "--json"], check=False)
    told = json.loads(done.stdout.splitlines()[-1])["error"]
    assert done.returncode == NotDumpable.code, told
    return f"{told['what']} {told['mend']}"


@pytest.mark.timeout(240)
def test_what_can_not_go_along_is_refused_by_name(hosts: Trio) -> None:
    alpha, beta, _ = hosts
    made = site.run(alpha, "odd", "none", program=("-c", "import signal; signal.pause()"))
    inside = ["nsenter", f"--net={namespace_of(made)}"]
    try:
        for words, undo, named in (
            ("ip link add odd0 type ifb", "ip link del odd0", "odd0 is of the kind 'ifb'"),
            ("tc qdisc add dev lo root tbf rate 1mbit burst 9k latency 9ms",
             "tc qdisc del dev lo root", "traffic control (tbf)"),
            ("ip xfrm policy add dir out src 10.1.1.1 dst 10.1.1.2",
             "ip xfrm policy deleteall", "IPsec"),
            ("xtables-nft-multi iptables -A INPUT -m recent --set",
             "xtables-nft-multi iptables -F", "extension 'recent'"),
            ("xtables-legacy-multi iptables -A INPUT -p udp -j DROP",
             "xtables-legacy-multi iptables -F", "iptables-legacy"),
            ("ip nexthop add id 7 blackhole", "ip nexthop del id 7", "nexthop objects"),
        ):  # fmt: skip
            alpha.run([*inside, *words.split()])
            assert named in (told := refused(alpha, beta)), told
            assert "--skip-check own-network" in told
            alpha.run([*inside, *undo.split()])
        site.move(alpha, beta, "odd")
    finally:
        for host in (alpha, beta):
            site.remove_containers(host)
