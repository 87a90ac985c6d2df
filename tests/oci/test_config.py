"""config.md: root, mounts, process, hostname; named by its sections."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from migrate.kernel.capabilities import mask_of
from tests.oci.runtime import Runtime

pytestmark = pytest.mark.root


def test_specification_version_of_another_major_is_refused(oci: Runtime):
    assert "ociVersion 2.0.0" in oci.refused(oci.spec("true") | {"ociVersion": "2.0.0"})


def test_extensibility_unknown_properties_are_ignored(oci: Runtime):
    spec = oci.spec("echo", "fine") | {"org.example.unknown": {"a": 1}}
    spec["linux"]["alsoUnknown"] = True
    assert oci.run(spec) == "fine"


def test_root_readonly(oci: Runtime):
    spec = oci.spec()
    spec["root"]["readonly"] = True
    assert "ro" in oci.shell("grep ' / ' /proc/self/mounts; touch /written 2>&1 || true", spec)
    assert not (oci.rootfs / "written").exists()


def test_root_path_is_relative_to_the_bundle(oci: Runtime):
    spec = oci.spec("echo", "fine")
    spec["root"]["path"] = "rootfs"
    bundle = oci.bundle(spec)
    (bundle / "rootfs").symlink_to(oci.rootfs)
    assert oci.ok("run", "-b", bundle, oci.identifier()) == "fine"


def test_root_path_that_is_no_directory_is_refused(oci: Runtime):
    spec = oci.spec("true")
    spec["root"]["path"] = "/nowhere"
    assert "/nowhere" in oci.refused(spec)


def test_mounts_bind_with_options(oci: Runtime):
    place = oci.directory / "shared"
    place.mkdir()
    (place / "file").write_text("of the host")
    spec = oci.spec()
    spec["mounts"] += [
        {"destination": "/data", "type": "bind", "source": str(place),
         "options": ["rbind", "ro", "nosuid"]},
        {"destination": "/one/file", "source": str(place / "file"), "options": ["bind"]},
    ]  # fmt: skip
    told = oci.shell(
        "cat /data/file /one/file; touch /data/x 2>&1; grep ' /data ' /proc/self/mounts; true", spec
    )
    assert told.startswith("of the hostof the host")
    assert "Read-only file system" in told
    assert "ro,nosuid" in told
    (oci.rootfs / "one/file").unlink()
    for name in ("one", "data"):
        (oci.rootfs / name).rmdir()


def test_mounts_bind_source_is_relative_to_the_bundle(oci: Runtime):
    spec = oci.spec("cat", "/tmp/f")
    spec["mounts"].append({"destination": "/tmp", "source": "here", "options": ["bind"]})
    bundle = oci.bundle(spec)
    (bundle / "here").mkdir()
    (bundle / "here/f").write_text("found")
    assert oci.ok("run", "-b", bundle, oci.identifier()) == "found"


def test_mounts_recursive_options(oci: Runtime):
    spec = oci.spec()
    spec["mounts"] += [
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
        {"destination": "/home", "source": "/proc", "options": ["rbind", "rro", "rnoexec"]},
    ]
    told = oci.shell("grep ' /home ' /proc/self/mounts; grep ' /tmp ' /proc/self/mounts", spec)
    home, temporary = told.splitlines()
    assert "ro," in home
    assert "noexec" in home
    assert "mode=755" in temporary


def test_mounts_tmpcopyup(oci: Runtime):
    spec = oci.spec()
    mount = {"destination": "/etc", "type": "tmpfs", "source": "tmpfs", "options": ["tmpcopyup"]}
    spec["mounts"].append(mount)
    told = oci.shell("echo x > /etc/new; ls /etc", spec).split()
    assert sorted(told) == sorted(["new", *os.listdir(oci.rootfs / "etc")])
    assert not (oci.rootfs / "etc/new").exists()


def test_mounts_propagation(oci: Runtime):
    spec = oci.spec()
    spec["mounts"] += [
        {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["rshared"]},
        {"destination": "/home", "type": "tmpfs", "source": "tmpfs", "options": ["unbindable"]},
    ]
    told = oci.shell("grep -E ' /tmp | /home ' /proc/self/mountinfo", spec)
    assert "shared:" in told.splitlines()[0]
    assert "unbindable" in told.splitlines()[1]


def test_mounts_destination_link_does_not_lead_out_of_the_root(oci: Runtime):
    outside = oci.directory / "outside"
    outside.mkdir()
    link = oci.rootfs / "escape"
    link.symlink_to(outside)
    try:
        spec = oci.spec("true")
        spec["mounts"].append({"destination": "/escape/here", "type": "tmpfs", "source": "tmpfs"})
        oci.call("run", "-b", oci.bundle(spec), oci.identifier())
        assert list(outside.iterdir()) == []
    finally:
        link.unlink()


def test_process_cwd_env_and_args(oci: Runtime):
    spec = oci.spec("sh", "-c", "pwd; echo $A; echo $0", "name", cwd="/home/alice")
    spec["process"]["env"].append("A=b c")
    assert oci.run(spec).splitlines() == ["/home/alice", "b c", "name"]


def test_process_user_with_groups_and_umask(oci: Runtime):
    spec = oci.spec()
    spec["process"]["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [50, 60], "umask": 0o27}
    told = oci.shell("id -u; id -g; id -G; umask; echo $HOME", spec)
    assert told.splitlines() == ["1000", "1001", "1001 50 60", "0027", "/home/alice"]


def test_process_rlimits(oci: Runtime):
    spec = oci.spec(rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}])
    assert oci.shell("ulimit -Sn; ulimit -Hn", spec).split() == ["100", "200"]


def test_process_rlimits_unknown_or_twice_is_refused(oci: Runtime):
    entry = {"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}
    assert "twice" in oci.refused(oci.spec("true", rlimits=[entry, entry]))
    assert "RLIMIT_X" in oci.refused(oci.spec("true", rlimits=[entry | {"type": "RLIMIT_X"}]))


def test_process_capabilities_in_five_sets(oci: Runtime):
    sets = {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
        "permitted": ["CAP_CHOWN", "CAP_KILL"],
        "inheritable": ["CAP_KILL"], "effective": ["CAP_CHOWN", "CAP_KILL"],
        "ambient": ["CAP_KILL"],
    }  # fmt: skip
    spec = oci.spec(capabilities=sets)
    spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    told = dict(line.split(":\t") for line in oci.shell(
        "grep ^Cap /proc/self/status", spec).splitlines())  # fmt: skip
    assert int(told["CapBnd"], 16) == mask_of(sets["bounding"])
    for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(told[name], 16) == mask_of(["CAP_KILL"]), name


def test_process_capabilities_that_can_not_be_granted_are_a_warning(oci: Runtime):
    """ "MUST be logged as a warning by the runtime", which "SHOULD NOT fail"."""
    names = ["CAP_NONSENSE", "CAP_KILL"]
    spec = oci.spec("grep", "CapBnd", "/proc/self/status", capabilities={"bounding": names})
    log = oci.directory / "log"
    words = ("--log", log, "run", "-b", oci.bundle(spec), oci.identifier())
    done = oci.call(*words)
    assert done.returncode == 0
    assert int(done.stdout.split()[1], 16) == mask_of(["CAP_KILL"])
    assert "CAP_NONSENSE" in done.stderr
    assert "level=warning" in log.read_text()
    identifier = oci.running()
    done = oci.call("exec", "--cap", "CAP_NONSENSE", identifier, "echo", "fine")
    assert (done.returncode, done.stdout) == (0, "fine\n")
    assert "CAP_NONSENSE" in done.stderr


@pytest.mark.parametrize("wanted", [True, False])
def test_process_no_new_privileges(oci: Runtime, wanted: bool):
    told = oci.shell("grep NoNewPrivs /proc/self/status", oci.spec(noNewPrivileges=wanted))
    assert told.split()[1] == str(int(wanted))


def test_process_oom_score_adj(oci: Runtime):
    assert oci.shell("cat /proc/self/oom_score_adj", oci.spec(oomScoreAdj=500)) == "500"


def test_process_scheduler_and_io_priority(oci: Runtime):
    spec = oci.spec(
        scheduler={"policy": "SCHED_BATCH", "nice": 5},
        ioPriority={"class": "IOPRIO_CLASS_BE", "priority": 6},
    )
    told = oci.shell("cut -d' ' -f19,41 /proc/self/stat; ionice -p $$", spec)
    assert told.splitlines() == ["5 3", "best-effort: prio 6"]


def test_process_program_that_is_not_there_is_an_error_at_create(oci: Runtime):
    assert "executable file not found in $PATH" in oci.refused(oci.spec("nosuch"))
    assert "no such file or directory" in oci.refused(oci.spec("/bin/nosuch"))
    assert "permission denied" in oci.refused(oci.spec("/etc/passwd"))


@pytest.mark.parametrize("change", [{"args": []}, {"args": None}, {"cwd": "relative"}, {"cwd": ""}])
def test_process_that_is_not_valid_is_refused(oci: Runtime, change: dict[str, object]):
    assert "process." in oci.refused(oci.spec("true", **change))


def test_hostname_and_domainname(oci: Runtime):
    spec = oci.spec() | {"hostname": "moby", "domainname": "example.org"}
    told = oci.shell("hostname; cat /proc/sys/kernel/domainname", spec)
    assert told.split() == ["moby", "example.org"]


def test_hostname_without_a_uts_namespace_is_refused(oci: Runtime):
    spec = oci.spec("true") | {"hostname": "moby"}
    spec["linux"]["namespaces"] = [{"type": "pid"}, {"type": "mount"}]
    assert "uts" in oci.refused(spec)
    assert socket.gethostname() != "moby"


def test_descriptors_none_of_the_host_leaks_and_those_asked_for_arrive(oci: Runtime):
    """runc-create(8): --preserve-fds passes stdio, $LISTEN_FDS and N more."""
    reader, writer = os.pipe()
    leak = os.open("/etc/hostname", os.O_RDONLY)
    spec = oci.spec("sh", "-c", "echo passed >&3; ls /proc/self/fd")

    def place() -> None:
        os.dup2(writer, 3)
        os.dup2(leak, 9)
        os.set_inheritable(9, True)

    done = oci.call("run", "--preserve-fds", "1", "-b", oci.bundle(spec), oci.identifier(),
                    preexec_fn=place, close_fds=False)  # fmt: skip
    os.close(writer)
    with os.fdopen(reader) as output:
        assert output.readline() == "passed\n"
    os.close(leak)
    assert done.stdout.split() == ["0", "1", "2", "3", "4"]  # 4 is the directory that ls reads


def test_descriptors_of_socket_activation_arrive(oci: Runtime):
    spec = oci.spec("sh", "-c", "echo $LISTEN_FDS $LISTEN_PID; cat <&3")
    file = oci.directory / "activated"
    file.write_text("by systemd")
    descriptor = os.open(file, os.O_RDONLY)
    done = oci.call(
        "run", "-b", oci.bundle(spec), oci.identifier(), close_fds=False,
        preexec_fn=lambda: os.dup2(descriptor, 3), env=os.environ | {"LISTEN_FDS": "1"},
    )  # fmt: skip
    os.close(descriptor)
    assert done.stdout == "1 1\nby systemd"


def test_descriptors_that_are_not_open_are_refused(oci: Runtime):
    bundle = oci.bundle(oci.spec("true"))
    text = oci.fails("create", "--preserve-fds", "40", "-b", bundle, oci.identifier())
    assert "is not open" in text


def test_spec_writes_a_config_that_runs(oci: Runtime):
    bundle = oci.directory / "new"
    bundle.mkdir()
    oci.ok("spec", "-b", bundle)
    assert "exists" in oci.fails("spec", "-b", bundle)
    config = Path(bundle / "config.json")
    spec = json.loads(config.read_text())
    assert spec["process"]["terminal"]
    spec["process"] |= {"terminal": False, "args": ["echo", "fine"]}
    config.write_text(json.dumps(spec))
    (bundle / "rootfs").symlink_to(oci.rootfs)
    assert oci.ok("run", "-b", bundle, oci.identifier()) == "fine"


def test_no_pivot_gives_the_same_root(oci: Runtime):
    bundle = oci.bundle(oci.spec("cat", "/etc/passwd"))
    told = oci.ok("run", "--no-pivot", "-b", bundle, oci.identifier())
    assert told == (oci.rootfs / "etc/passwd").read_text().strip()
