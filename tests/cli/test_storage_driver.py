"""The storage driver of a container: chosen, recorded, and the same life with each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.btrfs import mounted_btrfs
from tests.engine import Engine, eventually

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def on_btrfs(tmp_path_factory: pytest.TempPathFactory, busybox: Path) -> Iterator[Engine]:
    with mounted_btrfs(tmp_path_factory.mktemp("engine")) as place:
        made = Engine(place / "host", busybox)
        made.ok("image", "import", "--rootfs", busybox, "box")
        yield made
        made.clear()
        assert eventually(lambda: made.leftovers() == []), made.leftovers()


@pytest.mark.parametrize("driver", ["overlay", "btrfs", "vfs"])
def test_the_same_life_with_each(on_btrfs: Engine, driver: str):
    engine = on_btrfs
    engine.ok("--storage-driver", driver, "run", "-d", "--name", "c", "-u", "alice", "box", "sh",
              "-c", "echo mine > /tmp/mine; sleep 100")  # fmt: skip
    record = json.loads(engine.ok("inspect", "c"))["record"]
    assert record["storage"] == driver
    assert eventually(lambda: engine.call("exec", "c", "test", "-s", "/tmp/mine").returncode == 0)
    engine.ok("exec", "-u", "0", "c", "sh", "-c", "rm /etc/group; echo more >> /etc/passwd")
    assert engine.ok("commit", "c", f"made-{driver}") == f"made-{driver}:latest"
    engine.ok("stop", "-t", "0", "c")
    engine.ok("start", "c")
    assert engine.ok("exec", "c", "cat", "/tmp/mine") == "mine"
    engine.ok("rm", "-f", "c")
    look = "cat /tmp/mine; tail -n 1 /etc/passwd; ls /etc/group"
    done = engine.call("run", "--rm", f"made-{driver}", "sh", "-c", look)
    assert done.stdout == "mine\nmore\n"
    assert "No such file" in done.stderr
    assert "freed" in engine.ok("image", "prune")
    assert not list((engine.paths.images / "shared-trees").glob("*"))


@pytest.mark.parametrize("driver", ["overlay", "btrfs", "vfs"])
def test_a_user_namespace_with_each(on_btrfs: Engine, driver: str):
    """On the disk are the container's own ids, which are shown mapped."""
    engine = on_btrfs
    engine.ok("--storage-driver", driver, "run", "-d", "--name", "mapped", "--userns", "auto",
              "--rootfs", engine.rootfs, "sleep", "1000")  # fmt: skip
    engine.ok("exec", "mapped", "sh", "-c", "echo x > /made; chown 3:4 /made")
    look = ("exec", "mapped", "stat", "-c", "%u:%g", "/made", "/bin/busybox")
    assert engine.ok(*look).split() == ["3:4", "0:0"]
    own = engine.paths.container(engine.status("mapped")["id"])
    tree = own.upper if driver == "overlay" else own.tree
    assert (tree / "made").stat().st_uid == 3
    engine.ok("rm", "-f", "mapped")


def test_who_chooses(on_btrfs: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine, config = on_btrfs, tmp_path / "config.toml"

    def chosen(*words: str) -> str:
        identifier = engine.ok(*words, "create", "box", "true")
        storage = json.loads(engine.ok("inspect", identifier))["record"]["storage"]
        engine.ok("rm", "-f", identifier)
        return storage

    assert chosen() == "overlay"  # what works best
    monkeypatch.setitem(engine.environment, "MIGRATE_CONFIG", str(config))
    config.write_text('[storage]\ndriver = "btrfs"\n')
    assert chosen() == "btrfs"
    monkeypatch.setitem(engine.environment, "MIGRATE_STORAGE_DRIVER", "vfs")
    assert chosen() == "vfs"
    assert chosen("--storage-driver", "overlay") == "overlay"
    monkeypatch.delitem(engine.environment, "MIGRATE_STORAGE_DRIVER")
    config.write_text('[storage]\ndriver = "zfs"\n')
    assert "there are overlay, btrfs, vfs" in engine.fails("create", "box", "true", code=62)
    assert "zfs" in json.dumps(json.loads(engine.call("doctor", "--json").stdout))
    for text in ("[storage", '[store]\ndriver = "vfs"', "[storage]\ndriver = 3"):
        config.write_text(text)
        engine.fails("create", "box", "true", code=64)
    assert engine.call("--storage-driver", "zfs", "ps").returncode == 2


def test_btrfs_is_refused_where_it_is_not(engine: Engine):
    words = ("--storage-driver", "btrfs", "create", "--rootfs", engine.rootfs, "true")
    engine.fails(*words, code=62)
    assert engine.leftovers() == []


@pytest.mark.criu
@pytest.mark.parametrize(("source", "target"), [("overlay", "vfs"), ("vfs", "btrfs"),
                                                ("btrfs", "overlay")])  # fmt: skip
def test_a_checkpoint_of_one_is_restored_on_another(
    on_btrfs: Engine, tmp_path: Path, source: str, target: str
):
    engine, name = on_btrfs, f"from-{source}"
    script = "exec 3> /open; i=0; while :; do i=$((i+1)); echo $i >&3; sleep 0.02; done"
    engine.ok("--storage-driver", source, "run", "-d", "--name", name, "box", "sh", "-c", script)

    def lines() -> int:
        return int(engine.ok("exec", name, "sh", "-c", "cat /open | wc -l"))

    assert eventually(lambda: lines() > 20)
    engine.ok("exec", name, "rm", "/etc/group")
    before = lines()
    engine.ok("checkpoint", name, "-o", tmp_path / "saved.tar.zst")
    engine.ok("--storage-driver", target, "restore", tmp_path / "saved.tar.zst")
    assert json.loads(engine.ok("inspect", name))["record"]["storage"] == target
    assert eventually(lambda: lines() > before + 20)
    # of a copy: the file itself grows between two looks at it
    gapless = "cp /open /a; seq $(wc -l < /a) | cmp - /a && echo same"
    assert "same" in engine.ok("exec", name, "sh", "-c", gapless)
    assert engine.call("exec", name, "ls", "/etc/group").returncode == 1
    engine.ok("checkpoint", name, "-o", tmp_path / "again.tar.zst")
    engine.ok("rm", "-f", name)
