"""checkpoint and restore of runc's command line, with the CRIU of this installation."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from migrate.criu.provide import criu_binary
from migrate.kernel.processes import set_child_subreaper
from migrate.runtime.cgroups.layout import detect
from tests.engine import eventually
from tests.oci.runtime import Runtime, Spec
from tests.oci.terminal import listening, received, says
from tests.ports import free_ports
from tests.rootfs import rootfs_with

pytestmark = [pytest.mark.root, pytest.mark.criu]

COUNTER = "n=0; while true; do n=$((n+1)); echo $n > /tmp/count; sleep 0.02; done"
SLEEP = ("sleep", "1000")


@pytest.fixture
def spec(oci: Runtime) -> Spec:
    """A counter on a tmpfs of its own, so that the tests' root file system stays as it is."""
    made = oci.spec("sh", "-c", COUNTER)
    made["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    return made


class Images:
    """One place for the images of a container, and the commands that write and read them."""

    def __init__(self, oci: Runtime) -> None:
        self.oci = oci
        self.path = oci.directory / "images"

    def dump(self, identifier: str, *options: str | Path) -> None:
        self.oci.ok("checkpoint", "--image-path", self.path, *options, identifier)

    def words(self, spec: Spec, identifier: str, *options: str | Path) -> list[str | Path]:
        bundle = self.oci.bundle(spec)
        return ["restore", "--image-path", self.path, "-b", bundle, *options, identifier]

    def restore(self, spec: Spec, identifier: str, *options: str | Path, **streams: Any) -> None:
        self.oci.detached(*self.words(spec, identifier, "--detach", *options), **streams)


@pytest.fixture
def images(oci: Runtime) -> Images:
    return Images(oci)


def _count(oci: Runtime, identifier: str) -> int:
    pid = oci.state(identifier)["pid"]
    try:
        return int(Path(f"/proc/{pid}/root/tmp/count").read_text())
    except (OSError, ValueError):  # not there yet, or just being written
        return 0


def _counted(oci: Runtime, identifier: str, least: int = 0) -> int:
    seen = 0

    def goes_on() -> bool:
        nonlocal seen
        seen = _count(oci, identifier)
        return seen > least

    assert eventually(goes_on)
    return seen


def test_it_goes_on_where_it_was_and_is_gone_meanwhile(oci: Runtime, images: Images, spec: Spec):
    identifier = oci.running(spec)
    before = _counted(oci, identifier, 10)
    images.dump(identifier)
    assert "does not exist" in oci.fails("state", identifier)
    images.restore(spec, identifier, "--pid-file", oci.directory / "pid")
    state = oci.state(identifier)
    assert state["status"] == "running"
    assert int((oci.directory / "pid").read_text()) == state["pid"]
    _counted(oci, identifier, before + 2)
    for root in detect().roots:
        group = root / "migrate-oci" / identifier / "cgroup.procs"
        assert str(state["pid"]) in group.read_text().split()


def test_all_commands_work_on_what_was_restored(oci: Runtime, images: Images, spec: Spec):
    spec["process"]["capabilities"] = {"bounding": ["CAP_KILL"], "effective": ["CAP_KILL"],
                                       "permitted": ["CAP_KILL"]}  # fmt: skip
    identifier = oci.running(spec)
    images.dump(identifier)
    images.restore(spec, identifier)
    assert oci.ok("exec", identifier, "hostname") == oci.ok("exec", identifier, "hostname")
    told = oci.ok("exec", identifier, "grep", "-E", "CapBnd|CapEff", "/proc/1/status").split()
    assert told[1] == told[3] == f"{1 << 5:016x}"
    assert oci.ok("exec", identifier, "cat", "/proc/1/cgroup") == oci.ok(
        "exec", identifier, "cat", "/proc/self/cgroup"
    )
    oci.ok("pause", identifier)
    assert oci.state(identifier)["status"] == "paused"
    oci.ok("resume", identifier)
    oci.ok("update", "--pids-limit", "40", identifier)
    assert oci.fails("delete", identifier)
    oci.ok("kill", identifier, "KILL")
    assert eventually(lambda: oci.state(identifier)["status"] == "stopped")
    oci.ok("delete", identifier)


def test_leave_running(oci: Runtime, images: Images, spec: Spec):
    identifier = oci.running(spec)
    before = _counted(oci, identifier)
    images.dump(identifier, "--leave-running", "--work-path", oci.directory / "work")
    assert oci.state(identifier)["status"] == "running"
    _counted(oci, identifier, before + 2)
    assert (oci.directory / "work/dump.log").exists()
    oci.ok("delete", "--force", identifier)
    images.restore(spec, identifier, "--work-path", oci.directory / "work")
    assert (oci.directory / "work/restore.log").exists()
    _counted(oci, identifier, before)


def test_a_paused_container_is_restored_running(oci: Runtime, images: Images, spec: Spec):
    identifier = oci.running(spec)
    before = _counted(oci, identifier)
    oci.ok("pause", identifier)
    images.dump(identifier)
    images.restore(spec, identifier)
    _counted(oci, identifier, before + 2)


def test_in_the_foreground_the_exit_status_is_the_programs(oci: Runtime, images: Images):
    spec = oci.spec(
        "sh", "-c", "trap 'echo ended; exit 7' TERM; echo up; while :; do sleep 0.05; done"
    )
    reader, writer = os.pipe()
    identifier = oci.create(spec, stdout=writer)
    os.close(writer)
    oci.ok("start", identifier)
    with os.fdopen(reader) as output:
        assert output.readline() == "up\n"
    images.dump(identifier)
    process = oci.start_command(*images.words(spec, identifier))
    assert eventually(lambda: oci.call("state", identifier).returncode == 0
                      and oci.state(identifier)["status"] == "running")  # fmt: skip
    assert eventually(lambda: _catches(process.pid, signal.SIGTERM))
    process.send_signal(signal.SIGTERM)
    told, _error = process.communicate(timeout=60)
    assert (process.returncode, told) == (7, "ended\n")
    assert "does not exist" in oci.fails("state", identifier)


def _catches(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal (proc_pid_status(5))."""
    text = Path(f"/proc/{pid}/status").read_text()
    return bool(int(text.partition("\nSigCgt:")[2].split()[0], 16) >> (number - 1) & 1)


def test_its_parent_is_the_callers_subreaper(oci: Runtime, images: Images, spec: Spec):
    identifier = oci.running(spec)
    images.dump(identifier)
    set_child_subreaper()
    try:
        images.restore(spec, identifier)
        pid = oci.state(identifier)["pid"]
        parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]
        assert int(parent) == os.getpid()
        oci.ok("kill", identifier, "KILL")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    finally:
        set_child_subreaper(False)


def test_streams_are_those_of_the_restore(oci: Runtime, images: Images, spec: Spec):
    """A pipe, and a file of the host's."""
    spec["process"]["args"][2] = COUNTER.replace("sleep", "echo out; echo err >&2; sleep")
    reader, writer = os.pipe()
    errors = (oci.directory / "err").open("w")
    identifier = oci.create(spec, stdout=writer, stderr=errors)
    oci.ok("start", identifier)
    os.close(writer)
    _counted(oci, identifier)
    images.dump(identifier)
    os.close(reader)
    reader, writer = os.pipe()
    with (oci.directory / "err2").open("w") as errors:
        images.restore(spec, identifier, stdout=writer, stderr=errors)
    os.close(writer)
    with os.fdopen(reader) as output:
        assert output.readline() == "out\n"
    assert eventually(lambda: "err" in (oci.directory / "err2").read_text())


def test_a_terminal_goes_to_the_console_socket(oci: Runtime, images: Images, spec: Spec):
    spec["process"]["terminal"] = True
    spec["process"]["args"] = ["sh", "-c", "while read line; do echo got $line; done"]
    listener = listening(oci.directory / "c")
    identifier = oci.create(spec, "--console-socket", oci.directory / "c")
    master = received(listener)
    oci.ok("start", identifier)
    os.write(master, b"one\n")
    assert says(master, b"got one")
    images.dump(identifier)
    os.close(master)
    assert "--console-socket" in oci.fails(*images.words(spec, identifier, "--detach"))
    images.restore(spec, identifier, "--console-socket", oci.directory / "c")
    master = received(listener)
    os.write(master, b"two\n")
    assert says(master, b"got two")
    os.close(master)


def test_mounts_of_every_kind_come_back(oci: Runtime, images: Images, spec: Spec):
    place = oci.directory / "shared"
    (place / "deep").mkdir(parents=True)
    (place / "file").write_text("of the host")
    spec["root"]["readonly"] = True
    spec["mounts"] += [
        {"destination": "/home", "source": str(place), "options": ["rbind", "ro"]},
        {"destination": "/etc/group", "source": str(place / "file"), "options": ["bind"]},
        {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup",
         "options": ["nosuid", "noexec", "nodev", "relatime", "ro"]},
    ]  # fmt: skip
    spec["linux"] |= {"maskedPaths": ["/etc/passwd", "/proc/kcore", "/root"],
                      "readonlyPaths": ["/proc/sys", "/proc/bus"]}  # fmt: skip
    identifier = oci.running(spec)
    _counted(oci, identifier)
    look = ("exec", identifier, "sh", "-c",
            "cut -d' ' -f5,6 /proc/self/mountinfo | sort; cat /home/file /etc/group /etc/passwd;"
            "ls /root; touch /x /home/x /proc/sys/x 2>&1; cat /sys/fs/cgroup/pids/cgroup.procs >&2;"
            "true")  # fmt: skip
    before = oci.ok(*look)
    images.dump(identifier)
    images.restore(spec, identifier)
    assert oci.ok(*look) == before
    assert before.count("of the host") == 2


def test_a_bundle_with_other_sources_gets_them(oci: Runtime, images: Images, spec: Spec):
    for name in ("a", "b"):
        (oci.directory / name).mkdir()
        (oci.directory / name / "file").write_text(name)
    mount = {"destination": "/home", "source": str(oci.directory / "a"), "options": ["bind"]}
    spec["mounts"].append(mount)
    identifier = oci.running(spec)
    images.dump(identifier)
    mount["source"] = str(oci.directory / "b")
    images.restore(spec, identifier)
    assert oci.ok("exec", identifier, "cat", "/home/file") == "b"
    oci.ok("delete", "--force", identifier)
    spec["mounts"].remove(mount)
    assert "/home" in oci.fails(*images.words(spec, identifier, "--detach"))


def test_a_network_namespace_by_path_is_joined_again(oci: Runtime, images: Images, spec: Spec):
    with tempfile.NamedTemporaryFile(dir=oci.directory) as file:
        subprocess.run(
            ["unshare", f"--net={file.name}", "ip", "link", "set", "lo", "up"], check=True
        )
        try:
            spec["linux"]["namespaces"] = [
                e | {"path": file.name} if e["type"] == "network" else e
                for e in spec["linux"]["namespaces"]
            ]  # fmt: skip
            inode = os.stat(file.name).st_ino
            identifier = oci.running(spec)
            images.dump(identifier)
            images.restore(spec, identifier)
            pid = oci.state(identifier)["pid"]
            assert os.stat(f"/proc/{pid}/ns/net").st_ino == inode
            oci.ok("delete", "--force", identifier)
        finally:
            subprocess.run(["umount", file.name], check=True)


@pytest.mark.parametrize("established", [True, False])
def test_tcp_established(oci: Runtime, images: Images, spec: Spec, established: bool):
    """A connection within the container's own network namespace."""
    spec["process"]["args"][2] = (
        "ip link set lo up; nc -l -p 7777 -e cat &"
        "until grep -q ':1E61 .* 0A ' /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done;"
        "(while true; do echo x; sleep 0.05; done) | nc 127.0.0.1 7777 | "
        "(n=0; while read l; do n=$((n+1)); echo $n > /tmp/count; done)"
    )
    for names in spec["process"]["capabilities"].values():
        names.append("CAP_NET_ADMIN")
    identifier = oci.running(spec)
    before = _counted(oci, identifier, 3)
    if not established:
        text = oci.fails("checkpoint", "--image-path", images.path, identifier)
        assert "onnect" in text
        _counted(oci, identifier, before)
        return
    images.dump(identifier, "--tcp-established")
    images.restore(spec, identifier, "--tcp-established")
    _counted(oci, identifier, before + 3)


def _tracks_memory() -> bool:
    """Whether this kernel tells which pages were written since clear_refs (soft-dirty, bit 55)."""
    page = bytearray(4096)
    Path("/proc/self/clear_refs").write_text("4")
    page[0] = 1
    with open("/proc/self/pagemap", "rb") as file:  # any page of this process is soft-dirty now
        for line in Path("/proc/self/maps").read_text().splitlines():
            if "[heap]" in line:
                file.seek(int(line.split("-")[0], 16) // 4096 * 8)
                data = file.read(8 * 64)
                return any(int.from_bytes(data[n : n + 8], "little") >> 55 & 1
                           for n in range(0, len(data), 8))  # fmt: skip
    return False


def test_pre_dump_and_parent_path(oci: Runtime, images: Images, spec: Spec):
    identifier = oci.running(spec)
    before = _counted(oci, identifier)
    words = ("checkpoint", "--pre-dump", "--image-path", oci.directory / "before", identifier)
    if not _tracks_memory():
        assert "which pages were written" in oci.fails(*words)
        assert not (oci.directory / "before/inventory.img").exists()
        _counted(oci, identifier, before)
        return
    oci.ok(*words)
    assert oci.state(identifier)["status"] == "running"
    images.dump(identifier, "--parent-path", "../before")
    images.restore(spec, identifier)
    _counted(oci, identifier, before)


def test_page_server_takes_the_memory(oci: Runtime, images: Images, spec: Spec):
    identifier = oci.running(spec)
    before = _counted(oci, identifier)
    images.path.mkdir()
    (port,) = free_ports(1)
    server = subprocess.Popen(
        [criu_binary(), "page-server", "--images-dir", images.path, "--port", str(port),
         "--address", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert eventually(lambda: _listens(port))
    images.dump(identifier, "--page-server", f"127.0.0.1:{port}")
    assert server.wait(60) == 0
    images.restore(spec, identifier)
    _counted(oci, identifier, before)


def _listens(port: int) -> bool:
    listening = re.compile(rf"^ *\d+: \S+:{port:04X} \S+ 0A ", re.MULTILINE)
    return bool(listening.search(Path("/proc/net/tcp").read_text()))


@pytest.fixture
def mapped(oci: Runtime, spec: Spec) -> Iterator[Spec]:
    """A specification with a user namespace."""
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    spec["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    spec["linux"]["namespaces"].append({"type": "user"})
    with tempfile.TemporaryDirectory(prefix="oci-user.", dir="/tmp") as place:
        os.chmod(place, 0o711)
        shutil.copytree(oci.rootfs, f"{place}/root", symlinks=True)
        spec["root"]["path"] = f"{place}/root"
        yield spec
        oci.clear()


def test_a_user_namespace(oci: Runtime, images: Images, mapped: Spec):
    identifier = oci.running(mapped)
    before = _counted(oci, identifier)
    images.dump(identifier)
    images.restore(mapped, identifier)
    _counted(oci, identifier, before)
    told = oci.ok("exec", identifier, "cat", "/proc/self/uid_map")
    assert told.split() == ["0", "100000", "65536"]


def test_hooks_of_a_restore(oci: Runtime, images: Images, spec: Spec):
    place = oci.directory / "log"
    kinds = ("prestart", "createRuntime", "poststart", "poststop")
    spec["hooks"] = {
        kind: [{"path": "/bin/sh", "args": ["sh", "-c", f"echo {kind} >> {place}; cat >> {place}"]}]
        for kind in kinds
    }
    identifier = oci.running(spec)
    images.dump(identifier)
    place.write_text("")
    images.restore(spec, identifier)
    oci.ok("delete", "--force", identifier)
    text = place.read_text()
    assert [text.count(f"{kind}\n") for kind in kinds] == [1, 1, 1, 1]
    spec["hooks"]["createRuntime"] = [{"path": "/bin/false"}]
    assert "createRuntime" in oci.fails(*images.words(spec, identifier, "--detach"))
    assert "does not exist" in oci.fails("state", identifier)


def test_a_dump_that_fails_changes_nothing(oci: Runtime, images: Images, spec: Spec):
    """A file lock, which --file-locks would allow."""
    place = rootfs_with(oci.directory / "with-flock", [str(shutil.which("flock"))])
    spec["root"]["path"] = str(place)
    spec["process"]["args"][2] = f"exec 9>/tmp/lock; /usr/bin/flock 9; {COUNTER}"
    identifier = oci.running(spec)
    before = _counted(oci, identifier)
    assert "lock" in oci.fails("checkpoint", "--image-path", images.path, identifier)
    assert oci.state(identifier)["status"] == "running"
    _counted(oci, identifier, before + 2)
    images.dump(identifier, "--file-locks")
    images.restore(spec, identifier, "--file-locks")
    _counted(oci, identifier, before + 2)


def test_a_restore_that_fails_leaves_nothing(oci: Runtime, images: Images, spec: Spec):
    identifier = oci.running(spec)
    images.dump(identifier)
    for path in images.path.glob("pstree*"):
        path.write_bytes(b"nonsense")
    assert "criu" in oci.fails(*images.words(spec, identifier, "--detach"))
    assert "does not exist" in oci.fails("state", identifier)


def test_what_can_not_be_done_is_refused_by_name(oci: Runtime, images: Images, spec: Spec):
    identifier = oci.create(spec)
    checkpoint = ("checkpoint", "--image-path", images.path)
    assert "created" in oci.fails(*checkpoint, identifier)
    oci.ok("start", identifier)
    for words, told in (
        (["--lazy-pages"], "--lazy-pages"),
        (["--manage-cgroups-mode", "x"], "manage-cgroups-mode"),
        (["--empty-ns", "pid"], "--empty-ns"), (["--parent-path", "none"], "--parent-path"),
        (["--page-server", "x"], "ADDRESS:PORT"),
    ):  # fmt: skip
        assert told in oci.fails(*checkpoint, *words, identifier)
    assert oci.state(identifier)["status"] == "running"
    assert "already exists" in _restored_over(oci, images, spec, identifier)
    joined = oci.spec(*SLEEP)
    pid = oci.state(identifier)["pid"]
    joined["linux"]["namespaces"] = [
        {"type": "mount"}, {"type": "pid"}, {"type": "ipc", "path": f"/proc/{pid}/ns/ipc"},
    ]  # fmt: skip
    assert "ipc namespace" in oci.fails(*checkpoint, oci.running(joined))
    assert "no checkpoint" in oci.fails(
        "restore", "--image-path", "/tmp", "-b", oci.bundle(spec), "x"
    )
    assert "--lsm-profile" in oci.fails("restore", "--lsm-profile", "x", "x")


def _restored_over(oci: Runtime, images: Images, spec: Spec, identifier: str) -> str:
    images.dump(identifier, "--leave-running")
    text = oci.fails(*images.words(spec, identifier, "--detach"))
    assert oci.state(identifier)["status"] == "running"
    return text


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"mounts": 1}, {"mounts": [["/a", "bind", "/x", "../.."]]}, {"streams": ["a"]}],
)
def test_a_description_that_is_not_fit_is_refused(
    oci: Runtime, images: Images, spec: Spec, change: dict[str, object]
):
    images.path.mkdir()
    told = {"format": 1, "streams": ["", "", ""], "files": ["", "", ""], "mounts": [],
            "namespaces": []}  # fmt: skip
    (images.path / "migrate-oci.json").write_text(json.dumps(told | change))
    spec["mounts"].append({"destination": "/x", "source": "/etc", "options": ["bind"]})
    identifier = oci.identifier()
    text = oci.fails(*images.words(spec, identifier, "--detach"))
    assert "migrate-oci.json" in text or "bundle" in text
    assert "does not exist" in oci.fails("state", identifier)
