"""The mends that are safe: what `migrate doctor --fix` does. No service is ever started."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from migrate.criu import provide
from migrate.criu.skeleton import filter as skeleton
from migrate.errors import MigrateError
from migrate.kernel import files
from migrate.move.doctor.finding import Finding
from migrate.move.doctor.kernel import PIPE_LIMIT_FILE, PIPE_SIZE

SYSCTL_DIRECTORY = Path("/etc/sysctl.d")
POLICY = Path("/usr/sbin/policy-rc.d")
PACKAGES = {"ssh": "openssh-client", "sshd": "openssh-server"}
"""Finding -> Debian package that mends it."""
_DROP_IN = "90-migrate.conf"
_APT_LIMIT = 600.0

Report = Callable[[str], None]


def mend(findings: list[Finding], report: Report) -> None:
    """Mend what can be mended, and tell each step; what fails is told and left."""
    broken = {f.name for f in findings if f.status != "ok" and f.fixable}
    steps: list[tuple[bool, Callable[[Report], None]]] = [
        ("fs.pipe-max-size" in broken, raise_pipe_limit),
        (bool(broken & {"criu", "criu probe", "pycriu"}), _provide_criu),
        # A CRIU just provided has no cache yet.
        (any(name.startswith("criu") for name in broken), _prime_cache),
        ("skeleton filter" in broken, _build_filter),
        (bool(broken & PACKAGES.keys()),
         lambda tell: install([PACKAGES[n] for n in PACKAGES if n in broken], tell)),
    ]  # fmt: skip
    for wanted, step in steps:
        if not wanted:
            continue
        try:
            step(report)
        except (MigrateError, OSError) as error:
            report(f"not mended: {error}")


def raise_pipe_limit(report: Report) -> None:
    """Now, and for the next boots where there is an /etc/sysctl.d. Raises OSError."""
    PIPE_LIMIT_FILE.write_text(str(PIPE_SIZE))
    report(f"set fs.pipe-max-size to {PIPE_SIZE}")
    if SYSCTL_DIRECTORY.is_dir():
        text = f"# migrate: CRIU's page server needs large pipes\nfs.pipe-max-size = {PIPE_SIZE}\n"
        files.write_atomically(SYSCTL_DIRECTORY / _DROP_IN, text.encode(), mode=0o644)
        report(f"wrote {SYSCTL_DIRECTORY / _DROP_IN}")


def _provide_criu(report: Report) -> None:
    chosen = provide.ensure(report)
    report(f"CRIU {chosen.version}: {chosen.path}")


def _prime_cache(report: Report) -> None:
    if provide.prime_feature_cache():
        report("made CRIU's feature cache")


def _build_filter(report: Report) -> None:
    if not skeleton.has_compiler():
        install(["tcc"], report)
    if skeleton.build():
        report(f"built {skeleton.library()}")


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


def install(packages: list[str], report: Report) -> None:
    """apt-get them without starting their services; failures are told. Raises OSError."""
    if not shutil.which("apt-get"):
        report(f"not mended: no apt-get here; install {' '.join(packages)} by hand")
        return
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive", LC_ALL="C")
    with _no_services():
        for arguments in (
            ["update"], ["-y", "--no-install-recommends", "install", *packages],
        ):  # fmt: skip
            done = subprocess.run(
                ["apt-get", "-q", *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                text=True, check=False, timeout=_APT_LIMIT, env=environment,
            )  # fmt: skip
            if done.returncode != 0:
                last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
                report(f"not mended: apt-get {arguments[0]}: {last}")
                return
    report(f"installed {' '.join(packages)}")
