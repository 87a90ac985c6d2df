"""A namespace is made like another one, and a checkpoint keeps what root has set in its own."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from migrate.checkpoint.errors import NetworkNotRestored
from migrate.checkpoint.netns.contents import Contents, check
from migrate.checkpoint.netns.putting import Namespace
from migrate.checkpoint.netns.reading import Reader
from migrate.kernel import netns
from tests.checkpoint.conftest import Place
from tests.move.networks import ownnetwork

pytestmark = [pytest.mark.root]


class Here:
    """This machine as `ownnetwork` takes a host."""

    def run(self, command: Sequence[Any], **_options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, check=False, capture_output=True, text=True)


HERE: Any = Here()


def set_up(namespace: Path, script: str = ownnetwork.SCRIPT.read_text()) -> None:
    done = HERE.run(["nsenter", f"--net={namespace}", "sh", "-ec", script])
    assert done.returncode == 0, done.stderr


def shown(namespace: Path) -> list[str]:
    return ownnetwork.dump(HERE, str(namespace))


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    made = tmp_path / "one", tmp_path / "other"
    for path in made:
        netns.create(path)
    yield made
    for path in made:
        netns.delete(path)


def read(namespace: Path) -> Contents:
    """As it comes to another host."""
    with Reader(namespace) as reader:
        found = reader.read()
        assert reader.complaints == []
    found = msgspec.json.decode(msgspec.json.encode(found), type=Contents)
    check(found)
    return found


def test_all_is_put_in_and_then_only_what_has_changed(pair: tuple[Path, Path]) -> None:
    one, other = pair
    set_up(one)
    set_up(one, "sysctl -qw net.core.somaxconn=77 net.ipv4.tcp_fin_timeout=9")
    wanted, namespace = read(one), Namespace(other)
    namespace.prepare(wanted)
    assert "chain input" not in "\n".join(shown(other)), "rules are for the end"
    set_up(one, """
        ip route del blackhole 10.203.0.0/16; ip addr del 10.200.0.2/24 dev br0
        ip rule del pref 500; ip neigh del 10.200.0.9 dev br0; ip link del in0
        ip link add late0 address 02:00:00:00:00:90 type veth peer name late1
        ip link set late1 address 02:00:00:00:00:91
        ip link set late1 up; ip link set late0 up; ip addr add 10.210.0.1/24 dev late0
        ip route add prohibit 10.211.0.0/16; ip route replace 10.202.0.0/16 via 10.200.0.10 metric 7
        nft add element inet own seen { 10.1.1.1 timeout 50s }
        nft add element inet own fixed { 11.0.0.0/8 . 80 }
        sysctl -qw net.core.somaxconn=4096 net.ipv4.tcp_keepalive_time=98
        sysctl -qw net.ipv4.conf.all.rp_filter=2
    """)  # fmt: skip
    late = read(one)
    namespace.update(late)
    namespace.put_rules(late)
    assert shown(other) == shown(one)


def test_one_that_has_nothing_is_quick_to_read(pair: tuple[Path, Path]) -> None:
    """Once it is open: no more than a few processes that do nothing, in turns with them."""
    reads, processes = [], []
    with Reader(pair[0]) as reader:
        reader.read()
        for turn in range(200):  # as long as others hold the kernel's lock of all networks
            if turn >= 10 and min(reads) < 4 * min(processes):
                break
            begun = time.perf_counter()
            found = reader.read()
            reads.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            subprocess.run(["/bin/true"], check=True)
            processes.append(time.perf_counter() - begun)
    assert min(reads) < 4 * min(processes)
    assert found.ruleset == ()


def test_what_the_kernel_does_not_take_is_named(pair: tuple[Path, Path]) -> None:
    one, other = pair
    set_up(one)
    found = read(one)
    with pytest.raises(NetworkNotRestored, match=r"net.ipv4.no_such_thing"):
        Namespace(other).prepare(Contents(settings={"ipv4/no_such_thing": "1"}))
    no_chains = tuple(entry for entry in found.ruleset if entry.part != 3)
    with pytest.raises(NetworkNotRestored, match="nftables table"):
        Namespace(other).prepare(Contents(ruleset=no_chains))
    lost = dataclasses.replace(next(link for link in found.links if link.name == "br0"), lower=77)
    with pytest.raises(NetworkNotRestored, match="below br0"):
        Namespace(other).prepare(Contents(links=(lost,)))


@pytest.mark.criu
def test_a_checkpoint_keeps_it(place: Place) -> None:
    """Counters and all: nothing counts meanwhile."""
    record = place.counter(capabilities=("CAP_NET_ADMIN",))
    namespace = place.paths.container(record.identifier).netns
    set_up(namespace)
    set_up(namespace, "nft add element inet own seen { 10.1.1.1 counter packets 5 bytes 700 }")
    before, counters = shown(namespace), listed(namespace)
    place.migrate("checkpoint", "counter", "-o", "saved")
    assert not namespace.exists()
    place.migrate("restore", "saved")
    assert shown(namespace) == before
    assert listed(namespace) == counters
    assert "10.1.1.1 counter packets 5 bytes 700" in counters
    place.counts_on(record)


def listed(namespace: Path) -> str:
    """The ruleset with its counters, without the time that is left to elements."""
    told = HERE.run(["nsenter", f"--net={namespace}", "nft", "list", "ruleset"]).stdout
    return re.sub(r"expires \S+", "", " ".join(told.split()))
