"""config-linux.md, "Seccomp" and "The Container Process State"."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any

import pytest

from migrate.runtime import seccomp
from tests.oci.agent import Agent
from tests.oci.runtime import Runtime, Spec

pytestmark = pytest.mark.root

NOTIFY = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}


def _filtered(oci: Runtime, *rules: dict[str, Any], **seccomp: Any) -> Spec:
    spec = oci.spec("true")
    spec["linux"]["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules),
    } | seccomp  # fmt: skip
    return spec


def _mkdir(action: str, **more: Any) -> dict[str, Any]:
    return {"names": ["mkdir", "mkdirat"], "action": action} | more


@pytest.fixture
def agent(oci: Runtime) -> Iterator[Agent]:
    with Agent(oci.directory / "agent", errno.ENOMEDIUM) as made:
        yield made
        oci.clear()


@pytest.mark.parametrize(
    ("action", "status"),
    [
        ("SCMP_ACT_KILL", 159), ("SCMP_ACT_KILL_THREAD", 159), ("SCMP_ACT_KILL_PROCESS", 159),
        ("SCMP_ACT_TRAP", 159), ("SCMP_ACT_ERRNO", 1), ("SCMP_ACT_TRACE", 1),
        ("SCMP_ACT_LOG", 0), ("SCMP_ACT_ALLOW", 0),
    ],
)  # fmt: skip
def test_actions(oci: Runtime, action: str, status: int):
    """Without a tracer SCMP_ACT_TRACE answers ENOSYS (seccomp(2)); 159 is 128 + SIGSYS."""
    default = "SCMP_ACT_ALLOW" if action != "SCMP_ACT_ALLOW" else "SCMP_ACT_LOG"
    spec = _filtered(oci, _mkdir(action), defaultAction=default)
    told = oci.shell("mkdir /tmp/made; echo $?; rmdir /tmp/made 2>/dev/null; true", spec)
    assert told == str(status)


def test_every_action_of_the_specification_is_known():
    names = ("KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG",
             "NOTIFY")  # fmt: skip
    assert {f"SCMP_ACT_{name}" for name in names} == set(seccomp.ACTIONS)


def test_errno_ret(oci: Runtime):
    text = "mkdir /tmp/x 2>&1; true"
    assert "not permitted" in oci.shell(text, _filtered(oci, _mkdir("SCMP_ACT_ERRNO")))
    rule = _mkdir("SCMP_ACT_ERRNO", errnoRet=errno.ENOSPC)
    assert "No space left" in oci.shell(text, _filtered(oci, rule))


def test_default_errno_ret(oci: Runtime):
    names = sorted(_every_call() - {"mkdir", "mkdirat"})
    spec = _filtered(oci, {"names": names, "action": "SCMP_ACT_ALLOW"},
                     defaultAction="SCMP_ACT_ERRNO", defaultErrnoRet=errno.ENOSPC)  # fmt: skip
    assert "No space left" in oci.shell("mkdir /tmp/x 2>&1; true", spec)


def _every_call() -> set[str]:
    """The names that this machine's libseccomp knows."""
    import ctypes

    library = ctypes.CDLL("libseccomp.so.2")
    resolve = library.seccomp_syscall_resolve_num_arch
    resolve.restype = ctypes.c_char_p
    names = (resolve(ctypes.c_uint32(0), number) for number in range(600))
    return {name.decode() for name in names if name}


@pytest.mark.parametrize(
    "change",
    [
        {"syscalls": [_mkdir("SCMP_ACT_KILL", errnoRet=1)]}, {"defaultErrnoRet": 1},
        {"syscalls": [_mkdir("SCMP_ACT_NONSENSE")]}, {"architectures": ["SCMP_ARCH_MOON"]},
        {"flags": ["SECCOMP_FILTER_FLAG_NONSENSE"]},
    ],
)  # fmt: skip
def test_what_is_not_valid_is_an_error(oci: Runtime, change: dict[str, Any]):
    assert "seccomp" in oci.refused(_filtered(oci, **change))


@pytest.mark.parametrize("flag", sorted(seccomp.FLAGS))
def test_flags(oci: Runtime, flag: str):
    spec = _filtered(oci, _mkdir("SCMP_ACT_ERRNO"), flags=[flag])
    assert oci.shell("mkdir /tmp/x 2>/dev/null || echo refused", spec) == "refused"


@pytest.mark.parametrize("architecture", seccomp.ARCHITECTURES)
def test_architectures(architecture: str):
    """Every architecture of the specification; those of one byte order go together."""
    big = {"MIPS", "MIPS64", "MIPS64N32", "PARISC", "PARISC64", "PPC", "PPC64", "S390", "S390X"}
    wanted = {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [architecture],
              "syscalls": [_mkdir("SCMP_ACT_ERRNO")]}  # fmt: skip
    if architecture.removeprefix("SCMP_ARCH_") in big:
        with pytest.raises(Exception, match="can't be used"):
            seccomp.compile_filter(wanted)
    else:
        assert len(seccomp.compile_filter(wanted)) % 8 == 0


@pytest.mark.parametrize(
    ("operator", "value", "two", "expected"),
    [
        ("SCMP_CMP_EQ", 10, 0, "10"), ("SCMP_CMP_NE", 10, 0, "12 15"),
        ("SCMP_CMP_LT", 12, 0, "10"), ("SCMP_CMP_LE", 12, 0, "10 12"),
        ("SCMP_CMP_GE", 12, 0, "12 15"), ("SCMP_CMP_GT", 12, 0, "15"),
        ("SCMP_CMP_MASKED_EQ", 0xE, 10, "10"),
    ],
)  # fmt: skip
def test_arguments(oci: Runtime, operator: str, value: int, two: int, expected: str):
    """Which of kill(2)'s signals 10, 12 and 15 a condition holds for."""
    condition = {"index": 1, "value": value, "valueTwo": two, "op": operator}
    rule = {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "args": [condition]}
    text = (
        "trap : 10 12 15;"
        "for n in 10 12 15; do kill -$n $$ 2>/dev/null || printf '%s ' $n; done; true"
    )
    assert oci.shell(text, _filtered(oci, rule)) == expected


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_notify_the_agent_gets_state_and_listener(
    oci: Runtime, agent: Agent, no_new_privileges: bool
):
    spec = _filtered(oci, NOTIFY, listenerPath=str(agent.path), listenerMetadata="of the test")
    spec["process"] |= {"noNewPrivileges": no_new_privileges, "args": ["sh", "-c",
                        "mkdir /tmp/x 2>/tmp/told; cat /tmp/told; exec sleep 1000"]}  # fmt: skip
    spec["mounts"].append({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"})
    spec["annotations"] = {"a": "b"}
    reader, writer = os.pipe()
    identifier = oci.create(spec, stdout=writer)
    os.close(writer)
    oci.ok("start", identifier)
    with os.fdopen(reader) as output:
        assert "No medium found" in output.readline()
    state = oci.state(identifier)
    [told] = agent.states
    assert {key: told[key] for key in ("ociVersion", "fds", "pid", "metadata")} == {
        "ociVersion": "1.2.0", "fds": ["seccompFd"], "pid": state["pid"],
        "metadata": "of the test",
    }  # fmt: skip
    own = told["state"]
    assert (own["id"], own["pid"], own["bundle"]) == (identifier, state["pid"], state["bundle"])
    assert own["annotations"] == {"a": "b"}
    assert own["status"] == "created"
    assert len(agent.calls) == 1


def test_notify_of_a_process_of_exec(oci: Runtime, agent: Agent):
    spec = _filtered(oci, NOTIFY, listenerPath=str(agent.path))
    spec["process"]["args"] = ["sleep", "1000"]
    identifier = oci.running(spec)
    done = oci.call("exec", "--pid-file", oci.directory / "pid", identifier, "mkdir", "/tmp/x")
    assert "No medium found" in done.stderr
    assert agent.states[1]["pid"] == int((oci.directory / "pid").read_text())
    assert agent.states[1]["state"]["pid"] == oci.state(identifier)["pid"]
    assert agent.states[1]["state"]["status"] == "running"


def test_notify_of_every_call_after_the_filter(oci: Runtime, agent: Agent):
    """The process gives up its ids behind the filter; each of these calls waits for the agent."""
    rule = {"names": ["capset"], "action": "SCMP_ACT_NOTIFY"}
    spec = _filtered(oci, rule, listenerPath=str(agent.path))
    spec["process"]["noNewPrivileges"] = False
    identifier = oci.create(spec)
    text = oci.fails("start", identifier)
    assert "No medium found" in text
    assert agent.calls


def test_notify_with_an_agent_that_is_not_there_is_an_error(oci: Runtime):
    assert "/nowhere" in oci.refused(_filtered(oci, NOTIFY, listenerPath="/nowhere"))
    assert "listenerPath" in oci.refused(_filtered(oci, NOTIFY))
    assert "listenerPath" in oci.refused(_filtered(oci, listenerMetadata="x"))


def test_notify_with_an_agent_that_hangs_up_is_an_error_of_start(oci: Runtime):
    with Agent(oci.directory / "agent", 1) as agent:
        spec = _filtered(oci, NOTIFY, listenerPath=str(agent.path))
        spec["process"]["args"] = ["sleep", "1000"]
        agent.hang_up()
        identifier = oci.create(spec)
        assert "cannot start" in oci.fails("start", identifier)


def test_listener_path_without_notify_is_ignored(oci: Runtime):
    spec = _filtered(oci, _mkdir("SCMP_ACT_ERRNO"), listenerPath="/nowhere")
    assert oci.shell("mkdir /tmp/x 2>/dev/null || echo refused", spec) == "refused"
