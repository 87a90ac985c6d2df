"""What a process gives up before it becomes the user's program: limits, ids, capabilities."""

from __future__ import annotations

import os
import resource

from migrate.kernel import capabilities
from migrate.kernel.bare import contextlib
from migrate.kernel.files import RESOLVE_NO_MAGICLINKS, openat2
from migrate.kernel.libc import AT_FDCWD

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any

_SCRIPT_DEPTH, _SCRIPT_LINE = 5, 256  # Linux, fs/exec.c and include/uapi/linux/binfmts.h


def set_limits(process: dict[str, Any]) -> None:
    """The rlimits of the specification (config.md, POSIX process)."""
    for entry in process.get("rlimits", []):
        number = getattr(resource, entry["type"])
        resource.setrlimit(number, (_signed(entry["soft"]), _signed(entry["hard"])))


def _signed(limit: int) -> int:
    """RLIM_INFINITY and its neighbours, which are unsigned in the specification."""
    return limit - (1 << 64) if limit >= 1 << 63 else limit


def drop(process: dict[str, Any]) -> None:
    """Take the user's ids, capability sets and no_new_privs; raises OSError or KeyError."""
    wanted = process.get("capabilities", {})
    masks = {
        kind: capabilities.mask_of(wanted.get(kind, []))
        for kind in ("bounding", "effective", "permitted", "inheritable", "ambient")
    }
    # What this process itself lacks can't be given (CAP_SYS_RESOURCE on some machines).
    own = capabilities.effective_mask()
    capabilities.drop_bounding(masks["bounding"])
    user = process.get("user", {})
    capabilities.keep_over_setuid(True)
    os.setgroups(user.get("additionalGids", []))
    os.setresgid(*[user.get("gid", 0)] * 3)
    os.setresuid(*[user.get("uid", 0)] * 3)
    os.umask(user.get("umask", 0o022))
    keep = (masks["permitted"] | masks["effective"]) & own
    if user.get("uid", 0) != 0:
        keep &= masks["ambient"]
    capabilities.set_thread(keep, keep, masks["inheritable"] & own)
    if masks["ambient"] & keep & masks["inheritable"]:
        capabilities.set_ambient(masks["ambient"] & keep & masks["inheritable"])
    capabilities.keep_over_setuid(False)
    if process.get("noNewPrivileges"):
        capabilities.set_no_new_privileges()


def find_program(name: str, environment: dict[str, str], directory: str) -> str:
    """The path that execve will be given, by PATH; raises FileNotFoundError or PermissionError."""
    if "/" in name:
        candidates = [os.path.join(directory, name)]
    else:
        parts = environment.get("PATH", "").split(":")
        candidates = [f"{part or '.'}/{name}" for part in parts]
    found = None
    for candidate in candidates:
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                refuse_own_interpreter(candidate)
                return candidate
            found = candidate
    if found:
        raise PermissionError(13, "the program is not executable", found)
    raise FileNotFoundError(2, "no such program in the container", name)


def refuse_own_interpreter(path: str, depth: int = 0) -> None:
    """/proc/self/exe is the host's interpreter until the exec (CVE-2019-5736).

    A script may name it in its first line, too. The same file by a plain path is there because the
    operator has bound it.
    """
    with contextlib.suppress(FileNotFoundError):
        if os.path.samefile(path, "/proc/self/exe"):
            try:
                os.close(openat2(AT_FDCWD, path, os.O_PATH, resolve=RESOLVE_NO_MAGICLINKS))
            except OSError:
                raise PermissionError(
                    13, "the program is migrate's own interpreter", path
                ) from None
        interpreter = _interpreter_of(path)
        if interpreter and depth < _SCRIPT_DEPTH:
            refuse_own_interpreter(interpreter, depth + 1)


def _interpreter_of(script: str) -> str:
    """What a script's first line names (execve(2)); "" if it is none, or can't be read."""
    try:
        with open(script, "rb") as file:
            first = file.read(_SCRIPT_LINE).split(b"\n")[0]
    except OSError:
        return ""
    words = first[2:].split()
    return os.fsdecode(words[0]) if first.startswith(b"#!") and words else ""


def environment_of(process: dict[str, Any]) -> dict[str, str]:
    """The environment as a mapping."""
    return dict(entry.split("=", 1) for entry in process.get("env", []) if "=" in entry)
