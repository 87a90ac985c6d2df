"""Bandwidth limits: token buckets (tc-tbf(8)) at both ends of a container's pair."""

from __future__ import annotations

from pathlib import Path

from migrate.kernel import netlink
from migrate.runtime.records import Network

LEAST_RATE = 64_000  # bits a second
_LARGEST_SEGMENT = 128 << 10  # bytes; a pair carries segments of up to 64 KiB
_QUEUED = 0.05  # seconds


def limit(netns: Path, inside: str, port: str, network: Network) -> None:
    """Set the limits that the container has; raises what netlink does.

    What it sends is limited at its own end, what it receives at the host's.
    """
    if network.rate_out:
        netlink.limit_rate(netns, inside, *bucket(network.rate_out))
    if network.rate_in:
        netlink.limit_rate(None, port, *bucket(network.rate_in))


def bucket(rate: int) -> tuple[int, int, int]:
    """Bytes a second, bytes at once, and bytes that may wait, for a rate in bits a second."""
    each_second = max(rate, LEAST_RATE) // 8
    at_once = max(each_second // 250, _LARGEST_SEGMENT)
    return each_second, at_once, max(int(each_second * _QUEUED), 2 * _LARGEST_SEGMENT)
