"""config.md, "Mounts": each option of "Linux mount options", and the places of mounts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.kernel import mounts
from migrate.kernel.mountinfo import parse_mountinfo
from migrate.runtime.rootfs import KNOWN_OPTIONS
from tests.oci.runtime import Runtime

pytestmark = pytest.mark.root

# Option -> what /proc/self/mountinfo has to say of the mount (proc_pid_mountinfo(5)), "!x" for not.
OF_MOUNT = {
    "ro": "ro", "rw": "rw", "nosuid": "nosuid", "suid": "!nosuid", "nodev": "nodev",
    "dev": "!nodev", "noexec": "noexec", "exec": "!noexec", "noatime": "noatime",
    "atime": "!noatime", "nodiratime": "nodiratime", "diratime": "!nodiratime",
    "relatime": "relatime", "strictatime": "!relatime", "norelatime": "!nodev",
    "nostrictatime": "relatime", "nosymfollow": "nosymfollow", "symfollow": "!nosymfollow",
    "defaults": "rw", "silent": "rw", "loud": "rw", "nomand": "rw", "noiversion": "rw",
}  # fmt: skip
OF_FILE_SYSTEM = {"sync": "sync", "async": "!sync", "dirsync": "dirsync"}
RECURSIVE = {
    "rro": "ro", "rnosuid": "nosuid", "rnodev": "nodev", "rnoexec": "noexec",
    "rnodiratime": "nodiratime", "rnoatime": "noatime", "rnosymfollow": "nosymfollow",
    "rrelatime": "relatime", "rstrictatime": "!relatime",
    "rrw": "rw", "rsuid": "!nosuid", "rdev": "!nodev", "rexec": "!noexec",
    "rdiratime": "!nodiratime", "ratime": "!noatime", "rsymfollow": "!nosymfollow",
    "rnorelatime": "relatime", "rnostrictatime": "relatime",
}  # fmt: skip
OTHERS = {"bind", "rbind", "remount", "tmpcopyup", "idmap", "ridmap", "mand", "iversion",
          "private", "rprivate", "slave", "rslave", "shared", "rshared", "unbindable",
          "runbindable"}  # fmt: skip


def _holds(words: str, wanted: str) -> bool:
    has = wanted.removeprefix("!") in words.split(",")
    return has is not wanted.startswith("!")


def test_each_option_is_known_and_tested():
    assert {*OF_MOUNT, *OF_FILE_SYSTEM, *RECURSIVE, *OTHERS} == KNOWN_OPTIONS


def _rows(text: str) -> dict[str, tuple[str, str, str]]:
    """Of mountinfo: place -> the mount's options, its propagation, the file system's options."""
    found = {}
    for row in parse_mountinfo(text):
        found[row.mount_point] = (row.options, row.optional_fields, row.super_options)
    return found


def test_options_of_a_mount(oci: Runtime):
    """All of them in one container, a tmpfs each."""
    spec = oci.spec()
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    for option in (*OF_MOUNT, *OF_FILE_SYSTEM):
        place = {"destination": f"/tmp/{option}", "type": "tmpfs", "source": "tmpfs"}
        spec["mounts"].append(place | {"options": [option]})
    rows = _rows(oci.shell("cat /proc/self/mountinfo", spec))
    wrong = [o for o, wanted in OF_MOUNT.items() if not _holds(rows[f"/tmp/{o}"][0], wanted)]
    wrong += [o for o, wanted in OF_FILE_SYSTEM.items() if not _holds(rows[f"/tmp/{o}"][2], wanted)]
    assert wrong == []


def test_options_of_a_bind_mount(oci: Runtime):
    spec = oci.spec()
    (oci.directory / "source").mkdir()
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    for option in OF_MOUNT:
        place = {"destination": f"/tmp/{option}", "source": str(oci.directory / "source")}
        spec["mounts"].append(place | {"options": ["bind", option]})
    rows = _rows(oci.shell("cat /proc/self/mountinfo", spec))
    wrong = [o for o, wanted in OF_MOUNT.items() if not _holds(rows[f"/tmp/{o}"][0], wanted)]
    assert wrong == []


def test_the_later_of_two_opposite_options_holds(oci: Runtime):
    spec = oci.spec()
    place = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}
    spec["mounts"].append(place | {"options": ["ro", "rw", "noexec", "exec", "dev", "nodev"]})
    options = _rows(oci.shell("cat /proc/self/mountinfo", spec))["/tmp"][0].split(",")
    assert {"rw", "nodev"} <= set(options)
    assert "noexec" not in options


def test_a_read_only_tmpfs_keeps_its_other_options(oci: Runtime):
    spec = oci.spec()
    place = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}
    spec["mounts"].append(place | {"options": ["ro", "nosuid", "nodev", "noexec", "nosymfollow"]})
    options = _rows(oci.shell("cat /proc/self/mountinfo", spec))["/tmp"][0].split(",")
    assert {"ro", "nosuid", "nodev", "noexec", "nosymfollow"} <= set(options)


def test_a_read_only_root_keeps_the_options_of_its_file_system(oci: Runtime):
    place = oci.directory / "on-tmpfs"
    place.mkdir()
    mounts.mount("tmpfs", place, "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV)
    try:
        shutil.copytree(oci.rootfs, place / "root", symlinks=True)
        spec = oci.spec()
        spec["root"] = {"path": str(place / "root"), "readonly": True}
        options = _rows(oci.shell("cat /proc/self/mountinfo", spec))["/"][0].split(",")
        assert {"ro", "nosuid", "nodev"} <= set(options)
    finally:
        mounts.unmount(place)


@pytest.fixture
def tree(oci: Runtime) -> Iterator[Path]:
    """A directory of the host with a mount below it, which has every flag that can be cleared."""
    place = oci.directory / "tree"
    (place / "below").mkdir(parents=True)
    flags = (mounts.MS_RDONLY | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
             | mounts.MS_NOATIME | mounts.MS_NODIRATIME | mounts.MS_NOSYMFOLLOW)  # fmt: skip
    mounts.mount("tmpfs", place / "below", "tmpfs")
    mounts.mount("", place / "below", flags=mounts.MS_REMOUNT | mounts.MS_BIND | flags)
    yield place
    mounts.unmount(place / "below")


def test_recursive_options_reach_what_is_below(oci: Runtime, tree: Path):
    spec = oci.spec()
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    for option in RECURSIVE:
        place = {"destination": f"/tmp/{option}", "source": str(tree)}
        spec["mounts"].append(place | {"options": ["rbind", option]})
    rows = _rows(oci.shell("cat /proc/self/mountinfo", spec))
    wrong = [
        (option, below) for option, wanted in RECURSIVE.items() for below in ("", "/below")
        if not _holds(rows[f"/tmp/{option}{below}"][0], wanted)
    ]  # fmt: skip
    assert wrong == []


def test_options_that_are_not_recursive_do_not_reach_what_is_below(oci: Runtime, tree: Path):
    spec = oci.spec()
    mount = {
        "destination": "/tmp",
        "source": str(tree),
        "options": ["rbind", "rw", "exec", "nodev"],
    }
    spec["mounts"].append(mount)
    rows = _rows(oci.shell("cat /proc/self/mountinfo", spec))
    assert _holds(rows["/tmp"][0], "!noexec")
    assert _holds(rows["/tmp/below"][0], "noexec")


def test_bind_is_for_the_mount_alone_and_rbind_for_all_below(oci: Runtime, tree: Path):
    spec = oci.spec()
    spec["mounts"] += [
        {"destination": "/tmp", "source": str(tree), "options": ["bind"]},
        {"destination": "/home", "source": str(tree), "options": ["rbind"]},
    ]
    rows = _rows(oci.shell("cat /proc/self/mountinfo", spec))
    assert "/tmp/below" not in rows
    assert "/home/below" in rows


def test_propagation_of_each_kind(oci: Runtime, tree: Path):
    words = {
        "shared": "shared:", "rshared": "shared:", "private": "", "rprivate": "",
        "slave": "", "rslave": "", "unbindable": "unbindable", "runbindable": "unbindable",
    }  # fmt: skip
    spec = oci.spec()
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    for word in words:
        place = {"destination": f"/tmp/{word}", "source": str(tree), "options": ["rbind", word]}
        spec["mounts"].append(place)
    rows = _rows(oci.shell("cat /proc/self/mountinfo", spec))
    for word, wanted in words.items():
        for below in ("", "/below"):
            reached = not below or word.startswith("r")
            kind = rows[f"/tmp/{word}{below}"][1]
            assert kind.startswith(wanted if reached else ""), (word, below)
            assert bool(wanted and reached) or not kind, (word, below)


def test_data_goes_to_the_file_system(oci: Runtime):
    spec = oci.spec()
    options = ["mode=0751", "uid=5", "gid=6", "size=64k", "nr_inodes=50"]
    mount = {"destination": "/tmp", "type": "tmpfs", "source": "mine", "options": options}
    spec["mounts"].append(mount)
    told = oci.shell("stat -c '%a %u %g' /tmp; grep ' /tmp ' /proc/self/mounts", spec).splitlines()
    assert told[0] == "751 5 6"
    assert told[1].startswith("mine /tmp tmpfs")
    assert "size=64k" in told[1]
    assert "nr_inodes=50" in told[1]


def test_an_option_that_the_file_system_does_not_know_is_an_error(oci: Runtime):
    spec = oci.spec("true")
    spec["mounts"].append(
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["nonsense"]}
    )
    assert "/tmp" in oci.refused(spec)


def test_a_file_system_or_source_that_is_not_there_is_an_error(oci: Runtime):
    for mount in (
        {"destination": "/tmp", "type": "nonsensefs", "source": "x"},
        {"destination": "/tmp", "source": "/nowhere", "options": ["bind"]},
    ):
        spec = oci.spec("true")
        spec["mounts"].append(mount)
        assert "/tmp" in oci.refused(spec)


def test_mounts_are_made_in_their_order(oci: Runtime):
    spec = oci.spec()
    spec["mounts"] += [
        {"destination": "/tmp", "type": "tmpfs", "source": "first"},
        {"destination": "/tmp/below/deep", "type": "tmpfs", "source": "second"},
        {"destination": "/tmp", "type": "tmpfs", "source": "third"},
    ]
    told = oci.shell("ls /tmp; grep ' /tmp' /proc/self/mounts | cut -d' ' -f1", spec)
    assert told.split() == ["first", "second", "third"]


def test_a_destination_is_made_where_it_is_missing(oci: Runtime):
    (oci.directory / "file").write_text("content")
    spec = oci.spec()
    spec["mounts"] += [
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/tmp/a/b", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/tmp/c/file", "source": str(oci.directory / "file"), "options": ["bind"]},
        {"destination": "tmp/relative", "type": "tmpfs", "source": "tmpfs"},
    ]  # fmt: skip
    told = oci.shell("stat -c %F /tmp/a/b /tmp/relative; cat /tmp/c/file", spec)
    assert told.splitlines() == ["directory", "directory", "content"]


def test_a_destination_with_a_link_stays_beneath_the_root(oci: Runtime):
    link = oci.rootfs / "link"
    link.symlink_to("/tmp")
    try:
        spec = oci.spec()
        spec["mounts"].append({"destination": "/link", "type": "tmpfs", "source": "behind"})
        assert "behind /tmp tmpfs" in oci.shell("grep behind /proc/self/mounts", spec)
    finally:
        link.unlink()


def test_a_source_with_a_link_is_the_hosts(oci: Runtime):
    (oci.directory / "source").mkdir()
    (oci.directory / "source/file").write_text("content")
    (oci.directory / "link").symlink_to("source")
    spec = oci.spec("cat", "/tmp/file")
    mount = {"destination": "/tmp", "source": str(oci.directory / "link"), "options": ["bind"]}
    spec["mounts"].append(mount)
    assert oci.run(spec) == "content"


def test_a_mount_keeps_its_propagation_whatever_the_root_has(oci: Runtime, tree: Path):
    """config-linux.md, "Rootfs Mount Propagation", is of the root alone."""
    spec = oci.spec()
    spec["linux"]["rootfsPropagation"] = "rprivate"
    words = {"shared": "shared:", "unbindable": "unbindable", "private": " - "}
    for option in words:
        place = {"destination": f"/mnt/{option}", "source": str(tree), "options": ["bind", option]}
        spec["mounts"].append(place)
    spec["mounts"].insert(0, {"destination": "/mnt", "type": "tmpfs", "source": "tmpfs"})
    lines = oci.shell("grep /mnt/ /proc/self/mountinfo", spec).splitlines()
    for (option, told), line in zip(words.items(), lines, strict=True):
        assert f"/mnt/{option} " in line
        assert told in line


def test_a_tmpfs_has_the_mode_of_the_directory_that_it_lies_over(oci: Runtime):
    spec = oci.spec()
    for place, options in (("/home", []), ("/tmp", []), ("/root", ["mode=711"]), ("/new", [])):
        entry = {"destination": place, "type": "tmpfs", "source": "tmpfs", "options": options}
        spec["mounts"].append(entry)
    told = oci.shell("stat -c %a /home /tmp /root /new", spec).split()
    (oci.rootfs / "new").rmdir()
    assert told == ["755", "1777", "711", "1777"]


def test_tmpcopyup_keeps_what_was_there_with_modes_and_links(oci: Runtime):
    place = oci.rootfs / "copied"
    (place / "deep").mkdir(parents=True)
    (place / "deep/file").write_text("content")
    (place / "deep/file").chmod(0o640)
    (place / "link").symlink_to("deep/file")
    place.chmod(0o711)
    try:
        spec = oci.spec()
        spec["mounts"].append(
            {"destination": "/copied", "type": "tmpfs", "source": "tmpfs",
             "options": ["tmpcopyup", "ro"]}
        )  # fmt: skip
        told = oci.shell(
            "stat -c '%a %F' /copied /copied/deep/file; readlink /copied/link; cat /copied/link;"
            "touch /copied/x 2>&1 | grep -o Read-only", spec,
        )  # fmt: skip
        assert told.splitlines() == ["711 directory", "640 regular file", "deep/file",
                                     "contentRead-only"]  # fmt: skip
    finally:
        for path in (place / "deep/file", place / "link"):
            path.unlink()
        (place / "deep").rmdir()
        place.rmdir()


def test_a_bind_of_a_device_and_of_a_socket(oci: Runtime):
    import socket

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(oci.directory / "s"))
    spec = oci.spec()
    spec["mounts"] += [
        {"destination": "/tmp/zero", "source": "/dev/zero", "options": ["bind"]},
        {"destination": "/tmp/s", "source": str(oci.directory / "s"), "options": ["bind"]},
    ]
    spec["mounts"].insert(1, {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    told = oci.shell("stat -c %F /tmp/zero /tmp/s; head -c 4 /tmp/zero | wc -c", spec)
    assert told.splitlines() == ["character special file", "socket", "4"]
    listener.close()


@pytest.mark.parametrize("entry", [{}, {"destination": ""}, {"destination": 1}, "x"])
def test_a_mount_that_is_not_valid_is_refused(oci: Runtime, entry: object):
    spec = oci.spec("true")
    spec["mounts"].append(entry)
    assert "mount" in oci.refused(spec)


def test_features_name_the_mount_options(oci: Runtime):
    assert set(json.loads(oci.ok("features"))["mountOptions"]) == KNOWN_OPTIONS
