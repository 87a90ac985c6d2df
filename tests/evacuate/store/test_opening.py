"""What `--store` may say."""

from __future__ import annotations

from pathlib import Path

import pytest

from migrate.errors import UsageError
from migrate.evacuate.store.gateway import Address
from migrate.evacuate.store.opening import open_store
from migrate.runtime.paths import Paths


def test_without_a_url_it_is_this_machines(tmp_path: Path):
    paths = Paths(tmp_path / "state", tmp_path / "run")
    assert str(tmp_path / "state/fleet/store.json") in open_store(None, paths).place
    assert str(tmp_path / "x/store.json") in open_store(f"file://{tmp_path}/x", paths).place
    assert list(tmp_path.iterdir()) == []


def test_hosts_ports_and_passwords():
    environment = {"MIGRATE_ETCD_PASSWORD": "secret", "MIGRATE_ETCD_CA": "/ca.pem"}
    plain = Address.parse("etcd://10.0.0.5,store:2381,[::1]:99,[fe80::1]", environment)
    assert plain.endpoints == (
        ("10.0.0.5", 2379), ("store", 2381), ("::1", 99), ("fe80::1", 2379)
    )  # fmt: skip
    assert (plain.secure, plain.user, plain.authority) == (False, "", "")
    assert str(plain) == "etcd at 10.0.0.5:2379,store:2381,[::1]:99,[fe80::1]:2379"
    secure = Address.parse("etcds://mover@store/", environment)
    assert (secure.secure, secure.user, secure.password) == (True, "mover", "secret")
    assert secure.authority == "/ca.pem"
    named = Address.parse("etcd://mover:p%40ss:w@store", environment)
    assert (named.user, named.password) == ("mover", "p@ss:w")
    for shown in (str(named), repr(named), repr(secure)):
        assert "p@ss" not in shown
        assert "secret" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "etcd://", "etcd://:2379", "etcd://a,,b", "etcd://a:0", "etcd://a:65536", "etcd://a:1x",
        "etcd://a:²", "etcd://[::1", "etcd://a b", "etcd://a/path", "etcd://:hidden@a",
        "etcd://[::1]x", "etcd://[::1]:", "etcd://a::1", "etcd://a\r\nHost: b",
        "etcd://" + ",".join(["a"] * 17),
        "http://a:2379", "redis://a", "relative/path", "file://relative", "etcd:a",
        "etcd://[]:2379", "etcd://a\x1b[2J",
    ],
)  # fmt: skip
def test_what_is_no_store(url: str, tmp_path: Path):
    with pytest.raises(UsageError, match=r"no store|no address") as told:
        open_store(url, Paths(tmp_path, tmp_path))
    assert "hidden" not in str(told.value)
    assert "etcd://HOST:PORT" in told.value.mend
