"""Which CRIU this installation uses: chosen once by a real probe, then read from a record.

In order: a system `criu`, the distribution's package, 4.2.1 of Debian's forky suite; the last two
in a private prefix. The record and the prefix are `<sys.prefix>/criu`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from migrate.criu import featurecache, prefix
from migrate.criu.errors import CriuMissing, CriuProbeFailed
from migrate.criu.mirror import find_mirror
from migrate.criu.place import home
from migrate.criu.probe import LAZY_FEATURE, has_feature, probe, version
from migrate.criu.skeleton import filter as skeleton
from migrate.kernel import files

FALLBACK_SUITE = "forky"
OLDEST_WORTH_FETCHING = (4, 2)
"""4.1.1 can't dump inet sockets on kernels where SO_PASSCRED is refused (design.md)."""
_SYSTEM_PYCRIU = Path("/usr/lib/python3/dist-packages")


class Chosen(msgspec.Struct, frozen=True):
    """The record `chosen.json`: the program, its version, where pycriu is, what was probed."""

    path: str
    version: str
    pycriu: str
    probed: str
    """`featurecache.identity` of the program at the time that it passed the probe."""
    lazy: bool = True
    """Whether it can restore memory lazily here (`criu check --feature uffd-noncoop`)."""


def read_chosen() -> Chosen | None:
    """The record; None when there is none, or it can't be read, or its program is gone."""
    try:
        chosen = msgspec.json.decode((home() / "chosen.json").read_bytes(), type=Chosen)
    except (OSError, msgspec.DecodeError):
        return None
    return chosen if os.access(chosen.path, os.X_OK) else None


def criu_binary() -> Path:
    """The CRIU to use: one small file is read. Raises CriuMissing."""
    chosen = read_chosen()
    if chosen is None:
        raise CriuMissing(
            "no CRIU has been provided for this installation",
            cause=f"there is no record {home() / 'chosen.json'}, or the program it names is gone",
        )
    return Path(chosen.path)


def prime_feature_cache() -> bool:
    """Make CRIU's feature cache where it is missing or stale; True when it was made.

    Raises CriuMissing, CriuProbeFailed.
    """
    return featurecache.prime(criu_binary())


@contextlib.contextmanager
def _lock() -> Iterator[None]:
    descriptor = os.open(
        home().with_name(".criu.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def still_holds(chosen: Chosen | None) -> bool:
    """Whether the record's program passed the probe on this boot and kernel, and is unchanged."""
    return (
        chosen is not None
        and chosen.probed == featurecache.identity(Path(chosen.path))
        and (Path(chosen.pycriu) / "pycriu").is_dir()
    )


def _candidate_version() -> tuple[int, ...]:
    """The version of the distribution's own package, () when it has none."""
    try:
        done = subprocess.run(
            ["apt-cache", "policy", "criu"], capture_output=True, text=True, check=False,
            env=dict(os.environ, LC_ALL="C"),
        )  # fmt: skip
    except OSError:
        return ()
    match = re.search(r"Candidate: (?:\d+:)?(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else ()


def _attempts(report: Callable[[str], None]) -> Iterator[tuple[Path, Path]]:
    """Programs to probe, best first, each with the directory of its pycriu; made when asked for."""
    system = shutil.which("criu", path=os.defpath + os.pathsep + "/usr/sbin:/usr/local/sbin")
    own = home()
    if system and (_SYSTEM_PYCRIU / "pycriu").is_dir():
        yield Path(system), _SYSTEM_PYCRIU
    if prefix.criu_in(own).exists():
        yield prefix.criu_in(own), prefix.pycriu_in(own)
    mirror = find_mirror()
    if mirror is None:
        raise CriuMissing(
            "CRIU 4.2 can't be fetched",
            cause="no Debian archive with its keyring stands in this host's apt sources",
            mend="install CRIU >= 4.2 and python3-pycriu yourself, then run it again",
        )
    suites = [FALLBACK_SUITE]
    if _candidate_version() >= OLDEST_WORTH_FETCHING and mirror.suite != FALLBACK_SUITE:
        suites.insert(0, mirror.suite)
    for suite in suites:
        prefix.build(own, mirror, suite, report)
        if system and suite == suites[0]:
            # A system CRIU without its Python package works with the pycriu of the prefix.
            yield Path(system), prefix.pycriu_in(own)
        yield prefix.criu_in(own), prefix.pycriu_in(own)


def _choose(report: Callable[[str], None]) -> Chosen:
    causes: dict[str, str] = {}
    for program, pycriu in _attempts(report):
        number = version(program)
        report(f"probing {program} ({number or 'does not start'})")
        verdict = probe(program)
        if verdict.passed:
            return Chosen(
                str(program), number, str(pycriu), featurecache.identity(program),
                lazy=has_feature(program, LAZY_FEATURE),
            )  # fmt: skip
        causes[f"{program} {number}"] = verdict.cause
        report(f"  not usable here: {verdict.cause}")
    raise CriuProbeFailed(
        "no CRIU passes the probe on this host",
        cause="; ".join(f"{name}: {cause}" for name, cause in causes.items()),
    )


def _link_pycriu(chosen: Chosen) -> None:
    """Make `import pycriu` work: a .pth file to a directory that holds nothing else of the system.

    The system's dist-packages as a whole would shadow the virtual environment's packages.
    """
    directory = home() / "python"
    directory.mkdir(mode=0o755, exist_ok=True)
    link = directory / "pycriu"
    link.unlink(missing_ok=True)
    link.symlink_to(Path(chosen.pycriu) / "pycriu")
    pth = Path(sysconfig.get_path("purelib")) / "migrate-criu.pth"
    if not pth.exists() or pth.read_text() != f"{directory}\n":
        files.write_atomically(pth, f"{directory}\n".encode(), mode=0o644)


def ensure(report: Callable[[str], None]) -> Chosen:
    """Choose and if need be fetch CRIU, and link pycriu; quick when the record still holds.

    Raises CriuMissing, CriuProbeFailed.
    """
    if os.geteuid() != 0:
        raise CriuMissing("CRIU can't be provided", cause="not root", mend="run it as root")
    chosen = read_chosen()
    if chosen is not None and still_holds(chosen):
        return chosen
    with _lock():
        chosen = _choose(report)
        home().mkdir(mode=0o755, exist_ok=True)
        _link_pycriu(chosen)
        files.write_atomically(home() / "chosen.json", msgspec.json.encode(chosen), mode=0o644)
    return chosen


def _main() -> int:
    from migrate.errors import MigrateError

    try:
        before = read_chosen()
        chosen = ensure(lambda line: print(line, flush=True))  # noqa: T201
        prime_feature_cache()
    except MigrateError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.code
    try:
        skeleton.build()
    except MigrateError as error:  # moves work without it, with a longer pause
        print(f"warning: {error}", file=sys.stderr)  # noqa: T201
    if chosen != before:
        print(f"CRIU {chosen.version}: {chosen.path}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(_main())
