"""What only etcd has: it stops, hangs, asks for passwords, and holds what others write."""

from __future__ import annotations

import contextlib
import itertools
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrate.errors import MigrateError, UsageError
from migrate.evacuate.store.errors import (
    ClaimTaken,
    LeaseLost,
    StoreUnreachable,
    StoreUnreadable,
)
from migrate.evacuate.store.etcd import EtcdKeyValues, _base64
from migrate.evacuate.store.fleet import FleetStore
from migrate.evacuate.store.gateway import Address, Gateway
from migrate.evacuate.store.keyvalues import CALL_SECONDS
from migrate.evacuate.store.lease import now
from tests.engine import eventually
from tests.evacuate.store.certificates import Authority
from tests.evacuate.store.claimer import opened
from tests.evacuate.store.etcdserver import EtcdServer
from tests.ports import refusing_ports


def _put(url: str, key: str, value: bytes) -> None:
    body = {"key": _base64(key.encode()), "value": _base64(value)}
    Gateway(Address.parse(url)).call("/v3/kv/put", body, dict[str, Any])


@contextlib.contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    """Something that listens and gives the same answer to all, then closes; b"" for never any."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    taken.append(connection)
                    if answer:
                        asked = b""
                        while not asked.endswith(b"}"):  # what is unread would reset the connection
                            data = connection.recv(65536)
                            if not data:  # it has waited long enough
                                break
                            asked += data
                        connection.sendall(answer)
                        connection.close()

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()


def test_nobody_there_is_told_and_starts_nothing():
    with refusing_ports(2) as (first, second):
        store = opened(f"etcd://127.0.0.1:{first},127.0.0.1:{second}")
        for call in (store.overview, lambda: store.claim("host", "alpha", "empties")):
            with pytest.raises(StoreUnreachable) as told:
                call()
            assert told.value.code == 103
            assert told.value.cause.count("refused") == 2
            assert "nothing is started" in told.value.mend


def test_endpoints_are_tried_in_turn_and_the_good_one_is_kept(etcd_url: str):
    alive = etcd_url.removeprefix("etcd://")
    with _answering(b"") as silent, refusing_ports(1) as (nobody,):
        url = f"etcd://127.0.0.1:{nobody},{silent},{alive}"
        values = EtcdKeyValues(Address.parse(url))
        begun = time.monotonic()
        values.read(("claims/",), within=5)  # or it fails: not all of it goes to the silent one
        assert time.monotonic() - begun > 2
        host, port = values._gateway._order[0]
        assert f"{host}:{port}" == alive
        FleetStore(values).claim("host", "in turn", "empties").release()


def test_a_silent_store_ends_in_bounded_time():
    with _answering(b"") as silent:
        values = EtcdKeyValues(Address.parse(f"etcd://{silent}"))
        begun = time.monotonic()
        with pytest.raises(StoreUnreachable, match="can't be reached") as told:
            values.read(("claims/",), within=0.5)
        assert time.monotonic() - begun < CALL_SECONDS  # what it has by itself
        assert "no answer in time" in told.value.cause


def test_an_answer_that_drips_ends_in_bounded_time():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            connection, _ = listener.accept()
            with contextlib.suppress(OSError), connection:
                connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    connection.sendall(b" ")
                    time.sleep(0.1)

        dripping = threading.Thread(target=drip)
        dripping.start()
        address = Address.parse(f"etcd://127.0.0.1:{listener.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(StoreUnreachable, match="can't be reached"):
            EtcdKeyValues(address).read((), within=1)
        assert time.monotonic() - begun < CALL_SECONDS
        dripping.join(60)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhtml",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{",
        b'HTTP/1.1 200 OK\r\n\r\n{"header":{"revision":"many"}}',
        b'HTTP/1.1 200 OK\r\n\r\n{"header":{"revision":"1"},"responses":[{"response_range":{"kvs":'
        b'[{"key":"!!","value":"AA=="}]}}]}',
        b'HTTP/1.1 200 OK\r\n\r\n{"header":{"revision":"1"},"responses":[{"response_range":{"kvs":'
        b'[{"key":"Zm9v","value":"AA=="}]}}]}',
        b"HTTP/1.1 200 OK\r\n\r\n\xff\xfe" + b"[" * 100_000,
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nNot Found",
        b'HTTP/1.1 400 Bad\r\n\r\n{"message":"\\u001b[2Jno","code":3}',
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n{}",
    ],
)
def test_what_is_no_etcd_is_told(answer: bytes):
    with _answering(answer) as other, pytest.raises((StoreUnreachable, StoreUnreadable)) as told:
        opened(f"etcd://{other}").overview()
    assert other in str(told.value)
    assert "\x1b" not in str(told.value)


def test_an_answer_without_end_is_cut(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("migrate.evacuate.store.gateway.ANSWER_LIMIT", 1 << 20)
    with (
        _answering(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * (2 << 20)) as other,
        pytest.raises(StoreUnreadable, match="does not answer as etcd does") as told,
    ):
        opened(f"etcd://{other}").overview()
    assert "more than 1 MiB" in told.value.cause


@pytest.mark.parametrize("value", [b"", b"{}", b"\xff", b"[" * 5000, b"[1]", b'{"kind":"host"}'])
def test_garbage_in_the_store_is_named(etcd_url: str, value: bytes):
    name = f"garbage-{value[:3].hex()}-{len(value)}"
    store, claim = opened(etcd_url), f"/migrate/claims/host/{name}"
    _put(etcd_url, claim, value)
    try:
        for call in (store.overview, lambda: store.claim("host", name, "empties")):
            with pytest.raises(StoreUnreadable, match=f"no claim under claims/host/{name}"):
                call()
        store.claim("host", f"{name}-else", "others work on").release()
    finally:
        store._values.commit(store._values.read(()), {}, removes=(claim.removeprefix("/migrate/"),))
    store.overview()


def test_a_valid_value_under_anothers_key_is_no_value(server: EtcdServer):
    store = opened(server.url)
    with store.claim("host", "alpha", "empties") as lease:
        data = store._values.read((lease.claim.key,)).found[lease.claim.key]
        _put(server.url, "/migrate/claims/host/beta", data)
        with pytest.raises(StoreUnreadable) as told:
            store.claim("host", "beta", "empties")
        assert "a value for claims/host/alpha" in told.value.cause


def test_garbage_among_reservations_gives_no_room(server: EtcdServer):
    store = opened(server.url)
    _put(server.url, "/migrate/reservations/beta/x", b'{"target":"beta","memory":-1}')
    with (
        store.claim("container", "web", "moves") as lease,
        pytest.raises(StoreUnreadable, match="no reservation under reservations/beta/x"),
    ):
        store.reserve(lease, "beta", 1, 1 << 40)


def test_a_short_stop_is_survived(server: EtcdServer):
    store, told = opened(server.url), list[LeaseLost]()
    with store.claim("host", "alpha", "empties", lease_seconds=15, told=told.append) as lease:
        server.stop(kill=True)
        assert eventually(lambda: lease._why)  # a renewal has failed
        until = lease._until
        with pytest.raises(StoreUnreachable):
            store.generation("web")
        lease.check()
        server.start()
        assert eventually(lambda: lease._until > until)
        lease.check()
        assert lease._why == ""
        with pytest.raises(ClaimTaken):
            opened(server.url).claim("host", "alpha", "empties too")
    assert told == []


def test_a_long_stop_loses_the_lease_and_gives_it_to_nobody_twice(server: EtcdServer):
    store, told = opened(server.url), list[LeaseLost]()
    lease = store.claim("host", "alpha", "empties", lease_seconds=4, told=told.append)
    server.stop(kill=True)
    with pytest.raises(StoreUnreachable):
        store.claim("host", "beta", "empties")
    assert eventually(lambda: told)
    assert told[0].code == 123
    assert "can't be reached" in told[0].cause
    with pytest.raises(LeaseLost):
        store.reserve(lease, "gamma", 1, 10)
    server.start()

    def taken_over() -> bool:
        with contextlib.suppress(ClaimTaken):
            opened(server.url).claim("host", "alpha", "after it").release()
            return True
        return False

    assert eventually(taken_over, 60)
    assert lease.lost  # for good
    lease.release()
    store.claim("host", "beta", "empties").release()
    assert len(told) == 1


def test_a_store_that_hangs_loses_the_lease_in_time(server: EtcdServer):
    """By its own clock it ends before the store's 2 s are over, and is told then."""

    names = (f"alpha-{number}" for number in itertools.count())

    def is_told_in_time() -> bool:
        told: list[float] = []
        try:
            lease = opened(server.url).claim(
                "host", next(names), "empties", lease_seconds=2, told=lambda _: told.append(now())
            )
        except LeaseLost:
            return False
        server.pause(signal.SIGSTOP)
        begun = now()
        try:
            assert lease._until <= begun + 2
            assert eventually(lambda: told)
            assert lease.lost
        finally:
            server.pause(signal.SIGCONT)
        lease.release()
        return told[0] - begun < 2.6

    # Who is told may be late where the machine is busy.
    assert eventually(is_told_in_time, 60)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[list[EtcdServer]]:
    """Three members."""
    members = EtcdServer.members(tmp_path / "cluster", 3)
    try:
        for member in members:
            member.launch()
        for member in members:
            member.await_answer()
        yield members
    finally:
        for member in members:
            member.stop()


def test_a_cluster_goes_on_without_one_member_and_stands_still_without_two(
    cluster: list[EtcdServer],
):
    url = "etcd://" + ",".join(member.url.removeprefix("etcd://") for member in cluster)
    store, told = opened(url), list[LeaseLost]()
    lease = store.claim("host", "alpha", "empties", lease_seconds=9, told=told.append)
    cluster[0].stop(kill=True)  # the leader, or the endpoint that is asked first
    until = lease._until
    assert eventually(lambda: _goes_on(store), 60)
    assert eventually(lambda: lease._until > until)
    lease.check()
    with pytest.raises(ClaimTaken):
        store.claim("host", "alpha", "empties too")
    cluster[1].stop(kill=True)  # the third may hold the lease, but can't know what is so
    assert eventually(lambda: told, 40)
    with pytest.raises(StoreUnreachable):
        store._values.read(("claims/",), within=1)
    for member in cluster[:2]:
        member.launch()
    assert eventually(lambda: _goes_on(store), 60)
    assert lease.lost
    lease.release()


def _goes_on(store: FleetStore) -> bool:
    """A claim whose answer was lost is in the way until its lease ends."""
    with contextlib.suppress(StoreUnreachable, ClaimTaken, LeaseLost):
        store.claim("host", "beta", "empties", lease_seconds=5).release()
        return True
    return False


def test_claims_while_the_store_comes_and_goes(server: EtcdServer):
    """Whatever is answered: of those who think they have it, never two."""
    stop, faults = threading.Event(), list[str]()
    holding, counted = threading.Lock(), list[str]()

    def work(me: str) -> None:
        store = opened(server.url)
        while not stop.is_set():
            try:
                with store.claim("host", "alpha", me, lease_seconds=5) as lease:
                    if not holding.acquire(blocking=False):
                        faults.append(me)
                        continue
                    time.sleep(0.02)
                    counted.append("lost" if lease.lost else "held")
                    holding.release()
            except (ClaimTaken, StoreUnreachable, LeaseLost):
                time.sleep(0.01)

    threads = [threading.Thread(target=work, args=(f"worker {n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        time.sleep(1)
        before = len(counted)
        server.stop(kill=True)
        server.start()
        # An orphan of an answer that was lost ends with its lease.
        assert eventually(lambda before=before: len(counted) > before, 60)
    stop.set()
    for thread in threads:
        thread.join(60)
    assert faults == []


class _Slow(EtcdKeyValues):
    """Its writes take longer than a lease lives: before etcd has them, or after (seconds)."""

    before, after = False, 0.0

    def commit(self, *arguments: Any, lease: str = "", **options: Any) -> bool:
        if self.before:
            assert eventually(lambda: self._has_ended(lease), 60)
        done = super().commit(*arguments, lease=lease, **options)
        time.sleep(self.after)
        return done

    def _has_ended(self, lease: str) -> bool:
        told = self._gateway.call("/v3/lease/timetolive", {"ID": lease}, dict[str, Any])
        return "grantedTTL" not in told


@pytest.mark.parametrize(
    ("seconds", "before", "after", "cause"),
    [(2, True, 0.0, "too slow"), (4, False, 4.1, "answered after more than 4 s")],
)
def test_a_claim_that_comes_too_late_is_none(
    etcd_url: str, seconds: float, before: bool, after: float, cause: str
):
    slow, name = _Slow(Address.parse(etcd_url)), f"late-{seconds}"
    slow.before, slow.after = before, after
    with pytest.raises(LeaseLost) as lost:
        FleetStore(slow).claim("host", name, "empties", lease_seconds=seconds)
    assert cause in lost.value.cause
    opened(etcd_url).claim("host", name, "empties").release()


def test_users_and_passwords(server: EtcdServer, monkeypatch: pytest.MonkeyPatch):
    gateway = Gateway(Address.parse(server.url))
    for user, role in (("root", "root"), ("mover", "moves"), ("guest", "looks")):
        gateway.call("/v3/auth/user/add", {"name": user, "password": "p:@/s"}, dict[str, Any])
        gateway.call("/v3/auth/role/add", {"name": role}, dict[str, Any])
        gateway.call("/v3/auth/user/grant", {"user": user, "role": role}, dict[str, Any])
    span = {"key": _base64(b"/migrate/"), "range_end": _base64(b"/migrate0")}
    right = {"permType": "READWRITE"} | span
    gateway.call("/v3/auth/role/grant", {"name": "moves", "perm": right}, dict[str, Any])
    gateway.call("/v3/auth/enable", {}, dict[str, Any])
    host = server.url.removeprefix("etcd://")
    monkeypatch.setenv("MIGRATE_ETCD_PASSWORD", "p:@/s")
    for url in (f"etcd://mover:p%3A%40%2Fs@{host}", f"etcd://mover@{host}"):
        store = opened(url)
        store.claim("host", "alpha", "empties").release()
        _end_token(store)
        with store.claim("host", "alpha", "empties"):
            assert store.overview().claims
    for url in (f"etcd://{host}", f"etcd://mover:wrong@{host}", f"etcd://guest@{host}"):
        with pytest.raises(StoreUnreachable, match="refused") as told:
            opened(url).overview()
        assert "check user, password" in told.value.mend
        assert "p:@/s" not in str(told.value)
        assert "wrong" not in str(told.value)


def _end_token(store: FleetStore) -> None:
    values = store._values
    assert isinstance(values, EtcdKeyValues)
    assert values._gateway._token
    values._gateway._token = "ended.1"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Certificates of the test's own."""
    return Authority(tmp_path / "certificates")


def test_tls_with_certificates_on_both_sides(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    certificate, key = authority.issue("server", "127.0.0.1")
    server = EtcdServer(
        tmp_path / "tls", "--cert-file", str(certificate), "--key-file", str(key),
        "--client-cert-auth", "--trusted-ca-file", str(authority.certificate), scheme="https",
    )  # fmt: skip
    try:
        server.start()
        with pytest.raises(StoreUnreachable) as told:
            opened(server.url).overview()
        assert "see MIGRATE_ETCD_CA" in told.value.cause
        monkeypatch.setenv("MIGRATE_ETCD_CA", str(authority.certificate))
        with pytest.raises(StoreUnreachable):  # we have no certificate to show
            opened(server.url).overview()
        own, own_key = authority.issue("operator", "127.0.0.1")
        monkeypatch.setenv("MIGRATE_ETCD_CERT", str(own))
        monkeypatch.setenv("MIGRATE_ETCD_KEY", str(own_key))
        with opened(server.url).claim("host", "alpha", "empties", lease_seconds=6) as lease:
            until = lease._until
            assert eventually(lambda: lease._until > until)
            lease.check()
        with pytest.raises(MigrateError):  # etcd without TLS
            opened(server.url.replace("etcds", "etcd")).overview()
        other = server.url.replace("127.0.0.1", "localhost")
        with pytest.raises(StoreUnreachable, match="can't be reached") as told:
            opened(other).overview()
        assert "not trusted" in told.value.cause  # the certificate is another host's
        monkeypatch.setenv("MIGRATE_ETCD_KEY", str(tmp_path / "nothing"))
        with pytest.raises(UsageError, match="certificates"):
            opened(server.url)
    finally:
        server.stop()
