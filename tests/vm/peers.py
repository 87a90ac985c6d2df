"""`python -m tests.vm.peers [OPTION...]`: `migrate bench peers` where the kernel has soft-dirty.

Podman's pre-checkpoint and runc's pre-dump need it, and this machine's kernel may not have it:
Debian 13's has. One virtual machine, in which two test hosts are made. QEMU emulates its
processors: all is many times slower than outside, for every side alike. The options are those of
`migrate bench peers`; the result is written into the file that `--output` names.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from migrate.bench.peers.place import cached_root
from tests.vm import pair, tools
from tests.vm.cache import CACHE, CHECKOUT, SUITE
from tests.vm.image import SITE, image
from tests.vm.machine import MIGRATE, Machine

MEMORY = 3072  # MiB
ROOM = "1G"
"""Of the disk with the peers' root."""
LIMIT = 3600.0  # seconds
RESULT = "/tmp/peers.json"


def make_disk(directory: Path) -> Path:
    """A file system of what `CACHE` holds of the peers."""
    root = cached_root()
    tree = directory / "tree"
    tree.mkdir()
    shutil.copytree(root, tree / root.name, symlinks=True)
    disk = directory / "peers.img"
    subprocess.run(
        [*tools.command("usr/sbin/mke2fs"), "-q", "-t", "ext4", "-O", "^has_journal", "-d", tree,
         disk, ROOM],
        check=True, env=tools.environment(),
    )  # fmt: skip
    shutil.rmtree(tree)
    return disk


def booted(directory: Path) -> Machine:
    """The machine, with the checkout's tests beside its package."""
    machine = Machine(
        "bench", 2, directory / "bench", memory=MEMORY, more_disks=[make_disk(directory)]
    )
    pair.introduce([machine])
    mail = pair.write_mail(machine, sorted((CHECKOUT / "tests").rglob("*.py")))
    machine.start(image(), SUITE, mail, directory / "nobody")
    try:
        machine.wait()
    except BaseException:
        machine.halt()
        raise
    return machine


def main() -> int:
    """The exit status: the benchmark's."""
    options = sys.argv[1:]
    output = Path(options[options.index("--output") + 1]) if "--output" in options else None
    options = [RESULT if word == str(output) else word for word in options]
    with tempfile.TemporaryDirectory(prefix="mv-") as name:
        machine = booted(Path(name))
        try:
            cache = SITE / CACHE.name
            machine.run(["mkdir", "-p", cache])
            machine.run(["mount", "/dev/vdc", cache])
            child = machine.popen([MIGRATE, "bench", "peers", *options], stdin=subprocess.DEVNULL)
            code = int(child.wait(LIMIT))
            if output and code == 0:
                output.write_text(machine.run(["cat", RESULT]).stdout)
        finally:
            machine.halt()
    return code


if __name__ == "__main__":
    sys.exit(main())
