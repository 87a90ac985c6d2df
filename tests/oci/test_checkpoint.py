"""checkpoint and restore of runc's command line, with the CRIU of this installation."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.engine import eventually
from tests.oci.runtime import Runtime, Spec

pytestmark = [pytest.mark.root, pytest.mark.criu]

COUNTER = "n=0; while true; do n=$((n+1)); echo $n > /count; sleep 0.02; done"


@pytest.fixture
def spec(oci: Runtime) -> Spec:
    """A counter on a tmpfs of its own, so that its root file system stays as it is."""
    made = oci.spec("sh", "-c", COUNTER.replace("/count", "/tmp/count"))
    made["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    return made


def _count(oci: Runtime, identifier: str) -> int:
    pid = oci.state(identifier)["pid"]
    return int(Path(f"/proc/{pid}/root/tmp/count").read_text() or 0)


def _counting(oci: Runtime, identifier: str, least: int = 0) -> int:
    def look() -> bool:
        try:
            return _count(oci, identifier) > least
        except (OSError, ValueError):
            return False

    assert eventually(look)
    return _count(oci, identifier)


def _moved(oci: Runtime, spec: Spec, *options: str | Path) -> tuple[str, int]:
    """A container dumped and restored: its id, and what it had counted before."""
    identifier = oci.running(spec)
    _counting(oci, identifier)
    images = oci.directory / "images"
    oci.ok("checkpoint", "--image-path", images, *options, identifier)
    assert "does not exist" in oci.fails("state", identifier)
    oci.detached("restore", "--detach", "--image-path", images, "-b", oci.bundle(spec),
                 *options, identifier)  # fmt: skip
    return identifier, 5


def test_checkpoint_and_restore_go_on_counting(oci: Runtime, spec: Spec):
    identifier = oci.running(spec)
    before = _counting(oci, identifier, 20)
    images = oci.directory / "images"
    oci.ok("checkpoint", "--image-path", images, identifier)
    assert "does not exist" in oci.fails("state", identifier)
    oci.detached("restore", "-d", "--image-path", images, "-b", oci.bundle(spec),
                 "--pid-file", oci.directory / "pid", identifier)  # fmt: skip
    state = oci.state(identifier)
    assert state["status"] == "running"
    assert int((oci.directory / "pid").read_text()) == state["pid"]
    assert _count(oci, identifier) >= before
    _counting(oci, identifier, before + 5)
