"""`migrate commit`: the image is what the container had become, and is run as it was."""

from __future__ import annotations

import json

import pytest

from migrate.images.importing import import_rootfs
from migrate.images.model import new_document
from migrate.images.store import Store, image_from_document
from tests.engine import Engine, eventually

pytestmark = pytest.mark.root


def test_what_was_written_is_in_the_image_and_what_was_removed_is_not(engine: Engine):
    store = Store(engine.paths.images)
    plain = import_rootfs(store, engine.rootfs, "plain")
    config = {"Entrypoint": ["sh", "-c"], "Cmd": ["echo default"], "Labels": {"a": "b"}}
    document = new_document(list(plain.diff_ids), config)
    store.put_image(image_from_document(document, ("base:latest",)))
    script = "rm /etc/group; echo new > /new; echo secret > /v/x; echo up; sleep 100"
    engine.ok("run", "-d", "--name", "c", "-e", "X=y", "-w", "/tmp", "-v", "v:/v", "base", script)
    assert eventually(lambda: "up" in engine.ok("logs", "c"))
    assert engine.ok("commit", "c", "made:1") == "made:1"
    assert engine.status("c")["status"] == "running"
    found = json.loads(engine.ok("image", "inspect", "made:1"))
    assert found["layers"][:-1] == list(plain.diff_ids)
    assert found["config"]["Labels"] == {"a": "b"}
    assert found["config"]["Cmd"] == [script]
    look = "cat /new; echo $X $PWD; ls /etc/group /v/x"
    done = engine.call("run", "--rm", "made:1", look)
    assert done.stdout == "new\ny /tmp\n"
    assert done.stderr.count("No such file") == 2
    engine.ok("stop", "-t", "0", "c")
    assert engine.ok("commit", "--no-pause", "c", "made:1") == "made:1"
    engine.fails("commit", "c", "Bad Name", code=29)
    engine.fails("commit", "nobody", "x", code=35)
    engine.ok("rm", "-f", "c")


def test_a_rootfs_directory_becomes_its_lowest_layer(engine: Engine):
    engine.detached("--name", "r", "sh", "-c", "echo x > /made; sleep 100")
    assert eventually(lambda: engine.call("exec", "r", "test", "-s", "/made").returncode == 0)
    engine.ok("commit", "r", "of-rootfs")
    assert len(json.loads(engine.ok("image", "inspect", "of-rootfs"))["layers"]) == 2
    assert engine.ok("run", "--rm", "of-rootfs", "cat", "/made") == "x"
    engine.ok("rm", "-f", "r")
