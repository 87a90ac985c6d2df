"""One more process in a running container: into its control group and namespaces, then the exec.

For `migrate exec`, which has few milliseconds: nothing is loaded here that takes long.
"""

from __future__ import annotations

import os
import stat

from migrate.kernel.bare import contextlib, signal, socket
from migrate.kernel.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWTIME,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    namespace_id,
    setns,
)  # fmt: skip
from migrate.kernel.processes import default_signals, pidfd_open, set_dumpable
from migrate.kernel.userns import become_root
from migrate.runtime import privileges
from migrate.runtime.cgroups import tree
from migrate.runtime.errors import ExecFailed
from migrate.runtime.init import EXIT_NOT_EXECUTABLE, EXIT_NOT_FOUND
from migrate.runtime.mapped import root_of
from migrate.runtime.users import look_up

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, NoReturn

# A container that CRIU restored lives in a time namespace of its own.
_KINDS = {
    "ipc": CLONE_NEWIPC, "uts": CLONE_NEWUTS, "net": CLONE_NEWNET, "time": CLONE_NEWTIME,
    "pid": CLONE_NEWPID, "cgroup": CLONE_NEWCGROUP, "mnt": CLONE_NEWNS, "user": CLONE_NEWUSER,
}  # fmt: skip


class Program:
    """What to execute; what is None is taken from the container's own process."""

    def __init__(
        self, arguments: Sequence[str], environment: Sequence[str] = (),
        directory: str | None = None, user: str | None = None, *, terminal: bool = False,
    ) -> None:  # fmt: skip
        """`user` is "name", "uid", "name:group"."""
        self.arguments = arguments
        self.environment = environment
        self.directory = directory
        self.user = user
        self.terminal = terminal


class Inside:
    """A running container: names of it and its control group, its init, its specification."""

    def __init__(self, name: str, group: str, init: int, spec: dict[str, Any]) -> None:
        self.name = name
        self.group = group
        self.init = init
        self.spec = spec

    def run(self, program: Program) -> int:
        """Run it with the caller's standard streams; its exit status (128 + n for signal n).

        With `terminal` it gets a terminal of the container, joined with the caller's streams.
        """
        process = _process(self.spec, program, self.init)
        ours, theirs = _channel(program)
        middle = os.fork()
        if middle == 0:
            _or_die(lambda: _be_middle(self, process, theirs))
        if ours and theirs:
            theirs.close()
            _relay(ours, middle)
        return _forward_signals(middle)


def _channel(program: Program) -> tuple[socket.socket | None, socket.socket | None]:
    """Two ends of a way for the terminal's other end; none without a terminal."""
    if not program.terminal:
        return None, None
    from migrate.runtime import terminal  # noqa: F401 -- nothing can be loaded inside

    return socket.socketpair()


def _relay(ours: socket.socket, middle: int) -> None:
    from migrate.runtime import terminal

    master = terminal.receive_terminal(ours)
    ours.close()
    if master is not None:
        ended = pidfd_open(middle)
        terminal.relay(master, ended)
        os.close(ended)


def _process(spec: dict[str, Any], program: Program, init: int) -> dict[str, Any]:
    """The `process` of the specification, as the program differs from the container's own."""
    process = dict(spec["process"])
    process["args"] = list(program.arguments)
    environment = privileges.environment_of(process)
    if program.user is not None:
        user = look_up(f"/proc/{init}/root", program.user)
        process["user"] = user.as_spec()
        environment["HOME"] = user.home
    if program.terminal:
        environment.setdefault("TERM", os.environ.get("TERM", "xterm"))
    environment |= privileges.environment_of({"env": program.environment})
    process["env"] = [f"{key}={value}" for key, value in environment.items()]
    process["cwd"] = program.directory or process["cwd"]
    return process


def _forward_signals(child: int) -> int:
    def forward(number: int, _frame: object) -> None:
        os.kill(child, number)

    previous = {n: signal.signal(n, forward) for n in (signal.SIGINT, signal.SIGTERM)}
    try:
        _pid, status = os.waitpid(child, 0)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _or_die(act: Callable[[], None]) -> NoReturn:
    """Run a forked child's part: whatever happens, it never returns into its parent's code."""
    status = EXIT_NOT_EXECUTABLE
    try:
        act()
    except FileNotFoundError as error:
        status = EXIT_NOT_FOUND
        os.write(2, f"migrate: {error}\n".encode())
    except Exception as error:  # noqa: BLE001 -- told in words; the child ends here
        os.write(2, f"migrate: can't execute: {error}\n".encode())
    finally:
        os._exit(status)


def _be_middle(
    inside: Inside, process: dict[str, Any], channel: socket.socket | None
) -> None:  # fmt: skip
    """Join cgroup and namespaces, fork the program into the pid namespace, pass on its end."""
    size, init = b"", inside.init
    if channel:
        from migrate.runtime.terminal import window_size

        size = window_size()
    try:
        # Of another session than the caller: Ctrl-C reaches the program once, by the caller, and
        # the program can't push input into the caller's terminal (TIOCSTI).
        os.setsid()
        # The container's root must not reach this interpreter by /proc/PID/exe (CVE-2019-5736).
        set_dumpable(False)
        if "uidMappings" in inside.spec.get("linux", {}):
            _give_pipes(root_of(inside.spec))
        for directory in tree.detect().directories(tree.PARENT, inside.group):
            with open(f"{directory}/cgroup.procs", "w") as file:
                file.write(str(os.getpid()))
        flags = sum(
            flag for kind, flag in _KINDS.items()
            if namespace_id(kind, init) != namespace_id(kind)
        )  # fmt: skip
        setns(pidfd_open(init), flags)
        if flags & CLONE_NEWUSER:
            become_root()
        pid = os.fork()
    except OSError as error:
        text = ExecFailed(
            f"can't enter '{inside.name}'", cause=str(error),
            mend="see that it runs ('migrate ps') and has pids and memory to spare",
        )  # fmt: skip
        os.write(2, f"error: {text}\n".encode())
        os._exit(ExecFailed.code)
    if pid == 0:
        _or_die(lambda: _be_program(process, channel, size))
    if channel:
        channel.close()
    os._exit(_forward_signals(pid))


def _give_pipes(root: tuple[int, int]) -> None:
    """A pipe that it is given is the container's: a program may open it anew (/dev/stdout)."""
    for number in range(3):
        with contextlib.suppress(OSError):
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                os.fchown(number, *root)


def _be_program(process: dict[str, Any], channel: socket.socket | None, size: bytes) -> None:
    os.setsid()
    if channel:
        from migrate.runtime.terminal import take_terminal

        take_terminal(channel, size)
    environment = privileges.environment_of(process)
    os.chdir(str(process["cwd"]))
    path = privileges.find_program(process["args"][0], environment, str(process["cwd"]))
    privileges.set_limits(process)
    privileges.drop(process)
    default_signals()
    os.closerange(3, 65536)
    os.execve(path, process["args"], environment)
