"""From a set-up process to the user's program: limits, directory, ids, filters, exec.

Shared by a container's first process and by `exec`.
"""

from __future__ import annotations

import fcntl
import os
import stat
import sys

from migrate.errors import MigrateError
from migrate.kernel import procfiles, scheduling
from migrate.kernel.bare import contextlib
from migrate.runtime import privileges
from migrate.runtime.users import look_up
from migrate.runtime.usual import DEFAULT_PATH

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn

    from migrate.oci.listener import Listener

_HIGHEST = 1 << 20
_NULL = os.makedev(1, 3)  # Documentation/admin-guide/devices.txt


class Program:
    """`process` of the specification, carried out step by step in the process that becomes it."""

    def __init__(
        self, process: dict[str, Any], linux: dict[str, Any], program_filter: tuple[bytes, int],
        preserved: int, listener: Listener | None = None,
    ) -> None:  # fmt: skip
        self.process = process
        self.listener = listener
        self.path = ""
        self._linux = linux
        self._filter, self._filter_flags = program_filter
        self._preserved = preserved
        self.environment = privileges.environment_of(process)
        self._user = process.get("user") or {}

    def join_keyring(self, name: str) -> None:
        """A session keyring of its own, named `name`; "" leaves the caller's."""
        if name:
            with contextlib.suppress(OSError, LookupError):  # a kernel may be without keyrings
                scheduling.join_session_keyring(name)

    def own_streams(self) -> None:
        """Give pipes and the like among the standard streams to the user, as runc does.

        The host's /dev/null becomes the container's, so that CRIU can dump it.
        """
        for number in range(3):
            with contextlib.suppress(OSError):
                status = os.fstat(number)
                if _is_null(status):
                    _reopen_null(number)
                    continue
                if status.st_uid != self._user.get("uid", 0):
                    os.fchown(number, self._user.get("uid", 0), -1)

    def set_limits(self) -> None:
        """Limits, scheduling, personality."""
        privileges.set_limits(self.process | {"rlimits": self.process.get("rlimits") or []})
        if wanted := self.process.get("scheduler"):
            flags = sum(scheduling.POLICY_FLAGS[name] for name in wanted.get("flags") or [])
            names = ("nice", "priority", "runtime", "deadline", "period")
            scheduling.set_scheduler(
                scheduling.POLICIES[wanted["policy"]], flags=flags,
                **{name: int(wanted.get(name) or 0) for name in names},
            )  # fmt: skip
        if wanted := self.process.get("ioPriority"):
            kind = scheduling.IO_CLASSES[wanted["class"]]
            scheduling.set_io_priority(kind, int(wanted.get("priority") or 0))
        if wanted := self._linux.get("memoryPolicy"):
            mode = scheduling.MEMORY_MODES[wanted["mode"]]
            mode |= sum(scheduling.MEMORY_FLAGS[name] for name in wanted.get("flags") or [])
            nodes = scheduling.numbers_of(wanted["nodes"]) if wanted.get("nodes") else set()
            scheduling.set_memory_policy(mode, nodes)
        if wanted := self._linux.get("personality"):
            scheduling.set_personality(scheduling.PERSONALITIES[wanted["domain"]])

    def change_directory(self) -> None:
        """Into `cwd`, which is made where it is missing, as runc does."""
        directory = self.process["cwd"]
        if not os.path.isdir(directory):
            with contextlib.suppress(OSError):
                os.makedirs(directory, 0o755, exist_ok=True)
        os.chdir(directory)
        if not os.getcwd().startswith("/"):  # outside of the root (CVE-2024-21626)
            raise OSError(1, f"{directory} is not in the container")

    def find(self) -> None:
        """Settle HOME and the program's path; the texts are those by which engines know it."""
        if not self.environment.get("HOME"):
            self.environment["HOME"] = self._home()
        name = self.process["args"][0]
        where = {"PATH": DEFAULT_PATH} | self.environment
        try:
            self.path = privileges.find_program(name, where, self.process["cwd"])
        except FileNotFoundError:
            told = "no such file or directory" if "/" in name else (
                "executable file not found in $PATH"
            )  # fmt: skip
            raise FileNotFoundError(2, f'exec: "{name}": {told}') from None
        except PermissionError as error:
            text = f'exec: "{name}": permission denied ({error.strerror})'
            raise PermissionError(13, text) from None

    def _home(self) -> str:
        with contextlib.suppress(MigrateError, OSError):
            return look_up("/", str(self._user.get("uid", 0))).home
        return "/"

    def execute(self, tell: Callable[[Exception], None], kept: int) -> NoReturn:
        """Give up what is to be given up and become the program; raises OSError.

        `tell` reports an error by the descriptor `kept`, which closes itself with the exec.
        """
        privileges.refuse_own_interpreter(self.path)  # it may be another file than at `create`
        early = self._filter and not self.process.get("noNewPrivileges")
        if profile := self.process.get("apparmorProfile"):
            procfiles.write("self/attr/exec", f"exec {profile}")
        arguments, environment = self.process["args"], self.environment
        others = (self.listener.fileno(),) if self.listener else ()
        _close_from(3 + self._preserved, (kept, *others))
        for number in range(3, 3 + self._preserved):
            os.set_inheritable(number, True)
        if early:  # without no_new_privs it takes CAP_SYS_ADMIN, which is about to go (seccomp(2))
            self._load_filter(tell)
        capabilities = {k: v or [] for k, v in (self.process.get("capabilities") or {}).items()}
        privileges.drop(self.process | {"capabilities": capabilities, "user": _plain(self._user)})
        if self._filter and not early:
            self._load_filter(tell)
        os.execve(self.path, arguments, environment)

    def _load_filter(self, tell: Callable[[Exception], None]) -> None:
        # Both are loaded: by who has compiled the filter, and has connected.
        from migrate.runtime import seccomp

        if self.listener:
            from migrate.oci.listener import load

            load(self._filter, self._filter_flags, self.listener, tell)
        else:
            seccomp.load(self._filter, self._filter_flags)


def _is_null(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL


def _reopen_null(number: int) -> None:
    flags = fcntl.fcntl(number, fcntl.F_GETFL) & (os.O_ACCMODE | os.O_APPEND)
    own = os.open("/dev/null", flags | os.O_CLOEXEC)
    if _is_null(os.fstat(own)):
        os.dup2(own, number)
    os.close(own)


def in_words(error: Exception) -> str:
    """An error's text for a message, without the number that Python puts before it."""
    text = error.strerror if isinstance(error, OSError) else ""
    name = getattr(error, "filename", None)
    told = f"{text}: {name}" if text and name else text
    return str(told or error)[:4000]


def no_more_imports() -> None:
    """From here on nothing is loaded: sys.path could lead into the container's own files."""
    sys.meta_path.clear()
    sys.path.clear()


def _plain(user: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in user.items() if value is not None}


def _close_from(lowest: int, kept: tuple[int, ...]) -> None:
    for number in sorted(kept):
        os.closerange(lowest, number)
        lowest = max(lowest, number + 1)
    os.closerange(lowest, _HIGHEST)
