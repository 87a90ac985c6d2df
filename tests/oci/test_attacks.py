"""Attacks that runtimes have fallen to, tried: each named by its number where it has one."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.kernel import mounts, procfiles
from migrate.kernel.libc import AT_FDCWD, libc
from migrate.kernel.mountinfo import read_mountinfo
from migrate.kernel.namespaces import CLONE_NEWNS, unshare
from tests.oci.runtime import Runtime, Spec
from tests.oci.terminal import listening

pytestmark = pytest.mark.root
_EXCHANGE = 2  # renameat2(2), RENAME_EXCHANGE
SCRIPT = "#!/proc/self/exe\nprint('out')\n"


@pytest.fixture
def rootfs(oci: Runtime) -> Path:
    """A root file system of an image that an attacker has made."""
    made = oci.directory / "evil"
    shutil.copytree(oci.rootfs, made, symlinks=True)
    return made


@pytest.fixture
def spec(oci: Runtime, rootfs: Path) -> Spec:
    made = oci.spec("true")
    made["root"]["path"] = str(rootfs)
    return made


def _without(spec: Spec, *places: str) -> None:
    spec["mounts"] = [m for m in spec["mounts"] if not m["destination"].startswith(places)]


@pytest.mark.parametrize("name", ["proc", "sys"])
def test_a_proc_behind_a_link_is_refused(oci: Runtime, rootfs: Path, spec: Spec, name: str):
    """CVE-2019-19921: the image would choose what `proc` is written to as."""
    (rootfs / name).rmdir()
    (rootfs / "volume").mkdir()
    (rootfs / name).symlink_to("volume")
    assert "must be mounted on ordinary directory" in oci.refused(spec)


@pytest.mark.parametrize("place", ["/proc/self/attr", "/link/self/attr", "/proc/sys/kernel"])
def test_a_mount_inside_proc_is_refused(oci: Runtime, rootfs: Path, spec: Spec, place: str):
    """CVE-2019-16884: the AppArmor profile, or a sysctl, would be written to a volume."""
    (rootfs / "link").symlink_to("/proc")
    spec["mounts"].append({"destination": place, "type": "tmpfs", "source": "tmpfs"})
    assert "inside /proc" in oci.refused(spec)


def test_what_is_no_proc_is_refused_in_its_place(oci: Runtime, spec: Spec):
    spec["mounts"].append({"destination": "/proc", "type": "tmpfs", "source": "tmpfs"})
    assert "not of type proc" in oci.refused(spec)


def test_what_lxcfs_shows_in_proc_is_allowed(oci: Runtime, spec: Spec):
    source = oci.directory / "uptime"
    source.write_text("17 4\n")
    spec["mounts"].append(
        {"destination": "/proc/uptime", "source": str(source), "options": ["bind", "ro"]}
    )
    assert oci.shell("cat /proc/uptime", spec) == "17 4"


def test_a_write_to_proc_does_not_cross_a_mount(tmp_path: Path):
    """CVE-2025-52881, of our own writing."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            unshare(CLONE_NEWNS)
            mounts.mount("", "/", flags=mounts.MS_PRIVATE | mounts.MS_REC)
            trap = tmp_path / "trap"
            trap.write_text("untouched")
            mounts.mount(str(trap), "/proc/sys/kernel/hostname", flags=mounts.MS_BIND)
            try:
                procfiles.write("sys/kernel/hostname", "x")
            except OSError:
                status = 0 if trap.read_text() == "untouched" else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_dev_null_that_is_a_link_masks_nothing_writable(oci: Runtime, rootfs: Path, spec: Spec):
    """CVE-2025-31133: a masked file would be a writable one of the host."""
    _without(spec, "/dev")
    (rootfs / "dev/null").symlink_to("/proc/sys/kernel/core_pattern")
    assert spec["linux"]["maskedPaths"]
    assert "null device" in oci.refused(spec)


def test_devices_that_are_links_leave_the_hosts_files_alone(oci: Runtime, rootfs: Path, spec: Spec):
    victim = oci.directory / "victim"
    victim.write_text("")
    victim.chmod(0o600)
    _without(spec, "/dev")
    spec["linux"]["maskedPaths"] = []
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        (rootfs / "dev" / name).symlink_to(victim)
    oci.run(spec)
    assert stat.S_IMODE(victim.stat().st_mode) == 0o600


@pytest.mark.parametrize("target", ["/proc/sys/kernel/core_pattern", "/etc/passwd"])
def test_a_dev_console_that_is_a_link_is_refused(
    oci: Runtime, rootfs: Path, spec: Spec, target: str
):
    """CVE-2025-52565."""
    _without(spec, "/dev")
    spec["mounts"].append({
        "destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["newinstance", "ptmxmode=0666", "mode=0620"],
    })  # fmt: skip
    (rootfs / "dev/console").symlink_to(target)
    spec["process"]["terminal"] = True
    with tempfile.TemporaryDirectory(dir="/tmp") as place, listening(Path(place, "s")):
        bundle, identifier = oci.bundle(spec), oci.identifier()
        words = ("create", "-b", bundle, "--console-socket", f"{place}/s", identifier)
        assert "is a link" in oci.fails(*words)


@pytest.mark.parametrize("number", [3, 5, 6, 7, 8, 9, 10])
def test_a_working_directory_of_the_hosts_is_refused(oci: Runtime, spec: Spec, number: int):
    """CVE-2024-21626: a descriptor of the host's, as the working directory."""
    spec["process"]["cwd"] = f"/proc/self/fd/{number}"
    assert oci.refused(spec)


@pytest.mark.parametrize("number", [3, 6, 9])
def test_a_working_directory_of_the_hosts_is_refused_to_exec(oci: Runtime, number: int):
    identifier = oci.running()
    words = ("exec", "--cwd", f"/proc/self/fd/{number}", identifier, "ls", "..")
    assert oci.fails(*words, status=255)


def test_the_program_becoming_the_hosts_interpreter_after_create(
    oci: Runtime, rootfs: Path, spec: Spec
):
    """CVE-2019-5736: a script in whose first line is /proc/self/exe, put there before `start`."""
    program = rootfs / "program"
    program.write_text("#!/bin/sh\necho fine\n")
    program.chmod(0o755)
    spec["process"]["args"] = ["/program"]
    identifier = oci.create(spec)
    program.write_text(SCRIPT)
    assert "own interpreter" in oci.fails("start", identifier)


def test_an_exec_of_the_hosts_interpreter(oci: Runtime, rootfs: Path, spec: Spec):
    (rootfs / "script").write_text(SCRIPT)
    (rootfs / "script").chmod(0o755)
    (rootfs / "link").symlink_to("/proc/self/exe")
    spec["process"]["args"] = ["sleep", "1000"]
    identifier = oci.running(spec)
    for name in ("/script", "/link", "/proc/thread-self/exe"):
        assert "own interpreter" in oci.fails("exec", identifier, name, status=255)


class Swapper:
    """Makes a name a directory and a link in turn, as fast as it can (CVE-2021-30465)."""

    def __init__(self, place: Path, target: str) -> None:
        self._place, self._spare, self._target = place, place.with_name("spare"), target
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._swap)
        self.turns = 0

    def __enter__(self) -> Swapper:
        self._place.mkdir()
        self._spare.symlink_to(self._target)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _swap(self) -> None:
        one, other = bytes(self._place), bytes(self._spare)
        while not self._over.is_set():
            assert libc.renameat2(AT_FDCWD, one, AT_FDCWD, other, _EXCHANGE) == 0
            self.turns += 1


def test_a_destination_that_is_swapped_for_a_link(oci: Runtime, spec: Spec):
    """CVE-2021-30465: the mount would be on the host's root, or show it."""
    volume, host = oci.directory / "volume", oci.directory / "host"
    volume.mkdir()
    host.mkdir()
    spec["mounts"] += [
        {"destination": "/v", "source": str(volume), "options": ["rbind"]},
        {"destination": "/v/swapped/below", "type": "tmpfs", "source": "tmpfs"},
    ]
    spec["process"]["args"] = ["sh", "-c", "ls /v/swapped/below; cat /proc/self/mountinfo"]
    with Swapper(volume / "swapped", f"/../../../..{host}") as swapper:
        for _ in range(12):
            done = oci.call("run", "-b", oci.bundle(spec), oci.identifier())
            assert str(host) not in done.stdout
            assert list(host.iterdir()) == []
    assert swapper.turns > 100
    ours = str(oci.directory)
    assert not [m for m in read_mountinfo() if m.mount_point.startswith(ours)]


def test_control_groups_are_not_in_the_containers_hand(oci: Runtime, spec: Spec):
    """Neither its own limits nor release_agent, which the kernel runs on the host."""
    spec["mounts"].append({
        "destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
        "options": ["nosuid", "noexec", "nodev", "relatime", "ro"],
    })  # fmt: skip
    spec["linux"]["resources"] = {"memory": {"limit": 64 << 20}}
    text = (
        "cd /sys/fs/cgroup; for f in $(find . -name memory.limit_in_bytes -o -name memory.max "
        "-o -name devices.allow -o -name release_agent -o -name cgroup.procs); do "
        "(echo a > $f) 2>/dev/null && echo wrote $f; done; "
        "mkdir /tmp/m; mount -t cgroup -o memory none /tmp/m 2>/dev/null && echo mounted; "
        "mount -t cgroup2 none /tmp/m 2>/dev/null && echo mounted; "
        "mount -o remount,rw /sys/fs/cgroup 2>/dev/null && echo remounted; "
        "find . -name release_agent; unshare -C true 2>/dev/null && echo unshared; true"
    )
    assert oci.shell(text, spec) == ""


@pytest.fixture
def mapped(oci: Runtime) -> Iterator[Spec]:
    """A specification whose root is nobody's of the host."""
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    made = oci.spec("sleep", "1000")
    made["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    made["linux"]["namespaces"].append({"type": "user"})
    with tempfile.TemporaryDirectory(prefix="oci-user.", dir="/tmp") as place:
        os.chmod(place, 0o711)
        shutil.copytree(oci.rootfs, f"{place}/root", symlinks=True)
        made["root"]["path"] = f"{place}/root"
        yield made
        oci.clear()


def test_root_of_a_user_namespace_is_nobody_on_the_host(oci: Runtime, mapped: Spec):
    shared = Path(mapped["root"]["path"]).parent / "shared"
    shared.mkdir(mode=0o755)
    (shared / "secret").write_text("secret")
    (shared / "secret").chmod(0o600)
    (shared / "open").mkdir()
    (shared / "open").chmod(0o777)
    mapped["mounts"].append({"destination": "/home", "source": str(shared), "options": ["bind"]})
    text = (
        "cat /home/secret; rm -f /home/secret; chown 0 /home/secret; touch /home/open/mine; "
        "mknod /home/open/disk b 254 0; cp /bin/busybox /home/open/b; chmod u+s /home/open/b; true"
    )
    assert "secret" not in oci.shell(f"({text}) 2>/dev/null", mapped)
    assert (shared / "secret").read_text() == "secret"
    assert (shared / "open/mine").stat().st_uid == 100000
    assert (shared / "open/b").stat().st_uid == 100000
    assert not (shared / "open/disk").exists()
