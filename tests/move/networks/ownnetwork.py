"""What a container's root sets in its own network, and full dumps of it to compare."""

from __future__ import annotations

import re
from pathlib import Path

from tests.hosts.host import Host
from tests.hosts.redis import MIGRATE

SCRIPT = Path(__file__).parent / "programs/ownnetwork.sh"
PATH = ("-e", "PATH=/usr/sbin:/usr/bin")
OPTIONS = ("--cap-add", "CAP_NET_ADMIN", *PATH)
SETTINGS = (
    "net.ipv4.ip_forward=1", "net.ipv4.tcp_keepalive_time=99", "net.core.somaxconn=999",
    "net.ipv4.ip_local_port_range=20000 30000", "net.ipv6.conf.br0.accept_ra=0",
    "net.ipv4.conf.eth0.log_martians=1", "net.netfilter.nf_conntrack_tcp_timeout_established=7777",
)  # fmt: skip
DUMP = """
ip -d -o addr; ip -d -o link; ip route show table all; ip -6 route show table all; ip rule
ip -6 rule; ip neigh show nud permanent; ip neigh show proxy
nft list ruleset; xtables-nft-multi iptables-save; sysctl -a 2>/dev/null | grep '^net'
"""
CHANGING = (
    r"@if\d+", r"link-netnsid \d+", r"valid_lft.*", r"\w+_timer +[\d.]+", r"expires \w+",
    r"packets \d+ bytes \d+", r"\[\d+:\d+\]", r"(?m)^#.*$", r" (linkdown|tentative)", r"^\d+: ",
    r"net\.netfilter\.nf_conntrack_count = \d+", r"(?m)^net\..*(nf_log|neigh\.eth0).*$",
    r"(?m)^.*(fe80:|ff00:).*proto kernel.*$",
    r"state (UP|UNKNOWN|DOWN|LOWERLAYERDOWN)", r"[A-Z]*NO-CARRIER,|,LOWER_UP", r"qdisc \S+",
)  # fmt: skip


def make(host: Host, name: str, namespace: str) -> None:
    """By the container's own root; settings by the host's, for /proc/sys is read-only inside."""
    done = host.run([MIGRATE, "exec", name, "sh", "-c", SCRIPT.read_text()])
    assert done.stdout.endswith("done\n"), done.stdout + done.stderr
    inside = ["nsenter", f"--net={namespace}"]
    has_eth0 = host.run([*inside, "ip", "link", "show", "eth0"], check=False).returncode == 0
    wanted = [setting for setting in SETTINGS if has_eth0 or "eth0" not in setting]
    host.run([*inside, "sysctl", "-q", "-w", *wanted])


def dump(host: Host, namespace: str) -> list[str]:
    """All of a namespace, without what changes while traffic goes on."""
    told = host.run(["nsenter", f"--net={namespace}", "sh", "-c", DUMP]).stdout
    for pattern in CHANGING:
        told = re.sub(pattern, "", told)
    lines = (re.sub(r" +", " ", line).strip() for line in told.splitlines())
    return sorted(line for line in lines if line)


def counted(host: Host, namespace: str) -> int:
    """How many packets have gone through the chain's own counter."""
    told = host.run(["nsenter", f"--net={namespace}", "nft", "list", "counters"]).stdout
    found = re.search(r"packets (\d+)", told)
    assert found, told
    return int(found[1])
