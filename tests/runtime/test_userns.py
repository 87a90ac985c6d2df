"""Containers with a user namespace: whose the files are, inside and on the disk, and every verb."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from migrate.runtime import usernamespaces
from migrate.runtime.errors import IdsUnfit, SpecInvalid
from migrate.runtime.records import IdRange, Network, Record, UserNamespace
from tests.engine import Engine, eventually

FIRST = 200_000
MAP = ("--uidmap", f"0:{FIRST}:65536")
LOOK = r"""
echo "map" $(cat /proc/self/uid_map /proc/self/gid_map)
echo "root" $(stat -c %u:%g / /bin/busybox /dev/null /dev)
echo "volume" $(stat -c %u:%g /data); touch /data/mine && chown 7:8 /data/mine
echo "host" $(stat -c %u:%g /host /host/file) $(cat /host/secret 2>&1)
echo "idmap" $(stat -c %u /mapped/file)
echo "net" $(ip link set lo up && echo up; ls /sys/class/net)
echo "port" $(nc -l -p 80 -w 1 127.0.0.1 </dev/null >/dev/null 2>&1; echo $?)
echo "sysctl" $(cat /proc/sys/kernel/hostname)
echo "pid" $$
mkdir /made && echo x > /made/file && chown 33:34 /made/file; rm /etc/passwd
echo "device" $(mknod /made/disk b 254 0 2>&1 && echo made)
ls -l /dev/pts /dev/shm /dev/mqueue >/dev/null && echo "mounts" all
"""


def _record(name: str, *ranges: IdRange, exclusive: bool = False) -> Record:
    return Record(name, name, 0.0, user_namespace=UserNamespace(ranges, ranges, exclusive))


def test_chosen_ids_are_nobody_elses():
    others: list[Record] = []
    for number in range(5):
        name = f"{number:012x}"
        found = usernamespaces.chosen(name, others)
        first = found.uids[0].outside
        assert found.gids == found.uids
        assert found.exclusive
        assert usernamespaces.FIRST <= first <= usernamespaces.END - 65536
        others.append(_record(name, *found.uids, exclusive=True))
    again = usernamespaces.chosen(others[0].identifier, others[1:])
    assert again == others[0].user_namespace  # the same on every host that has them free
    usernamespaces.refuse_taken(others[0], others)
    with pytest.raises(IdsUnfit):
        usernamespaces.refuse_taken(_record("x", IdRange(0, first + 5, 1)), others)
    usernamespaces.refuse_taken(_record("x", IdRange(0, 5, 9)), [_record("y", IdRange(0, 5, 9))])


def test_no_ids_are_left_for_too_many():
    with pytest.raises(IdsUnfit):
        usernamespaces.chosen("a", [], usernamespaces.END)


@pytest.mark.parametrize("ranges", [
    (IdRange(1, 5, 9),), (IdRange(0, 5, 9), IdRange(8, 50, 9)),
    (IdRange(0, 5, 9), IdRange(20, 13, 9)), (IdRange(0, (1 << 32) - 2, 9),),
])  # fmt: skip
def test_maps_that_are_none(ranges: tuple[IdRange, ...]):
    with pytest.raises(SpecInvalid):
        usernamespaces.check(UserNamespace(ranges, ranges), "none")
    with pytest.raises(SpecInvalid, match="network"):
        usernamespaces.check(UserNamespace((IdRange(0, 5, 9),), (IdRange(0, 5, 9),)), "host")


def test_record_and_specification_tell_the_same():
    record = _record("x", IdRange(0, 5, 9))
    spec = {"linux": {"namespaces": [{"type": "pid"}]}}
    made = usernamespaces.in_spec(spec, record.user_namespace)
    usernamespaces.require_same(made, record)
    usernamespaces.require_same(spec, Record("y", "y", 0.0, network=Network()))
    for other in (
        spec,
        usernamespaces.in_spec(spec, _record("x", IdRange(0, 6, 9)).user_namespace),
    ):
        with pytest.raises(SpecInvalid):
            usernamespaces.require_same(other, record)


def test_ids_of_a_map():
    ids = UserNamespace((IdRange(0, 100, 10), IdRange(10, 500, 10)), (IdRange(0, 100, 20),))
    assert ids.outside(12, 12) == (502, 112)
    assert ids.inside(502, 112) == (12, 12)
    assert ids.inside(7, 7) == (65534, 65534)
    with pytest.raises(SpecInvalid):
        ids.outside(20, 0)
    assert UserNamespace().outside(3, 4) == UserNamespace().inside(3, 4) == (3, 4)


@pytest.fixture(scope="module")
def host_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that only its owner may search is above it."""
    made = tmp_path_factory.mktemp("bound") / "directory"
    made.mkdir(mode=0o755)
    made.parent.chmod(0o700)
    for name, mode in (("file", 0o644), ("secret", 0o600)):
        (made / name).write_text("content")
        (made / name).chmod(mode)
    os.chown(made / "file", 5, 6)
    return made


@pytest.fixture(scope="module")
def seen(engine: Engine, host_directory: Path) -> dict[str, list[str]]:
    done = engine.call(
        "run", "--name", "look", *MAP, "-v", "data:/data", "-v", f"{host_directory}:/host",
        "-v", f"{host_directory}:/mapped:ro,idmap", "--hostname", "moby",
        "--rootfs", engine.rootfs, "sh", "-c", LOOK,
    )  # fmt: skip
    assert done.returncode == 0, (done.stdout, done.stderr)
    return {line.split()[0]: line.split()[1:] for line in done.stdout.splitlines()}


@pytest.mark.root
def test_what_its_root_sees(seen: dict[str, list[str]]):
    assert seen["map"] == ["0", str(FIRST), "65536"] * 2
    assert seen["root"][:2] == ["0:0", "0:0"]
    assert seen["root"][3] == "0:0"
    assert seen["root"][2] == "65534:65534"  # the host's own null device
    assert seen["volume"] == ["0:0"]
    assert seen["sysctl"] == ["moby"]
    assert seen["pid"] == ["1"]
    assert seen["mounts"] == ["all"]


@pytest.mark.root
def test_a_path_of_the_host_is_mapped_only_when_asked(seen: dict[str, list[str]]):
    assert seen["host"][:2] == ["65534:65534", "65534:65534"]
    assert "denied" in " ".join(seen["host"])
    assert seen["idmap"] == ["5"]


@pytest.mark.root
def test_its_root_has_the_rights_over_what_is_its_own_alone(seen: dict[str, list[str]]):
    assert "lo" in seen["net"]
    assert seen["port"] == ["0"] or seen["port"] == ["1"], seen  # nc's end by its time limit
    assert "made" not in seen["device"]


@pytest.mark.root
def test_on_the_disk_are_the_ids_of_the_container(engine: Engine, seen: dict[str, list[str]]):
    own = engine.paths.container(engine.status("look")["id"])
    status = (own.upper / "made/file").stat()
    assert (status.st_uid, status.st_gid) == (33, 34)
    status = (engine.paths.volumes / "data/mine").stat()
    assert (status.st_uid, status.st_gid) == (7, 8)
    assert json.loads(engine.ok("inspect", "look"))["record"]["user_namespace"]["uids"] == [
        {"inside": 0, "outside": FIRST, "size": 65536}
    ]


@pytest.fixture
def box(engine: Engine) -> Iterator[str]:
    engine.detached("--name", "box", "--userns", "auto", "-v", "shared:/data", "sleep", "1000")
    yield "box"
    engine.ok("rm", "-f", "box")


def _host_uid(engine: Engine, name: str) -> int:
    pid = engine.process(name)["pid"]
    return Path(f"/proc/{pid}").stat().st_uid


@pytest.mark.root
def test_exec_top_and_another_user(engine: Engine, box: str):
    first = json.loads(engine.ok("inspect", box))["record"]["user_namespace"]["uids"][0]["outside"]
    look = "id -u; cat /proc/self/uid_map; readlink /proc/1/ns/user; readlink /proc/self/ns/user"
    told = engine.ok("exec", box, "sh", "-c", look).split()
    assert told[:3] == ["0", "0", str(first)]
    assert told[-1] == told[-2]
    assert engine.ok("exec", "-u", "1000:50", box, "sh", "-c", "id -u; id -g").split() == [
        "1000", "50",
    ]  # fmt: skip
    assert engine.ok("exec", box, "sh", "-c", "echo y > /dev/stdout; echo > /new; cat /new") == "y"
    assert [p["user"] for p in json.loads(engine.ok("top", box, "--json"))] == ["root"]
    assert json.loads(engine.ok("stats", "--no-stream", "--json", box))


@pytest.mark.root
def test_exec_with_a_terminal(engine: Engine, box: str):
    assert engine.ok("exec", "-t", box, "tty").startswith("/dev/pts/")


@pytest.mark.root
def test_copies_keep_the_containers_ids(engine: Engine, box: str, tmp_path: Path):
    (tmp_path / "in").write_text("content")
    os.chown(tmp_path / "in", 12, 13)
    engine.ok("cp", tmp_path / "in", f"{box}:/plain")
    engine.ok("cp", "-a", tmp_path / "in", f"{box}:/kept")
    engine.ok("cp", tmp_path / "in", f"{box}:/data/volume")
    look = "stat -c %u:%g /plain /kept /data/volume"
    assert engine.ok("exec", box, "sh", "-c", look).split() == ["0:0", "12:13", "0:0"]
    for name in ("kept", "again"):
        engine.ok("cp", "-a", f"{box}:/kept", tmp_path / name)
        status = (tmp_path / name).stat()
        assert (status.st_uid, status.st_gid) == (12, 13)
        engine.ok("stop", "-t", "0", box) if name == "kept" else None
    engine.ok("cp", "-a", tmp_path / "in", f"{box}:/stopped")
    engine.ok("start", box)
    look = "stat -c %u:%g /plain /kept /stopped"
    assert engine.ok("exec", box, "sh", "-c", look).split() == ["0:0", "12:13", "12:13"]


@pytest.mark.root
def test_commit_and_a_container_of_the_image_without_a_map(engine: Engine, box: str):
    engine.ok("exec", box, "sh", "-c", "echo x > /made; chown 33:34 /made")
    engine.ok("commit", box, "made")
    look = ("sh", "-c", "stat -c %u:%g /made")
    assert engine.ok("run", "--rm", "made", *look) == "33:34"
    assert engine.ok("run", "--rm", "--userns", "auto:size=1000", "made", *look) == "33:34"


@pytest.mark.root
def test_logs_restart_and_a_terminal(engine: Engine):
    """The program opens its streams anew, as many do (/dev/stdout), and as another user."""
    done = engine.once(
        *MAP, "-u", "1000", "sh", "-c", "echo out >/dev/stdout; echo err >/dev/stderr"
    )
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    engine.detached("-t", "--name", "tty", *MAP, "tty")
    assert eventually(lambda: engine.ok("logs", "tty").startswith("/dev/pts/"))
    engine.ok("rm", "-f", "tty")


@pytest.mark.root
def test_ids_that_another_container_has_alone_are_refused(engine: Engine, box: str):
    first = _host_uid(engine, box)
    told = engine.fails("run", "--rm", "--uidmap", f"0:{first + 7}:10", "--rootfs", engine.rootfs,
                        "true", code=IdsUnfit.code)  # fmt: skip
    assert "'box'" in told
    engine.fails("run", "--rm", *MAP, "--network", "host", "--rootfs", engine.rootfs, "true",
                 code=SpecInvalid.code)  # fmt: skip
    for wrong in (["--uidmap", "0:1"], ["--userns", "other"], ["--userns", "auto", *MAP]):
        engine.fails("run", "--rm", *wrong, "--rootfs", engine.rootfs, "true", code=2)
    assert engine.leftovers()  # of `box` alone, as its fixture shows


@pytest.mark.root
def test_a_file_system_that_can_not_map_ids_is_refused_by_name(tmp_path: Path, busybox: Path):
    """overlay can't, and so a state directory on one."""
    from migrate.images.errors import SnapshotFailed
    from migrate.kernel import mounts

    for name in ("lower", "upper", "work", "all"):
        (tmp_path / name).mkdir()
    options = ",".join(f"{name}dir={tmp_path}/{name}" for name in ("lower", "upper", "work"))
    mounts.mount("overlay", tmp_path / "all", "overlay", 0, options)
    engine = Engine(tmp_path / "all", busybox)
    engine.environment["MIGRATE_STORAGE_DRIVER"] = "vfs"
    try:
        told = engine.fails("run", "--rm", *MAP, "--rootfs", busybox, "true",
                            code=SnapshotFailed.code)  # fmt: skip
        assert "other ids" in told
        assert engine.leftovers() == [str(tmp_path / "all")]
    finally:
        mounts.unmount(tmp_path / "all", mounts.MNT_DETACH)


@pytest.mark.root
def test_the_host_is_out_of_reach(engine: Engine, box: str):
    """As host ids, its root is nobody: signals, files and sockets of the host are not its own."""
    uid = _host_uid(engine, box)
    assert uid >= usernamespaces.FIRST
    pid = engine.process(box)["pid"]
    assert os.readlink(f"/proc/{pid}/ns/user") != os.readlink("/proc/self/ns/user")
    assert os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net")
    place = str(engine.paths.container(engine.status("box")["id"]).socket)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        child = os.fork()
        if child == 0:
            try:
                os.setresuid(uid, uid, uid)
                channel.connect(place)
            except OSError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
