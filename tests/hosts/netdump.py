"""All that a host has of networks, line by line, to be compared before and after."""

from __future__ import annotations

import re
import sys

from tests.hosts.host import CHECKOUT, Machine

_SCRIPT = """
ip -o link; ip -o addr; ip -4 route show table all; ip -6 route show table all
ip neigh | grep -v FAILED; bridge fdb; ls /run/migrate/netns /run/netns 2>/dev/null
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
# What changes by itself: the state of a neighbour, and what is left of a lifetime.
_FLEETING = re.compile(
    r" (REACHABLE|STALE|DELAY|PROBE)$|\\? +valid_lft.*|qdisc \S+ \S+:|expires \S+"
)


def netdump(host: Machine) -> set[str]:
    """Links, addresses, routes, neighbours, bridge entries, queues, nf_tables, namespaces."""
    told = host.run(
        ["sh", "-c", _SCRIPT], env={"PYTHON": sys.executable, "CHECKOUT": str(CHECKOUT)}
    ).stdout
    return {_FLEETING.sub("", line).strip() for line in told.splitlines()}
