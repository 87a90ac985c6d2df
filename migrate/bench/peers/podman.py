"""Podman as a side of `migrate bench peers` (podman-container-checkpoint(1), -restore(1))."""

from __future__ import annotations

from dataclasses import dataclass

from migrate.bench.loads.load import PACKAGE
from migrate.bench.loads.memory import Memory
from migrate.bench.peers.place import IMAGE, MACHINE, PeerHost
from migrate.bench.peers.side import NAME, WORK, Parts, Shipping, program

ARCHIVE, BEFORE = f"{WORK}/checkpoint.tar", f"{WORK}/before.tar"
LOGS = "/var/lib/containers/storage/overlay-containers/*/userdata/*.log"
"""CRIU's."""


@dataclass(frozen=True)
class Podman:
    """`checkpoint --export`, ship, `restore --import`.

    `compression`: of the archive, none or zstd, its default. `before`: with a pre-checkpoint.
    """

    compression: str = "none"
    before: bool = False
    is_peer = True

    @property
    def name(self) -> str:
        """See `Side`."""
        words = ["podman"]
        words += ["zstd"] if self.compression != "none" else []
        words += ["pre-checkpoint"] if self.before else []
        return " ".join(words)

    def start(self, source: PeerHost, load: Memory) -> None:
        """See `Side`."""
        source.run(
            "podman", "run", "--detach", "--name", NAME, "--network", "host",
            "-v", f"{MACHINE}/usr:/usr:ro", "-v", f"{PACKAGE}:/bench/migrate:ro",
            "-e", "PYTHONPATH=/bench", IMAGE, *program(load),
        )  # fmt: skip

    def move(self, source: PeerHost, target: PeerHost) -> dict[str, float]:
        """See `Side`."""
        parts, shipping = Parts(), Shipping(source.host, target.host)
        checkpoint = ["podman", "container", "checkpoint", "--compress", self.compression]
        restore = ["podman", "container", "restore"]
        if self.before:
            with parts.timed("pre-checkpoint"):
                source.run(*checkpoint, "--pre-checkpoint", "--export", BEFORE, NAME, criu=LOGS)
                shipping.file(BEFORE)
            checkpoint.append("--with-previous")
            restore += ["--import-previous", BEFORE]
        with parts.timed("checkpoint"):
            source.run(*checkpoint, "--export", ARCHIVE, NAME, criu=LOGS)
        with parts.timed("ship"):
            shipping.file(ARCHIVE)
        with parts.timed("restore"):
            target.run(*restore, "--import", ARCHIVE, criu=LOGS)
        return parts.seconds

    def remove(self, place: PeerHost) -> None:
        """See `Side`."""
        place.host.run(
            place.command("podman", "rm", "--force", "--time", "0", "--ignore", NAME), check=False
        )
        place.host.run(["rm", "-f", ARCHIVE, BEFORE])


def bring_image(places: tuple[PeerHost, ...], archive: str, shared: str) -> None:
    """The root file system as the image IMAGE, the very same on each host."""
    first, *others = places
    first.run("podman", "import", archive, IMAGE)
    first.run("podman", "save", "--output", shared, IMAGE)
    for place in others:
        place.run("podman", "load", "--input", shared)
