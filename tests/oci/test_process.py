"""config.md, "Process", "POSIX process", "Linux Process" and "User": a clause a test."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from migrate.kernel.capabilities import NAMES, mask_of
from migrate.kernel.scheduling import POLICIES
from tests.oci.runtime import Runtime, Spec
from tests.rootfs import rootfs_with

pytestmark = pytest.mark.root


def _status(text: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_args_the_first_is_found_by_the_path_of_env(oci: Runtime):
    spec = oci.spec("mine", env=["PATH=/nowhere:/tmp:/bin"])
    spec["mounts"].append(
        {"destination": "/tmp", "source": str(oci.directory), "options": ["bind"]}
    )
    (oci.directory / "mine").write_text("#!/bin/sh\necho $0 $PATH\n")
    (oci.directory / "mine").chmod(0o755)
    assert oci.run(spec) == "/tmp/mine /nowhere:/tmp:/bin"


def test_args_are_passed_as_they_are(oci: Runtime):
    spec = oci.spec("sh", "-c", 'for a in "$@"; do echo "<$a>"; done', "", "a b", "", "*", "ü")
    assert oci.run(spec).splitlines() == ["<a b>", "<>", "<*>", "<ü>"]


def test_env_is_all_that_there_is(oci: Runtime):
    spec = oci.spec("env", env=["PATH=/bin", "A=1=2", "EMPTY=", "HOME=/x"])
    told = set(oci.run(spec, env=os.environ | {"LEAK": "1"}).splitlines())
    assert told == {"PATH=/bin", "A=1=2", "EMPTY=", "HOME=/x"}


def test_env_the_last_of_two_values_holds(oci: Runtime):
    spec = oci.spec("sh", "-c", "echo $A", env=["PATH=/bin", "A=1", "A=2"])
    assert oci.run(spec) == "2"


def test_cwd_that_is_missing_is_made(oci: Runtime):
    spec = oci.spec("pwd", cwd="/tmp/a/b")
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    assert oci.run(spec) == "/tmp/a/b"


def test_cwd_that_is_no_directory_is_an_error(oci: Runtime):
    assert "/etc/passwd" in oci.refused(oci.spec("true", cwd="/etc/passwd"))


def test_cwd_of_the_user_alone(oci: Runtime):
    """A directory that root may not search without CAP_DAC_OVERRIDE."""
    spec = oci.spec("pwd", cwd="/tmp/private")
    spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    private = oci.directory / "private"
    private.mkdir(0o700)
    os.chown(private, 1000, 1000)
    mount = {"destination": "/tmp/private", "source": str(private), "options": ["bind"]}
    spec["mounts"] += [{"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}, mount]
    assert oci.run(spec) == "/tmp/private"


def test_rlimits_of_every_type_are_known(oci: Runtime):
    """Each at what this process may have: getrlimit(2) names them."""
    names = [n for n in dir(resource) if n.startswith("RLIMIT_") and n not in
             {"RLIMIT_OFILE", "RLIMIT_VMEM"}]  # fmt: skip
    limits = []
    for name in names:
        _soft, hard = resource.getrlimit(getattr(resource, name))
        value = hard if hard != resource.RLIM_INFINITY else (1 << 64) - 1
        limits.append({"type": name, "soft": value, "hard": value})
    told = oci.shell("cat /proc/self/limits", oci.spec(rlimits=limits))
    for line in told.splitlines()[1:]:
        words = line[26:].split()
        assert words[0] == words[1], line


@pytest.mark.parametrize(
    "entry", [{"type": "RLIMIT_CORE", "soft": 5, "hard": 4}, {"type": "CORE", "soft": 1, "hard": 1}]
)
def test_rlimits_that_are_not_valid_are_refused(oci: Runtime, entry: dict[str, Any]):
    assert "rlimit" in oci.refused(oci.spec("true", rlimits=[entry]))


def test_user_umask_is_0022_where_none_is_given(oci: Runtime):
    assert oci.shell("umask") == "0022"


def test_user_umask_zero(oci: Runtime):
    spec = oci.spec()
    spec["process"]["user"] = {"uid": 0, "gid": 0, "umask": 0}
    assert oci.shell("umask", spec) == "0000"


def test_user_has_no_groups_of_the_callers(oci: Runtime):
    assert oci.shell("id -G") == "0"


def test_user_home_is_that_of_passwd_or_the_root(oci: Runtime):
    spec = oci.spec()
    spec["process"]["user"] = {"uid": 4711, "gid": 0}
    assert oci.shell("echo $HOME", spec) == "/"
    spec = oci.spec()
    spec["process"]["env"].append("HOME=/given")
    assert oci.shell("echo $HOME", spec) == "/given"


def test_user_owns_the_streams(oci: Runtime):
    spec = oci.spec()
    spec["process"]["user"] = {"uid": 1000, "gid": 1000}
    assert oci.shell("echo fine > /proc/self/fd/1", spec) == "fine"


def _capable(oci: Runtime, sets: dict[str, list[str]], uid: int = 0) -> dict[str, str]:
    spec = oci.spec(capabilities=sets, noNewPrivileges=False)
    spec["process"]["user"] = {"uid": uid, "gid": uid}
    return _status(oci.shell("grep ^Cap /proc/self/status", spec))


def test_capabilities_none(oci: Runtime):
    told = _capable(oci, {})
    assert {int(value, 16) for value in told.values()} == {0}


@pytest.mark.parametrize("uid", [0, 1000])
def test_capabilities_bounding_alone(oci: Runtime, uid: int):
    """Root gets what is in the bounding set with its exec (capabilities(7)); nobody else does."""
    told = _capable(oci, {"bounding": ["CAP_KILL"]}, uid)
    mask = mask_of(["CAP_KILL"])
    assert int(told["CapBnd"], 16) == mask
    assert int(told["CapEff"], 16) == (mask if uid == 0 else 0)


def test_capabilities_all_that_this_process_has(oci: Runtime):
    own = int(_status(Path("/proc/self/status").read_text())["CapEff"], 16)
    names = [name for name in NAMES if mask_of([name]) & own]
    told = _capable(oci, {"bounding": names, "effective": names, "permitted": names})
    assert int(told["CapEff"], 16) == own


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_scheduler_policies(oci: Runtime, policy: str):
    wanted: dict[str, Any] = {"policy": policy}
    if policy in {"SCHED_FIFO", "SCHED_RR"}:
        wanted["priority"] = 3
    elif policy == "SCHED_DEADLINE":
        wanted |= {"runtime": 10_000_000, "deadline": 30_000_000, "period": 30_000_000}
    if policy != "SCHED_DEADLINE":
        wanted["flags"] = ["SCHED_FLAG_RESET_ON_FORK"]
    spec = oci.spec("cut", "-d ", "-f41", "/proc/self/stat", scheduler=wanted)
    done = oci.call("run", "-b", oci.bundle(spec), oci.identifier())
    if done.returncode and "not permitted" in done.stderr:  # no real time in this cgroup
        assert "resource limits" in done.stderr
        return
    assert done.stdout.strip() == str(POLICIES[policy]), done.stderr


@pytest.mark.parametrize(
    "change",
    [
        {"scheduler": {"policy": "SCHED_X"}},
        {"scheduler": {"policy": "SCHED_OTHER", "flags": ["X"]}},
        {"ioPriority": {"class": "IOPRIO_CLASS_X"}},
    ],
)  # fmt: skip
def test_scheduler_and_io_priority_that_are_not_known_are_refused(
    oci: Runtime, change: dict[str, Any]
):
    assert next(iter(change)) in oci.refused(oci.spec("true", **change))


@pytest.mark.parametrize(
    ("kind", "told"), [("RT", "realtime: prio 4"), ("BE", "best-effort: prio 4"), ("IDLE", "idle")]
)
def test_io_priority_classes(oci: Runtime, kind: str, told: str):
    spec = oci.spec(ioPriority={"class": f"IOPRIO_CLASS_{kind}", "priority": 4})
    assert oci.shell("ionice -p $$", spec).startswith(told)


@pytest.mark.parametrize("score", [0, 1000])
def test_oom_score_adj(oci: Runtime, score: int):
    assert oci.shell("cat /proc/self/oom_score_adj", oci.spec(oomScoreAdj=score)) == str(score)


def test_oom_score_adj_without_one_is_the_callers(oci: Runtime):
    spec = oci.spec()
    spec["process"].pop("oomScoreAdj", None)
    own = Path("/proc/self/oom_score_adj").read_text().strip()
    assert oci.shell("cat /proc/self/oom_score_adj", spec) == own


def test_oom_score_adj_out_of_range_is_an_error(oci: Runtime):
    assert "oomScoreAdj" in oci.refused(oci.spec("true", oomScoreAdj=5000))


def test_no_new_privileges_keeps_setuid_programs_from_working(oci: Runtime):
    place = rootfs_with(oci.directory / "with-id", ["/usr/bin/id"])
    (place / "usr/bin/id").chmod(0o4755)
    for wanted, uid in ((False, "0"), (True, "1000")):
        spec = oci.spec("/usr/bin/id", "-u", noNewPrivileges=wanted)
        spec["process"]["user"] = {"uid": 1000, "gid": 1000}
        spec["root"]["path"] = str(place)
        assert oci.run(spec) == uid


def _process(**changes: Any) -> Any:
    def change(spec: Spec) -> None:
        spec["process"] |= changes

    return change


@pytest.mark.parametrize(
    "spoil",
    [
        lambda spec: spec.pop("process"), lambda spec: spec.update(process=[]),
        _process(args="true"), _process(args=[1]), _process(cwd=None), _process(cwd=5),
        _process(env="A=1"), _process(env=[1]), _process(user=5), _process(rlimits={"a": 1}),
        _process(capabilities=["CAP_KILL"]), _process(user={"uid": "root"}),
        _process(user={"uid": -5, "gid": 0}), _process(user={"uid": 0, "additionalGids": ["x"]}),
    ],
)  # fmt: skip
def test_what_is_of_a_wrong_type_is_refused(oci: Runtime, spoil: Any):
    spec = oci.spec("true")
    spoil(spec)
    assert oci.refused(spec).startswith("migrate-oci: ")
