"""`migrate image pull`, `push` and `import docker://…` as commands."""

from __future__ import annotations

import json
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
