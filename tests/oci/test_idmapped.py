"""config.md, "Mounts": uidMappings, gidMappings, idmap, ridmap; mount_setattr(2)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrate.kernel import mounts
from migrate.kernel.mountinfo import parse_mountinfo
from tests.oci.runtime import COMMAND, Runtime, Spec

pytestmark = pytest.mark.root

MAPPING = [{"containerID": 0, "hostID": 5000, "size": 65536}]
OF_USER = [{"containerID": 0, "hostID": 100000, "size": 65536}]
LOOK = "stat -c %u:%g /data/file"


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of the host whose parent only its root may search, with a mount below it."""
    with tempfile.TemporaryDirectory(prefix="idmap.", dir="/tmp") as directory:
        made = Path(directory, "data")
        (made / "below").mkdir(parents=True)
        mounts.mount("tmpfs", made / "below", "tmpfs")
        for path in (made / "file", made / "below/file"):
            path.write_text("content")
            os.chown(path, 7, 8)
        yield made
        mounts.unmount(made / "below")


def _bound(spec: Spec, place: Path, *options: str, **mappings: Any) -> Spec:
    spec["mounts"].append(
        {"destination": "/data", "type": "bind", "source": str(place), "options": list(options)}
        | mappings
    )
    return spec


@pytest.fixture
def mapped(oci: Runtime) -> Iterator[Spec]:
    """A specification with a user namespace, whose root can't reach the root file system."""
    spec = oci.spec()
    spec["linux"] |= {"uidMappings": OF_USER, "gidMappings": OF_USER}
    spec["linux"]["namespaces"].append({"type": "user"})
    with tempfile.TemporaryDirectory(prefix="oci-user.", dir="/tmp") as directory:
        shutil.copytree(oci.rootfs, f"{directory}/root", symlinks=True)
        spec["root"]["path"] = f"{directory}/root"
        yield spec
        oci.clear()


def _mappings(mapping: list[dict[str, int]]) -> dict[str, Any]:
    return {"uidMappings": mapping, "gidMappings": mapping}


def test_mappings_of_the_mount_convert_ids(oci: Runtime, place: Path):
    spec = _bound(oci.spec(), place, "bind", "idmap", **_mappings(MAPPING))
    assert oci.shell(LOOK, spec) == "5007:5008"
    assert os.stat(place / "file").st_uid == 7


def test_what_is_written_has_the_unmapped_id(oci: Runtime, place: Path):
    os.chmod(place, 0o777)
    spec = _bound(oci.spec(), place, "bind", "idmap", **_mappings(MAPPING))
    spec["process"]["user"] = {"uid": 5003, "gid": 5004}
    oci.shell("touch /data/new", spec)
    status = os.stat(place / "new")
    assert (status.st_uid, status.st_gid) == (3, 4)


def test_idmap_is_for_the_mount_alone_and_ridmap_for_all_below(oci: Runtime, place: Path):
    look = "stat -c %u /data/file /data/below/file"
    spec = _bound(oci.spec(), place, "rbind", "idmap", **_mappings(MAPPING))
    assert oci.shell(look, spec).split() == ["5007", "7"]
    spec = _bound(oci.spec(), place, "rbind", "ridmap", **_mappings(MAPPING))
    assert oci.shell(look, spec).split() == ["5007", "5007"]


def test_other_options_hold_beside_it(oci: Runtime, place: Path):
    spec = _bound(oci.spec(), place, "rbind", "ridmap", "ro", "nodev", **_mappings(MAPPING))
    told = oci.shell("grep -E ' /data' /proc/self/mounts; cat /data/file", spec).splitlines()
    assert all("ro,nodev" in line or "ro," in line for line in told[:2])
    assert told[2] == "content"


def test_idmap_without_mappings_takes_those_of_the_user_namespace(
    oci: Runtime, mapped: Spec, place: Path
):
    assert oci.shell(LOOK, _bound(mapped, place, "bind", "idmap")) == "7:8"


def test_idmap_without_mappings_takes_those_of_a_joined_user_namespace(
    oci: Runtime, mapped: Spec, place: Path
):
    mapped["process"]["args"] = ["sleep", "1000"]
    first = oci.running(mapped)
    spec = oci.spec()
    spec["root"] = mapped["root"]
    spec["linux"]["namespaces"].append(
        {"type": "user", "path": f"/proc/{oci.state(first)['pid']}/ns/user"}
    )
    assert oci.shell(LOOK, _bound(spec, place, "bind", "idmap")) == "7:8"


def test_mappings_of_the_mount_go_before_those_of_the_user_namespace(
    oci: Runtime, mapped: Spec, place: Path
):
    mapping = [{"containerID": 0, "hostID": 100010, "size": 1000}]
    assert oci.shell(LOOK, _bound(mapped, place, "bind", "idmap", **_mappings(mapping))) == "17:18"


def test_a_bind_mount_in_a_user_namespace_needs_no_right_to_search(
    oci: Runtime, mapped: Spec, place: Path
):
    """Without id maps, too: the source is opened before."""
    assert oci.shell("cat /data/file", _bound(mapped, place, "rbind", "ro")) == "content"


def test_mounts_in_a_user_namespace_do_not_show_on_a_host_whose_mounts_are_shared(
    oci: Runtime, mapped: Spec, place: Path
):
    _bound(mapped, place, "rbind")
    mapped["process"]["args"] = ["grep", "-E", " (/|/data|/data/below) ", "/proc/self/mountinfo"]
    shared = ["unshare", "--mount", "--propagation", "shared", COMMAND, "--root", oci.root]
    done = subprocess.run(
        [*shared, "run", "-b", oci.bundle(mapped), oci.identifier()], capture_output=True,
        text=True, check=True, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    told = parse_mountinfo(done.stdout)
    for mount in told:
        if mount.mount_point in {"/", "/data", "/data/below"}:
            assert mount.optional_fields.startswith("master:"), mount


@pytest.mark.parametrize(
    ("options", "mappings", "word"),
    [
        (["bind", "idmap"], {}, "user namespace"),
        (["bind", "idmap"], {"uidMappings": MAPPING}, "go together"),
        (["bind", "idmap"], _mappings([{"containerID": 0, "hostID": 0, "size": 0}]), "idmapped"),
        (["idmap"], _mappings(MAPPING) | {"type": "tmpfs"}, "only bind mounts"),
        (["bind", "idmap"], _mappings(MAPPING) | {"source": "/proc"}, "file system"),
        (["bind", "idmap"], _mappings(MAPPING) | {"source": "/nowhere"}, "/nowhere"),
    ],
)
def test_what_can_not_be_done_is_refused_by_name(
    oci: Runtime, place: Path, options: list[str], mappings: dict[str, Any], word: str
):
    assert word in oci.refused(_bound(oci.spec("true"), place, *options, **mappings))
