#!/usr/bin/env python3
"""Make this checkout ready: Debian packages, the virtual environment, CRIU. Safe to repeat.

Standard library only: the system's python3 runs it before anything of ours exists. When nothing is
to do it looks at a dozen files and runs one short process.
"""

from __future__ import annotations

import compileall
import contextlib
import glob
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

OLDEST_PYTHON = (3, 11)
CHECKOUT = Path(__file__).resolve().parents[1]
VENV = CHECKOUT / ".venv"
POLICY = Path("/usr/sbin/policy-rc.d")
SERVICES = {
    "openssh-server": "ssh", "redis-server": "redis-server", "etcd-server": "etcd",
    "postgresql": "postgresql", "nginx": "nginx", "docker-registry": "docker-registry",
}  # fmt: skip
"""Packages that would start a service: (package, name of the service)."""


class SetupError(Exception):
    """What went wrong and the mend, for the user."""


def _on_path(*programs: str) -> Callable[[], bool]:
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return lambda: any(shutil.which(program, path=path) for program in programs)


def _has_file(path: str) -> Callable[[], bool]:
    return lambda: Path(path).exists()


def _matches(pattern: str) -> Callable[[], bool]:
    return lambda: bool(glob.glob(pattern))  # noqa: PTH207 -- Path.glob takes no absolute pattern


def _can_make_venv() -> bool:
    return all(importlib.util.find_spec(name) for name in ("venv", "ensurepip"))


NEEDED: dict[str, Callable[[], bool]] = {
    "python3-venv": _can_make_venv,
    "openssh-server": _on_path("sshd"),
    "openssh-client": _on_path("ssh"),
    "redis-server": _on_path("redis-server"),
    "etcd-server": _on_path("etcd"),
    "postgresql": _matches("/usr/lib/postgresql/*/bin/postgres"),
    "nginx": _on_path("nginx"),
    "skopeo": _on_path("skopeo"),
    "docker-registry": _on_path("docker-registry"),
    "btrfs-progs": _on_path("mkfs.btrfs"),
    "iproute2": _on_path("ip"),
    "nftables": _on_path("nft"),
    "procps": _on_path("ps"),
    "tar": _on_path("tar"),
    "ca-certificates": _has_file("/etc/ssl/certs/ca-certificates.crt"),
    "tcc": _on_path("cc", "gcc", "clang", "tcc"),
    "busybox-static": _has_file("/var/lib/dpkg/info/busybox-static.list"),
    "shellcheck": _on_path("shellcheck"),
    "crun": _on_path("crun"),
    "runc": _on_path("runc"),
}
"""Debian packages and how to see, without dpkg, that each is there."""


def _run(what: str, mend: str, *command: str | Path, **environment: str) -> None:
    """Run quietly; on failure raise with the last lines that the command wrote."""
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        code = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, check=False,
            cwd=CHECKOUT, env=dict(os.environ, **environment),
        ).returncode  # fmt: skip
        if code != 0:
            log.seek(0)
            tail = "".join(f"    {line}" for line in log.readlines()[-12:])
            raise SetupError(f"{what} failed (exit code {code}):\n{tail}  next: {mend}")


@contextlib.contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting what they bring (invoke-rc.d and systemd ask policy-rc.d)."""
    ours = not os.path.lexists(POLICY)
    if ours:
        POLICY.write_text("#!/bin/sh\nexit 101\n")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def install_packages() -> None:
    """apt-get what is missing; no service is started, or enabled for the next boot."""
    missing = [name for name, is_there in NEEDED.items() if not is_there()]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise SetupError(f"missing: {', '.join(missing)}\n  next: install them; there is no apt")
    print(f"installing {' '.join(missing)}", flush=True)
    mend = "check that 'apt-get update' works on this machine (network, mirror), then repeat"
    quiet = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    with _no_services():
        _run("apt-get update", mend, "apt-get", "-q", "update", **quiet)
        _run(
            "apt-get install", mend,
            "apt-get", "-q", "-y", "--no-install-recommends", "install", *missing, **quiet,
        )  # fmt: skip
    for package in set(missing) & set(SERVICES):
        subprocess.run(
            ["update-rc.d", SERVICES[package], "disable"], check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


def _stamp() -> str:
    digest = hashlib.sha256((CHECKOUT / "pyproject.toml").read_bytes())
    digest.update(f"{sys.version} {os.path.realpath(sys.executable)} {CHECKOUT}".encode())
    return digest.hexdigest()


def make_environment() -> None:
    """`.venv` with migrate (editable) and its tools, when pyproject.toml or Python changed."""
    stamp, wanted = VENV / "migrate-setup.stamp", _stamp()
    python = VENV / "bin/python"
    if stamp.exists() and stamp.read_text() == wanted and python.exists():
        return
    print("making the virtual environment in .venv", flush=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stale = VENV.exists() and not (VENV / f"lib/python{version}").exists()
    again = ["--clear"] if stale or not python.exists() else []
    _run("python3 -m venv", f"remove {VENV} and repeat", sys.executable, "-m", "venv", *again, VENV)
    _run(
        "pip install", "check that this machine reaches its Python package index, then repeat",
        python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
        "--editable", ".[dev,bench]",
    )  # fmt: skip
    stamp.write_text(wanted)


def write_commands() -> None:
    """The commands as pip makes them, but without `site`: that takes as long as the interpreter.

    Their `entry` loads it where it is needed.
    """
    for name, module in (("migrate", "migrate.cli.entry"), ("migrate-oci", "migrate.oci.entry")):
        command = VENV / "bin" / name
        text = (
            f"#!{VENV / 'bin/python'} -S\nimport sys\n\nsys.path[0] = {str(CHECKOUT)!r}\n"
            f"from {module} import main\n\nmain()\n"
        )
        if command.read_text() != text:
            command.write_text(text)
            command.chmod(0o755)


def provide_criu() -> None:
    """migrate's own choice of CRIU; it reports what it fetches."""
    code = subprocess.run(
        [VENV / "bin/python", "-m", "migrate.criu.provide"], cwd=CHECKOUT, check=False
    ).returncode
    if code != 0:
        raise SetupError("CRIU could not be provided; the lines above say why")


def compile_sources() -> None:
    """Byte code beside our sources and CRIU's client, where it is missing or old.

    An environment with PYTHONDONTWRITEBYTECODE would else compile them anew in every command:
    that is most of a command's time.
    """
    for directory in (CHECKOUT / "migrate", VENV / "criu/usr/lib/python3/dist-packages"):
        compileall.compile_dir(directory, quiet=2)


def main() -> int:
    """Exit code 0 when all is ready."""
    try:
        if sys.version_info < OLDEST_PYTHON:
            have = sys.version.split()[0]
            raise SetupError(
                f"Python {have} is too old\n  next: use Python >= 3.11 (Debian 12 and later), or"
                " 'make PYTHON=/path/to/python3 setup'"
            )
        if os.geteuid() != 0:
            raise SetupError(
                "not root\n  next: run 'sudo make setup'; moving containers needs root"
            )
        install_packages()
        make_environment()
        write_commands()
        provide_criu()
        compile_sources()
    except SetupError as error:
        print(f"setup: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"setup: {error}\n  next: free some space or mend the file named", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
