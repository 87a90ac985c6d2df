"""exec: one more process in a container, in all its namespaces and its control group."""

from __future__ import annotations

import os

from migrate.errors import MigrateError
from migrate.kernel.bare import contextlib, json, signal, socket
from migrate.kernel.namespaces import FLAG_OF_NAME, namespace_id, setns
from migrate.kernel.processes import default_signals, set_child_subreaper, set_dumpable
from migrate.kernel.scheduling import numbers_of
from migrate.oci import records
from migrate.oci.attached import passing_signals, relay_terminal, wait_for
from migrate.oci.errors import BadConfig, BadUsage, ExecFailed, Unsupported
from migrate.oci.joinedgroups import directories
from migrate.oci.main import Ended
from migrate.oci.processcheck import check_process, take_out_capabilities
from migrate.oci.program import Program, in_words, no_more_imports
from migrate.oci.streams import connected, console_size, written_pid

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

_PACKET = 65536
_ORDER = ("ipc", "uts", "net", "pid", "cgroup", "time", "mnt")


def execute(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Run it; in the foreground with its exit status as ours. Raises ExecFailed, whatever fails."""
    try:
        _execute(settings, values, words)
    except ExecFailed:
        raise
    except MigrateError as error:
        told = f"exec failed: {error.what}"
        raise ExecFailed(told, cause=error.cause, mend=error.mend) from error


def _execute(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    container = records.load(settings["root"], words[0])
    allowed = [records.RUNNING, records.CREATED]
    if values["ignore_paused"]:
        allowed.append(records.PAUSED)
    container.require("exec in", *allowed)
    spec = container.config
    process = _process(spec, values, words[1:])
    check_process(process)
    if refused := take_out_capabilities(process):
        from migrate.oci.errorlog import warn_of_capabilities

        warn_of_capabilities(settings, refused)
    if values["console_socket"] and not process.get("terminal"):
        raise BadUsage("--console-socket needs --tty, or process.terminal to be true")
    if process.get("terminal") and values["detach"] and not values["console_socket"]:
        raise BadUsage("cannot allocate tty without --console-socket", cause="--detach was given")
    joined = directories(container.state, values["cgroup"])
    if preparing := settings["preparing"]:
        preparing.end()
    raise Ended(_run(container, values, _program(container, spec, process, values), joined))


def _program(
    container: records.Container, spec: dict[str, Any], process: dict[str, Any],
    values: dict[str, Any],
) -> Program:  # fmt: skip
    linux = spec.get("linux") or {}
    compiled, listener = (b"", 0), None
    if wanted := linux.get("seccomp"):
        from migrate.oci.listener import listener_of
        from migrate.runtime import seccomp

        compiled = seccomp.compile_filter(wanted), seccomp.flags_of(wanted)
        listener = listener_of(spec, container.describe())
    if process.get("terminal"):
        from migrate.runtime import terminal  # noqa: F401 -- nothing can be loaded inside
    return Program(process, linux, compiled, values["preserve_fds"], listener)


def _run(
    container: records.Container, values: dict[str, Any], program: Program, joined: list[str]
) -> int:
    if not values["detach"]:
        set_child_subreaper()
    ours: socket.socket | None = None
    console: socket.socket | None = None
    if values["console_socket"]:
        console = connected(values["console_socket"])
    elif program.process.get("terminal"):
        ours, console = socket.socketpair()
    try:
        pid = _launch(container, program, joined, console)
    finally:
        if console:
            console.close()
    if values["pid_file"]:
        written_pid(values["pid_file"], pid)
    if values["detach"]:
        return 0
    with passing_signals(pid):
        if ours:
            relay_terminal(ours, pid)
        return wait_for(pid)


def _process(spec: dict[str, Any], values: dict[str, Any], words: list[str]) -> dict[str, Any]:
    """`process` of --process FILE, or the container's own with the options' changes."""
    if values["process"]:
        try:
            with open(values["process"], "rb") as file:
                found: dict[str, Any] = json.loads(file.read(records.LIMIT))
        except (OSError, ValueError) as error:
            raise BadConfig(f"can't read {values['process']}", cause=str(error)) from error
        # What it does not say is the container's, as with runc.
        kept = {key: spec["process"].get(key) for key in ("capabilities", "rlimits")}
        return {key: value for key, value in kept.items() if value} | found
    if not words:
        raise BadUsage("process args cannot be empty", cause="neither PROGRAM nor --process")
    if values["process_label"]:
        raise Unsupported("--process-label: SELinux is not supported")
    process = spec["process"] | {"args": words, "terminal": values["tty"]}
    process["env"] = [*(process.get("env") or []), *values["env"]]
    process.pop("consoleSize", None)
    if values["cwd"]:
        process["cwd"] = values["cwd"]
    if values["apparmor"]:
        process["apparmorProfile"] = values["apparmor"]
    if values["no_new_privs"]:
        process["noNewPrivileges"] = True
    process["user"] = _user(dict(process.get("user") or {}), values)
    process["capabilities"] = _capabilities(process.get("capabilities") or {}, values["cap"])
    return dict(process)


def _user(user: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    try:
        if values["user"]:
            uid, _, gid = values["user"].partition(":")
            user["uid"] = int(uid)
            if gid:
                user["gid"] = int(gid)
        if more := values["additional_gids"]:
            user["additionalGids"] = [*(user.get("additionalGids") or []), *map(int, more)]
    except ValueError:
        raise BadUsage(
            "--user and --additional-gids want numbers", cause=str(values["user"])
        ) from None
    return user


def _capabilities(own: dict[str, Any], more: list[str]) -> dict[str, Any]:
    """With --cap: added to the bounding, effective and permitted set."""
    if not more:
        return own
    sets = ("bounding", "effective", "permitted")
    return own | {name: [*(own.get(name) or []), *more] for name in sets}


def _launch(
    container: records.Container, program: Program, joined: list[str],
    console: socket.socket | None,
) -> int:  # fmt: skip
    """The pid of the process, which has executed the program; raises ExecFailed."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    init = os.pidfd_open(container.state["pid"])
    middle = os.fork()
    if middle == 0:
        ours.close()
        _or_tell(theirs, "entering", lambda: _be_middle(
            container, init, program, joined, theirs, console
        ))  # fmt: skip
    theirs.close()
    if program.listener:
        program.listener.close()
    try:
        return _await_exec(ours)
    finally:
        ours.close()
        os.close(init)
        os.waitpid(middle, 0)


def _await_exec(channel: socket.socket) -> int:
    """The pid that is told, once the exec has closed the channel's last copy; raises ExecFailed."""
    pid = 0
    while data := channel.recv(_PACKET):
        message = json.loads(data)
        if "error" in message:
            if pid:
                with contextlib.suppress(ProcessLookupError, ChildProcessError):
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)
            raise ExecFailed(
                f"exec failed: unable to start container process: {message['step']}",
                cause=message["error"], mend="give a program that the container has",
            )  # fmt: skip
        pid = message["pid"]
    if not pid:
        raise ExecFailed("exec failed", cause="the container ended meanwhile")
    return pid


def _or_tell(channel: socket.socket, step: str, act: Callable[[], None]) -> NoReturn:
    try:
        act()
    except Exception as error:  # noqa: BLE001 -- every failure travels to the parent
        channel.send(json.dumps({"step": step, "error": in_words(error)}).encode())
    finally:
        os._exit(ExecFailed.status)


def _be_middle(
    container: records.Container, init: int, program: Program, joined: list[str],
    channel: socket.socket, console: socket.socket | None,
) -> None:  # fmt: skip
    os.setsid()
    # The container's root must not reach this interpreter by /proc/PID/exe (CVE-2019-5736).
    set_dumpable(False)
    no_more_imports()
    pid = container.state["pid"]
    _set_affinity(program.process, "initial")
    # Opened with this process's rights; only the child goes there: a limit counts it alone.
    flags = os.O_WRONLY | os.O_CLOEXEC
    doors = [os.open(f"{directory}/cgroup.procs", flags) for directory in joined]
    if (score := program.process.get("oomScoreAdj")) is not None:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write(str(score))
    flags = sum(FLAG_OF_NAME[k] for k in _ORDER if namespace_id(k, pid) != namespace_id(k))
    in_user = namespace_id("user", pid) != namespace_id("user")
    if not container.alive:
        raise ProcessLookupError(3, "the container has ended")
    setns(init, flags | (FLAG_OF_NAME["user"] if in_user else 0))
    if in_user:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
    _fork(program, channel, console, doors)


def _fork(
    program: Program, channel: socket.socket, console: socket.socket | None, doors: list[int]
) -> None:  # fmt: skip
    """The program's own process; it waits until it is in the groups of `doors`."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(tell)
        own = int(os.read(told, 32) or b"0")  # its pid for the command, when it is in its groups
        os.close(told)
        if not own:
            os._exit(ExecFailed.status)
        _or_tell(channel, "exec", lambda: _be_program(program, channel, console, own))
    for door in doors:
        os.write(door, str(child).encode())
    channel.send(json.dumps({"pid": child}).encode())
    os.write(tell, str(child).encode())
    os._exit(0)


def _set_affinity(process: dict[str, Any], when: str) -> None:
    """execCPUAffinity (config.md): before and after the move into the container's group."""
    if cpus := (process.get("execCPUAffinity") or {}).get(when):
        os.sched_setaffinity(0, numbers_of(cpus))


def _be_program(
    program: Program, channel: socket.socket, console: socket.socket | None, pid: int
) -> None:  # fmt: skip
    os.setsid()
    _set_affinity(program.process, "final")
    if program.listener:
        program.listener.pid = pid

    def tell(error: Exception) -> None:
        channel.send(json.dumps({"step": "seccomp", "error": in_words(error)}).encode())

    if console:
        from migrate.runtime.terminal import take_terminal, window_size

        take_terminal(console, console_size(program.process) or window_size())
        console.close()
        os.fchown(0, (program.process.get("user") or {}).get("uid", 0), -1)
    program.own_streams()
    program.set_limits()
    program.change_directory()
    program.find()
    default_signals()
    signal.pthread_sigmask(signal.SIG_SETMASK, set())
    program.execute(tell, channel.fileno())
