"""Podman, crun and runc of Debian 13 on a test host: a root of theirs, in a mount namespace.

The root is made once, in the checkout's `.vm-cache`; each host has an overlay of its own on it. The
host's /proc, /sys, /dev, /run and /tmp are the same inside, and so is its network; the machine's
/usr stands at MACHINE, for containers that run the machine's own Python. Where control groups are
both v1 and v2, only v1 is there: crun refuses to work with both.
"""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from migrate.bench import hosts
from migrate.bench.errors import BenchImpossible
from migrate.criu.diagnosis import HARMLESS
from migrate.criu.provide import criu_binary

SUITE = "trixie"
PACKAGES = (
    "base-files", "base-passwd", "busybox-static", "conmon", "crun", "gzip", "libc-bin",
    "libcriu2", "podman", "runc", "tar", "zstd",
)  # fmt: skip
MACHINE = "/machine"
IMAGE = f"localhost/{hosts.IMAGE}:latest"
LIMIT = 300.0
"""Seconds of one command."""
MOST_CAUSE = 400
"""Characters of a complaint."""
_CRIU = "/opt/criu"
_PATH = f"{_CRIU}:/usr/sbin:/usr/bin:/usr/local/bin"
_ENVIRONMENT = ("/usr/local/bin/env", f"PATH={_PATH}", "PODMAN_IGNORE_CGROUPSV1_WARNING=1")
_CONTAINERS = """
[containers]
log_driver = "k8s-file"
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""
_ENTER = """
set -e
root=$1 work=$2 machine=$3; shift 3
mkdir -p "$work/upper" "$work/work" "$work/containers" "$work/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/work" "$work/root"
cd "$work/root"
mkdir -p proc sys dev run tmp ".$machine" old var/lib/containers
for name in proc sys dev run tmp; do mount --rbind "/$name" "$name"; done
mount --rbind /usr ".$machine"
mount --bind "$work/containers" var/lib/containers
for path in "$@"; do mkdir -p ".$path"; mount --rbind "$path" ".$path"; done
pivot_root . old
cd /
umount -l old
echo "$$"
exec sleep infinity
"""


def make_root(directory: Path) -> None:
    """Fill it: packages with all that they depend on, and what their own scripts would have done.

    Raises BenchImpossible.
    """
    from migrate.errors import MigrateError

    debian = hosts.of_checkout("tests.vm.debian")
    try:
        debian.unpack(PACKAGES, SUITE, directory)
        for name in ("passwd", "group"):
            data = (directory / f"usr/share/base-passwd/{name}.master").read_bytes()
            (directory / f"etc/{name}").write_bytes(data)
        applets = directory / "usr/local/bin"
        applets.mkdir(parents=True, exist_ok=True)
        _within(directory, "/usr/sbin/ldconfig")
        _within(directory, "/usr/bin/busybox", "--install", "-s", "/usr/local/bin")
        (directory / "usr/bin/sh").symlink_to("busybox")  # tar's, which CRIU starts
    except (MigrateError, LookupError, OSError, subprocess.CalledProcessError) as error:
        raise BenchImpossible(
            "the root of the peers could not be made", cause=str(error),
            mend="check that 'apt-get update' works on this machine",
        ) from error  # fmt: skip
    settings = directory / "etc/containers/containers.conf"
    settings.parent.mkdir(parents=True, exist_ok=True)
    settings.write_text(_CONTAINERS)
    (settings.parent / "policy.json").write_text(
        '{"default": [{"type": "insecureAcceptAnything"}]}\n'
    )


def _within(root: Path, *words: str) -> None:
    subprocess.run(["chroot", root, *words], check=True)


def cached_root() -> Path:
    """The root, made at the first call."""
    inputs = "\n".join([*PACKAGES, _CONTAINERS])
    made: Path = hosts.of_checkout("tests.vm.cache").made("peers", inputs, make_root)
    return made


@dataclass(frozen=True)
class PeerHost:
    """A test host, and the peers' root on it: in the mount namespace of its process `pid`."""

    host: Any
    pid: str

    @classmethod
    def made(cls, host: Any, root: Path, seen: tuple[Path, ...]) -> PeerHost:
        """Set it up, until the host ends; `seen`: directories that are what they are outside."""
        work = host.directory / "peers"
        work.mkdir()
        kept = [str(path) for path in seen if not path.is_relative_to("/tmp")]
        with (work / "complaints").open("w+") as complaints:
            holder = host.popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", _ENTER, "sh",
                 str(root), str(work), f"{MACHINE}/usr", *kept],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, text=True,
            )  # fmt: skip
            with holder.stdout as told:
                place = cls(host, told.readline().strip())
            if not place.pid:
                complaints.seek(0)
                raise BenchImpossible("the peers' root can't be entered", cause=complaints.read())
        place.run("sh", "-c", f"mkdir -p {_CRIU} && ln -s {criu_binary()} {_CRIU}/criu")
        _only_one_version(place)
        return place

    def command(self, *words: str) -> list[str]:
        """`words` as a command of the host that runs inside."""
        return ["nsenter", f"--target={self.pid}", "--mount", *_ENVIRONMENT, *words]

    def run(self, *words: str, log: str = "", criu: str = "", **options: Any) -> str:
        """What it prints; raises BenchImpossible with its complaint.

        `log`: where it complains, when what it starts keeps its streams: then all are /dev/null.
        `criu`: a pattern of the shell for logs of CRIU, of which the first error is told.
        """
        if log:
            streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
            code, told, said = ended(self.popen(*words, **streams)), "", self.read(log)
        else:
            done = self.host.run(self.command(*words), check=False, timeout=LIMIT, **options)
            code, told, said = done.returncode, str(done.stdout).strip(), done.stderr
        if code:
            raise BenchImpossible(f"{' '.join(words[:3])} failed", cause=self._cause(said, criu))
        return told

    def _cause(self, said: str, criu: str) -> str:
        lines = self.read(criu).splitlines() if criu else []
        errors = (line.strip() for line in lines if "Error (" in line)
        error = next((e for e in errors if not any(text in e for text in HARMLESS)), "")
        return f"{error}; {last(said)}" if error else last(said)

    def read(self, pattern: str) -> str:
        """The files that a pattern of the shell names, or nothing."""
        done = self.host.run(self.command("sh", "-c", f"cat {pattern}"), check=False)
        return str(done.stdout)

    def popen(self, *words: str, **options: Any) -> Any:
        """Start it."""
        return self.host.popen(self.command(*words), **options)


def ended(child: Any) -> int:
    """Its exit code, as soon as it has ended; it is killed after LIMIT.

    No wait with a time limit: subprocess asks only every 50 ms then, and so would the figures be.
    """
    limit = threading.Timer(LIMIT, child.kill)
    limit.start()
    try:
        return int(child.wait())
    finally:
        limit.cancel()


def last(said: str) -> str:
    """The end of a complaint, without the command lines that Podman quotes in it."""
    short = re.sub(r"`[^`]*`", "`...`", said)
    lines = dict.fromkeys(line.strip() for line in short.splitlines() if line.strip())
    return " | ".join(list(lines)[-3:])[-MOST_CAUSE:] or "it said nothing"


def _only_one_version(place: PeerHost) -> None:
    hierarchies = hosts.of_checkout("tests.hosts.cgroups").hierarchies()
    newer = [str(h.mount_point) for h in hierarchies if h.version == 2]
    if newer and len(newer) < len(hierarchies):
        place.run("umount", *newer)


def versions(place: PeerHost) -> dict[str, str]:
    """The first line of what each peer says of itself, and CRIU."""
    return {
        name: place.run(name, "--version").splitlines()[0]
        for name in ("podman", "crun", "runc", "criu")
    }
