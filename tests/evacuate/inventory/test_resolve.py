from __future__ import annotations

from pathlib import Path

import pytest

from migrate.evacuate.errors import HostUnknown
from migrate.evacuate.inventory.hosts import Host, Inventory, resolve
from migrate.transfer.errors import TargetInvalid

WEB = Host("web1", "root@10.0.0.3:22", {"zone": "a"})
KNOWN = Inventory(Path("/etc/migrate/hosts.toml"), {"web1": WEB}, {"win": "by winrm"})


def test_a_name_of_the_inventory():
    assert resolve("web1", KNOWN) is WEB


def test_an_address_that_the_inventory_knows_is_its_host():
    assert resolve("root@10.0.0.3:22", KNOWN) is WEB


@pytest.mark.parametrize("text", ["root@10.0.0.4", "web2:22", "10.0.0.4", "root@[::1]:22", "[::1]"])
def test_any_other_address_stands_for_itself(text):
    assert resolve(text, KNOWN) == Host(text, text)


@pytest.mark.parametrize("text", ["web2", "", "-oProxyCommand=x", "a b"])
def test_a_word_that_is_neither(text):
    with pytest.raises(HostUnknown, match=r"hosts\.toml"):
        resolve(text, KNOWN)


def test_a_host_that_is_left_out_says_why():
    with pytest.raises(HostUnknown, match="winrm"):
        resolve("win", KNOWN)


@pytest.mark.parametrize("text", ["root@", "root@-x", "a:b:c", "a:0", "[::g]", "root@a b"])
def test_what_looks_like_an_address_and_is_none(text):
    with pytest.raises(TargetInvalid):
        resolve(text, KNOWN)
