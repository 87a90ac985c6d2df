"""All that a host has of networks, line by line, to be compared before and after."""

from __future__ import annotations

import re
import sys
import time

from tests.hosts import Lan, network
from tests.hosts.host import CHECKOUT, Machine

_SCRIPT = """
ip -o link; ip -o addr; ip -4 route show table all; ip -6 route show table all
ip neigh; bridge fdb; ls /run/migrate/netns /run/netns 2>/dev/null
for d in $(ls /sys/class/net); do tc qdisc show dev $d; done
PYTHONPATH="$CHECKOUT" "$PYTHON" - <<'END'
from migrate.kernel import nftables
for family in (nftables.IPV4, nftables.IPV6):
    for table in nftables.tables(family):
        print("nft table", family, table)
        for comment in nftables.comments(family, table):
            print("nft rule", family, table, comment)
END
"""
# What changes by itself: the state of a neighbour or a link, and what is left of a lifetime.
_FLEETING = re.compile(
    r" (REACHABLE|STALE|DELAY|PROBE|linkdown|tentative|noprefixroute)\b|state \S+|<\S+>"
    r"|\\ +valid_lft.*|qdisc \S+|expires \S+"
)
# What the link has taught: other machines (tests/hosts/host.py has their addresses), and that
# something is on the far side of the cable.
_LEARNED = re.compile(
    r"lladdr 02:4d:00:00:00|^02:4d:00:00:00|dev eth0 master br-lan *$|FAILED|INCOMPLETE"
)


def macs(lan: Lan) -> frozenset[str]:
    """The MAC addresses of all machines, and of the network between them."""
    told = [
        machine.run(["sh", "-c", "cat /sys/class/net/*/address"]).stdout.split()
        for machine in lan.machines
    ]
    own = network.within(
        lan.net, lambda handle: [link.get_attr("IFLA_ADDRESS") for link in handle.get_links()]
    )
    return frozenset(mac for each in (*told, own) for mac in each)


def netdump(host: Machine, others: frozenset[str] = frozenset()) -> set[str]:
    """Links, addresses, routes, neighbours, bridge entries, queues, nf_tables, namespaces.

    What the host knows of `others` (MAC addresses of machines) is left out.
    """
    told = host.run(
        ["sh", "-c", _SCRIPT], env={"PYTHON": sys.executable, "CHECKOUT": str(CHECKOUT)}
    ).stdout
    lines = (
        line
        for line in told.splitlines()
        if not _LEARNED.search(line) and others.isdisjoint(line.partition("lladdr ")[2].split())
    )
    return {_FLEETING.sub("", line).strip() for line in lines}


def await_ipv6(machine: Machine) -> None:
    """Until the kernel has done with its addresses: it takes a second or two after a boot."""
    while "tentative" in machine.run(["ip", "-6", "addr"]).stdout:
        time.sleep(0.05)
