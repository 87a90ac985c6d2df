"""Where the runtime keeps what: the persistent and the volatile directories of this host."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from migrate.images.snapshots import ROOT, TREE, UPPER, WORK


@dataclass(frozen=True)
class Paths:
    """The two roots: /var/lib/migrate survives a reboot, /run/migrate does not."""

    state: Path
    run: Path

    @classmethod
    def from_environment(cls) -> Paths:
        """The usual roots, or those of MIGRATE_STATE and MIGRATE_RUN."""
        return cls(
            Path(os.environ.get("MIGRATE_STATE") or "/var/lib/migrate"),
            Path(os.environ.get("MIGRATE_RUN") or "/run/migrate"),
        )

    def container(self, identifier: str) -> ContainerPaths:
        """The paths of one container."""
        return ContainerPaths(self, identifier)

    @property
    def images(self) -> Path:
        """The content store of images and layers."""
        return self.state / "images"

    @property
    def volumes(self) -> Path:
        """The named volumes, a directory each."""
        return self.state / "volumes"

    @property
    def networks(self) -> Path:
        """The networks of this host, a file each, and who has which address."""
        return self.state / "networks"

    @property
    def moves(self) -> Path:
        """The journals of moves and what they have received."""
        return self.state / "moves"

    @property
    def cordoned(self) -> Path:
        """There while the host takes no containers: who said so, when and why, JSON."""
        return self.state / "cordoned"

    def make(self) -> None:
        """Make the directories, 0700; raises OSError."""
        for path in (
            self.state, self.run, self.state / "containers", self.run / "containers",
            self.run / "netns", self.run / "userns", self.volumes, self.moves, self.images,
            self.networks,
        ):  # fmt: skip
            path.mkdir(mode=0o700, parents=True, exist_ok=True)


@dataclass(frozen=True)
class ContainerPaths:
    """The files of one container."""

    paths: Paths
    identifier: str

    @property
    def state(self) -> Path:
        """What survives a reboot."""
        return self.paths.state / "containers" / self.identifier

    @property
    def run(self) -> Path:
        """What ends with this boot."""
        return self.paths.run / "containers" / self.identifier

    @property
    def record(self) -> Path:
        """The persistent record, JSON."""
        return self.state / "record.json"

    @property
    def spec(self) -> Path:
        """The OCI runtime specification, JSON."""
        return self.state / "config.json"

    @property
    def log(self) -> Path:
        """The log of stdout and stderr, in the Kubernetes log format."""
        return self.state / "log"

    @property
    def exit(self) -> Path:
        """How init ended, JSON; absent while it has not."""
        return self.state / "exit.json"

    @property
    def before_restore(self) -> Path:
        """What a restore has replaced; there only while one is at work, or was cut off."""
        return self.state / "before-restore"

    @property
    def upper(self) -> Path:
        """The overlay's upper directory."""
        return self.state / UPPER

    @property
    def work(self) -> Path:
        """The overlay's work directory."""
        return self.state / WORK

    @property
    def tree(self) -> Path:
        """The whole root file system, with storage drivers that have no upper."""
        return self.state / TREE / ROOT

    @property
    def process(self) -> Path:
        """The pid of init with its start time, JSON."""
        return self.run / "process.json"

    @property
    def rootfs(self) -> Path:
        """Where the rootfs is mounted."""
        return self.run / "rootfs"

    @property
    def socket(self) -> Path:
        """The monitor's control socket."""
        return self.run / "monitor.sock"

    @property
    def filling(self) -> Path:
        """There as long as memory is being filled: the page server's progress, JSON."""
        return self.run / "filling"

    @property
    def pages_socket(self) -> Path:
        """Where CRIU finds the page server."""
        return self.run / "pages.sock"

    @property
    def fifo(self) -> Path:
        """Init waits on it until `start`."""
        return self.run / "exec.fifo"

    @property
    def stopped(self) -> Path:
        """There when somebody has stopped it: then no policy starts it again."""
        return self.run / "stopped"

    @property
    def lock(self) -> Path:
        """Held by the command that works on the container."""
        return self.paths.run / "containers" / f".{self.identifier}.lock"

    @property
    def netns(self) -> Path:
        """The bound network namespace."""
        return self.paths.run / "netns" / self.identifier

    @property
    def binds(self) -> Path:
        """Where sources of bind mounts are while a user namespace is restored."""
        return self.paths.run / "binds" / self.identifier

    @property
    def userns(self) -> Path:
        """The bound user namespace of a container that has one."""
        return self.paths.run / "userns" / self.identifier
