"""What `migrate host setup` runs at the other host, before there is anything of ours.

This file's text is sent there and run by a bare python3 >= 3.11: standard library only, nothing of
migrate. `LOADER` reads it from standard input; one line of JSON follows, then, to unpack, a tar.gz.
It answers with one line: MARKER and JSON.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

MARKER = "migrate-far-side:"
LOADER = (
    "import sys; b = sys.stdin.buffer; exec(compile(b.read(int(b.readline())), 'migrate', 'exec'))"
)
INSTALLED = "installed.json"
"""In the root of an installation: what was sent. As the tar's last member it proves the end."""
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
_SCRIPT = """#!{python} -S
import sys

sys.path[0] = {packages!r}
from migrate.cli.entry import main

main()
"""
"""Without `site`, which takes as long as the interpreter itself: the entry loads it if needed."""


def look(settings: dict[str, Any]) -> dict[str, Any]:
    """This host as far as the installation needs to know it."""
    final = Path(settings["final"])
    place = final.parent
    while not place.exists():
        place = place.parent
    digest = ""
    with contextlib.suppress(OSError, ValueError):
        digest = str(json.loads((final / INSTALLED).read_text())["digest"])
    return {
        "uid": os.geteuid(),
        "machine": platform.machine(),
        "python": [*sys.version_info[:2]],
        "executable": getattr(sys, "_base_executable", "") or sys.executable,
        "free": shutil.disk_usage(place).free,
        "digest": digest,
        "taken": final.exists() and not (final / INSTALLED).exists(),
    }


@contextlib.contextmanager
def _alone(final: Path) -> Iterator[None]:
    """Hold the lock of installations, and clear away what broken ones left."""
    final.parent.mkdir(parents=True, exist_ok=True)
    with (final.parent / f".{final.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OSError("another installation is under way on this host") from error
        for kind in ("new", "old"):
            for stale in final.parent.glob(f"{final.name}.{kind}-*"):
                shutil.rmtree(stale, ignore_errors=True)
        yield


def unpack(settings: dict[str, Any]) -> dict[str, Any]:
    """Unpack the tar, try it, and put it into its place; before that nothing there is touched."""
    final = Path(settings["final"])
    os.umask(0o022)
    with _alone(final):
        if final.exists() and not (final / INSTALLED).exists():
            raise OSError(f"{final} is there and is no installation of migrate")
        new = Path(tempfile.mkdtemp(prefix=f"{final.name}.new-", dir=final.parent))
        try:
            new.chmod(0o755)
            _extract(new)
            _make_environment(new, final, settings)
            _try_out(new, settings["modules"])
            _sync(new)
            _put(new, final)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return {"digest": settings["digest"]}


def _extract(new: Path) -> None:
    with tarfile.open(fileobj=sys.stdin.buffer, mode="r|gz") as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(new, filter="data")
        else:  # Python 3.11 before 3.11.4
            archive.extractall(new)  # noqa: S202 -- it comes from migrate, authenticated by SSH
    if not (new / INSTALLED).exists():
        raise OSError("what arrived ends too early")


def _make_environment(new: Path, final: Path, settings: dict[str, Any]) -> None:
    """A virtual environment of this host's python3: sys.prefix is where pyvenv.cfg is (site)."""
    python = settings["executable"]
    version = ".".join(map(str, sys.version_info[:3]))
    (new / "pyvenv.cfg").write_text(
        f"home = {os.path.dirname(python)}\n"  # noqa: PTH120
        f"include-system-site-packages = false\nversion = {version}\n"
    )
    (new / "bin").mkdir(exist_ok=True)
    (new / "bin/python3").symlink_to(python)
    (new / "bin/python").symlink_to("python3")
    script = new / "bin/migrate"
    packages = final / f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    script.write_text(_SCRIPT.format(python=final / "bin/python3", packages=str(packages)))
    script.chmod(0o755)


def _try_out(new: Path, modules: list[str]) -> None:
    """Import everything once: finds wheels that do not fit, and compiles."""
    done = subprocess.run(
        [new / "bin/python3", "-I", "-c", f"import {', '.join(modules)}"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise OSError(f"what was sent does not run on this host: {last}")


def _sync(place: Path) -> None:
    descriptor = os.open(place, os.O_RDONLY)
    try:
        ctypes.CDLL(None).syncfs(descriptor)
    finally:
        os.close(descriptor)


def _put(new: Path, final: Path) -> None:
    """Exchange the two in one step; afterwards `new` is the old one, or gone."""
    if not final.exists():
        new.rename(final)
        return
    libc = ctypes.CDLL(None)
    swapped = hasattr(libc, "renameat2") and not libc.renameat2(
        _AT_FDCWD, os.fsencode(new), _AT_FDCWD, os.fsencode(final), _RENAME_EXCHANGE
    )
    if not swapped:  # a file system that can't exchange
        old = new.with_name(new.name.replace(".new-", ".old-"))
        final.rename(old)
        try:
            new.rename(final)
        except OSError:
            old.rename(final)
            raise
        shutil.rmtree(old, ignore_errors=True)


def main() -> int:
    """Do what the line of JSON on standard input says."""
    settings = json.loads(sys.stdin.buffer.readline())
    try:
        answer = {"look": look, "unpack": unpack}[settings["do"]](settings)
    except (OSError, EOFError, tarfile.TarError) as error:
        answer = {"error": str(error) or type(error).__name__}
    print(f"\n{MARKER}{json.dumps(answer)}", flush=True)  # noqa: T201
    return 1 if "error" in answer else 0


if __name__ == "__main__":
    sys.exit(main())
