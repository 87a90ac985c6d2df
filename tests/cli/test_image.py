"""`migrate image pull`, `push` and `import docker://…` as commands."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from tests.engine import Engine
from tests.evacuate.store.certificates import Authority
from tests.images.registryserver import CREDENTIALS, passwords, serving

pytestmark = pytest.mark.root


def test_push_and_pull(engine: Engine, tmp_path: Path):
    authority = Authority(tmp_path / "authority")
    engine.ok("image", "import", "--rootfs", engine.rootfs, "box")
    auth = passwords(tmp_path / "htpasswd")
    with serving(tmp_path / "registry", tls=authority, auth=auth) as registry:
        options = ("--creds", CREDENTIALS, "--ca", authority.certificate)
        name = f"{registry.host}/box:1"
        assert engine.ok("image", "push", *options, "box", name) == name
        identifier = json.loads(engine.ok("image", "inspect", "box"))["id"]
        engine.ok("image", "rm", "box")
        engine.ok("image", "prune")
        assert engine.ok("image", "pull", *options, name) == name
        assert json.loads(engine.ok("image", "inspect", name))["id"] == identifier
        assert engine.ok("image", "import", *options, f"docker://{name}", "again") == "again:latest"
        assert engine.ok("run", "--rm", name, "echo", "pulled") == "pulled"
        engine.fails("image", "pull", "--ca", authority.certificate, name, code=61)
        engine.fails("image", "pull", *options, f"{registry.host}/nothing", code=54)
        error = json.loads(engine.call("image", "pull", "--json", name).stdout or "{}")
        assert error == {}  # it shows no data, and has no --json
    engine.fails("image", "pull", "box", code=29)
    assert engine.call("image", "import", tmp_path / "nothing").returncode == 2


def test_devices_of_an_image_are_no_use_in_a_container(engine: Engine, tmp_path: Path):
    """One of the disk that this test is on, and memory: as if an image had brought them."""
    disk = tmp_path.stat().st_dev
    packed = tmp_path / "devices.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(engine.rootfs, ".")
        for name, kind, device in (("disk", tarfile.BLKTYPE, disk),
                                   ("memory", tarfile.CHRTYPE, os.makedev(1, 1))):  # fmt: skip
            info = tarfile.TarInfo(name)
            info.type, info.mode = kind, 0o666
            info.devmajor, info.devminor = os.major(device), os.minor(device)
            tar.addfile(info)
    engine.ok("image", "import", packed, "devices")
    look = "ls -l /disk /memory; head -c 1 /disk; head -c 1 /memory"
    for driver in ("overlay", "vfs"):
        done = engine.call("--storage-driver", driver, "run", "--rm", "devices", "sh", "-c", look)
        assert done.stdout.count("rw-rw-rw-") == 2
        assert done.stderr.count("Operation not permitted") == 2, done.stderr
    for layer in json.loads(engine.ok("image", "inspect", "devices"))["layers"]:
        place = engine.paths.images / "layers/sha256"
        assert (place / layer.removeprefix("sha256:")).exists()
        assert stat.S_IMODE(engine.paths.images.stat().st_mode) == 0o700
