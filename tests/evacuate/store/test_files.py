"""What only the embedded store has: a file, a lock, and owners that may still live."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from migrate.evacuate.store import files
from migrate.evacuate.store.errors import ClaimTaken, StoreUnreachable, StoreUnreadable
from migrate.evacuate.store.files import FileKeyValues
from migrate.evacuate.store.fleet import FleetStore
from tests.engine import eventually
from tests.evacuate.store.claimer import CHECKOUT, Claimer


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where the store will be."""
    return tmp_path / "fleet"


@pytest.fixture
def store(directory: Path) -> FleetStore:
    """The store, not yet made."""
    return FleetStore(FileKeyValues(directory))


def _forge(directory: Path, **holder: Any) -> None:
    """Change the holder of the one entry that is there."""
    path = directory / "store.json"
    document = json.loads(path.read_bytes())
    (entry,) = document["entries"].values()
    entry["holder"] |= holder
    path.write_text(json.dumps(document))


def test_looking_makes_nothing_and_writing_makes_it_private(store: FleetStore, directory: Path):
    assert store.overview().claims == ()
    assert not directory.exists()
    store.claim("host", "alpha", "empties").release()
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    assert sorted(path.name for path in directory.iterdir()) == ["lock", "store.json"]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"incarnation":"a","revision":1}',
        b'{"incarnation":"a","revision":"x","entries":{}}',
        b'{"incarnation":"a","revision":1,"entries":{"claims/host/alpha":{"value":{}}}}',
        b'{"incarnation":"a","revision":1,"entries":{"claims/host/alpha":{"revision":1,"value":1,'
        b'"holder":{"pid":"1"}}}}',
    ],
)  # fmt: skip
def test_a_damaged_file_is_told_and_left_alone(store: FleetStore, directory: Path, data: bytes):
    directory.mkdir()
    (directory / "store.json").write_bytes(data)
    for call in (store.overview, lambda: store.claim("host", "alpha", "empties")):
        with pytest.raises(StoreUnreadable, match="is damaged") as told:
            call()
        assert "remove that file" in told.value.mend
    assert (directory / "store.json").read_bytes() == data


def test_a_file_beyond_bounds_is_not_read(
    store: FleetStore, directory: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "FILE_LIMIT", 2000)
    with store.claim("host", "alpha", "empties"):
        with pytest.raises(StoreUnreachable, match="is full"):
            store.claim("host", "beta", "x" * 900)
        with (directory / "store.json").open("ab") as file:
            file.write(b" " * 2000)
        with pytest.raises(StoreUnreadable, match="is damaged"):
            store.overview()


def test_garbage_under_a_key_is_named(store: FleetStore, directory: Path):
    directory.mkdir()
    entry = {"value": {"kind": "host", "name": "alpha"}, "revision": 1}
    document = {"incarnation": "a", "revision": 1, "entries": {"claims/host/alpha": entry}}
    (directory / "store.json").write_text(json.dumps(document))
    for call in (store.overview, lambda: store.claim("host", "alpha", "empties")):
        with pytest.raises(StoreUnreadable, match="no claim under claims/host/alpha"):
            call()
    store.claim("host", "beta", "empties").release()


@pytest.mark.parametrize(
    ("holder", "ends"),
    [
        ({"pid": 2**31 - 1}, True), ({"pid": -1}, True), ({"start_time": 1}, True),
        ({"boot": "another"}, True), ({"boot": "another", "machine": "another"}, False),
        ({"pid_namespace": 1, "pid": 2**31 - 1}, False), ({"pid": 1, "start_time": 0}, True),
    ],
)  # fmt: skip
def test_whose_claims_end(
    store: FleetStore, directory: Path, holder: dict[str, Any], ends: bool
):  # fmt: skip
    with store.claim("host", "alpha", "empties"):
        assert "after a crash its claim ends with its process" in _refusal(store)
        _forge(directory, **holder)
        assert (store.overview().claims == ()) is ends
        if ends:
            store.claim("host", "alpha", "empties").release()
        else:
            assert "is claimed" in _refusal(store)


def _refusal(store: FleetStore) -> str:
    with pytest.raises(ClaimTaken) as taken:
        store.claim("host", "alpha", "empties")
    return str(taken.value)


def test_a_zombies_claim_ends(store: FleetStore, directory: Path):
    claimer = Claimer(f"file://{directory}")
    assert claimer.ask("claim", "host", "alpha", 60) == "ok"
    claimer.process.kill()
    os.waitid(os.P_PID, claimer.process.pid, os.WEXITED | os.WNOWAIT)
    store.claim("host", "alpha", "empties").release()
    claimer.kill()


@pytest.mark.root
def test_an_owner_in_another_pid_namespace_is_not_taken_for_dead(
    store: FleetStore, directory: Path
):
    program = (
        "import sys; from tests.evacuate.store.claimer import opened\n"
        f"lease = opened('file://{directory}').claim('host', 'alpha', 'empties')\n"
        "print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", program],
        cwd=CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout
        assert other.stdin
        other.stdout.readline()
        assert "is claimed" in _refusal(store)
        other.stdin.close()
    assert "is claimed" in _refusal(store)  # it ended without a release, which can't be seen


def test_a_lock_that_is_kept_ends_in_bounded_time(
    store: FleetStore, directory: Path, monkeypatch: pytest.MonkeyPatch
):
    store.claim("host", "alpha", "empties").release()
    monkeypatch.setattr(files, "CALL_SECONDS", 0.3)
    with (directory / "lock").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        begun = time.monotonic()
        with pytest.raises(StoreUnreachable, match="is locked") as told:
            store.put_host("1", "alpha", "")
        assert time.monotonic() - begun < 60
        assert "fuser" in told.value.mend
        assert store.overview().hosts == ()  # looking needs no lock
    store.put_host("1", "alpha", "")


def test_a_place_that_is_no_directory_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    store = FleetStore(FileKeyValues(tmp_path / "file"))
    with pytest.raises(StoreUnreachable, match="can't be used") as told:
        store.claim("host", "alpha", "empties")
    assert told.value.code == 103


def test_a_writer_killed_at_any_moment_leaves_a_whole_file(directory: Path, store: FleetStore):
    program = (
        "from tests.evacuate.store.claimer import opened\n"
        f"store = opened('file://{directory}')\n"
        "for n in range(2, 10**6): store.moved('web', 'a', 'a', n)"
    )
    last = 1
    for turn in range(8):
        writer = subprocess.Popen([sys.executable, "-c", program], cwd=CHECKOUT)
        assert eventually(lambda last=last: _number(store) > last, 60)
        time.sleep(turn * 0.003)
        writer.kill()
        writer.wait()
        assert _number(store) > last
        last = _number(store)
        with contextlib.suppress(FileNotFoundError):
            (directory / "store.json").unlink()  # the next one begins anew
        last = 1


def _number(store: FleetStore) -> int:
    found = store.generation("web")
    return found.number if found else 1


def test_a_store_that_is_removed_meanwhile_is_no_reason_to_overwrite(
    directory: Path, store: FleetStore
):
    store.put_host("1", "alpha", "")
    before = store._values.read(("claims/host/alpha",))
    (directory / "store.json").unlink()
    with store.claim("host", "alpha", "empties"):
        assert not store._values.commit(before, {"claims/host/alpha": b"{}"})
