"""Rules in the kernel, in a network namespace of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from migrate.kernel import namespaces, nftables
from migrate.kernel.nftables import IPV4, IPV6, Chain, Rule

pytestmark = pytest.mark.root
CHAINS = (Chain("in", "nat", "prerouting", -100), Chain("out", "nat", "postrouting", 100),
          Chain("first", "filter", "prerouting", -300))  # fmt: skip


def apart(work: Callable[[], Any]) -> Any:
    """Run it in a thread with a network namespace of its own."""
    told: list[Any] = []

    def run() -> None:
        namespaces.unshare(namespaces.CLONE_NEWNET)
        try:
            told.append(work())
        except BaseException as error:  # noqa: BLE001 -- raised again below
            told.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if isinstance(told[0], BaseException):
        raise told[0]
    return told[0]


def rule(chain: str, owner: str, *parts: list[nftables.Expression]) -> Rule:
    return Rule(chain, owner, tuple(expression for part in parts for expression in part))


def every_kind(owner: str, subnet: str, target: str) -> list[Rule]:
    return [
        rule("in", owner, nftables.destination_port("udp", 53), nftables.to_this_host(),
             nftables.redirect(target, 5353)),
        rule("out", owner, nftables.address(subnet, source=True),
             nftables.address(subnet, source=False, other=True),
             nftables.interface("br0", incoming=False, other=True), nftables.masquerade()),
        rule("out", owner, nftables.was_redirected(), nftables.masquerade()),
        rule("first", owner, nftables.interface("br0", incoming=True), nftables.drop()),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("family", "subnet", "target"),
    [(IPV4, "10.0.0.0/20", "10.0.0.2"), (IPV6, "fd00::/61", "fd00::2")],
)
def test_rules_come_and_go_by_their_owner_and_the_table_with_the_last(family, subnet, target):
    def work() -> None:
        for owner in ("one", "two"):
            nftables.add(family, "ours", CHAINS, every_kind(owner, subnet, target))
        assert sorted(nftables.comments(family, "ours")) == ["one"] * 4 + ["two"] * 4
        nftables.remove(family, "ours", CHAINS, "one")
        nftables.remove(family, "ours", CHAINS, "one")
        assert nftables.comments(family, "ours") == ["two"] * 4
        nftables.remove(family, "ours", CHAINS, "two")
        assert nftables.tables(family) == []
        nftables.remove(family, "ours", CHAINS, "two")
        assert nftables.comments(family, "ours") == []

    apart(work)


def test_what_others_have_stays():
    def work() -> None:
        nftables.add(IPV4, "theirs", CHAINS, [rule("out", "one", nftables.masquerade())])
        nftables.add(IPV4, "ours", CHAINS, [rule("out", "one", nftables.masquerade())])
        nftables.remove(IPV4, "ours", CHAINS, "one")
        assert nftables.tables(IPV4) == ["theirs"]
        assert nftables.comments(IPV4, "theirs") == ["one"]

    apart(work)


def test_all_or_nothing():
    def work() -> None:
        wrong = rule("no-such-chain", "one", nftables.masquerade())
        with pytest.raises(OSError, match="No such file"):
            nftables.add(IPV4, "ours", CHAINS, [rule("out", "one", nftables.masquerade()), wrong])
        assert nftables.tables(IPV4) == []

    apart(work)
