"""The fixtures `oci` and `podman`, on directories of their own; nothing may be left behind."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.kernel import mounts
from migrate.kernel.mountinfo import read_mountinfo
from migrate.runtime.cgroups.layout import detect
from tests.engine import eventually
from tests.oci.podman import Podman
from tests.oci.runtime import Runtime


@pytest.fixture
def oci(tmp_path: Path, busybox: Path) -> Iterator[Runtime]:
    made = Runtime(tmp_path, busybox)
    yield made
    made.clear()
    assert eventually(lambda: made.leftovers() == []), made.leftovers()


@pytest.fixture(scope="module")
def podman() -> Iterator[Podman]:
    with tempfile.TemporaryDirectory(prefix="pod.", dir="/tmp") as directory:
        # Podman takes no --runroot of more than 50 characters.
        yield from _used(Podman(Path(directory)))


def _used(made: Podman) -> Iterator[Podman]:
    yield made
    made.ok("rm", "--all", "--force", "--time", "0")
    # First of all the monitors' end: their last act is a Podman that cleans up.
    assert eventually(lambda: all(_removed(root / "migrate-test") for root in detect().roots))
    for mount in reversed(read_mountinfo()):  # Podman leaves its own storage mounted
        if mount.mount_point.startswith(str(made.directory)):
            mounts.unmount(mount.mount_point)


def _removed(group: Path) -> bool:
    """Podman leaves the group of its monitors, which end a moment later."""
    for path in (group / "conmon", group):
        with contextlib.suppress(OSError):
            path.rmdir()
    return not group.exists()
