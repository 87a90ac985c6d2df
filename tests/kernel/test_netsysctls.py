"""Which settings of a network namespace are not those of a new one."""

from __future__ import annotations

from migrate.kernel.netsysctls import changed

NEW = {
    "ipv4/ip_forward": "0", "ipv4/tcp_ecn": "2", "ipv4/conf/all/rp_filter": "0",
    "ipv4/conf/default/rp_filter": "0", "ipv4/conf/lo/rp_filter": "0",
    "ipv4/conf/all/forwarding": "0", "ipv4/neigh/lo/ucast_solicit": "3",
}  # fmt: skip
SAME = {**NEW, "ipv4/conf/eth0/rp_filter": "0", "ipv4/neigh/eth0/ucast_solicit": "3"}


def test_an_interface_begins_with_the_defaults() -> None:
    assert changed(SAME, NEW) == {}


def test_what_differs_is_told_and_what_a_new_namespace_has_not() -> None:
    values = {**SAME, "ipv4/tcp_ecn": "1", "ipv4/neigh/eth0/ucast_solicit": "5", "ipv4/x": "1"}
    assert changed(values, NEW) == {
        "ipv4/tcp_ecn": "1", "ipv4/neigh/eth0/ucast_solicit": "5", "ipv4/x": "1"
    }  # fmt: skip


def test_with_one_for_all_go_those_of_every_interface() -> None:
    values = {**SAME, "ipv4/conf/all/rp_filter": "1"}
    assert changed(values, NEW) == {
        "ipv4/conf/all/rp_filter": "1", "ipv4/conf/default/rp_filter": "0",
        "ipv4/conf/lo/rp_filter": "0", "ipv4/conf/eth0/rp_filter": "0",
    }  # fmt: skip
    assert "ipv4/conf/all/forwarding" in changed({**SAME, "ipv4/ip_forward": "1"}, NEW)
