"""The disk and the kernels of the machines: Debian 13, with migrate's dependencies and CRIU."""

from __future__ import annotations

import hashlib
import json
import lzma
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zstandard

from migrate.move import bundle, farside
from migrate.transfer.remote import INSTALLED_COMMAND
from tests.vm import debian, tools
from tests.vm.cache import CACHE, SUITE, made

PACKAGES = (
    "base-files", "base-passwd", "bash", "busybox-static", "coreutils", "dash", "diffutils",
    "findutils", "grep", "gzip", "hostname", "iproute2", "kmod", "libc-bin", "mount",
    "openssh-client", "openssh-server", "procps", "python3", "redis-server", "redis-tools", "sed",
    "tar", "util-linux", "zstd",
)  # fmt: skip
KERNEL = "linux-image-cloud-amd64"
NEWER = "forky"
"""The suite that the other kernel comes from."""
PYTHON = (3, 13)  # of trixie
PREFIX = Path(INSTALLED_COMMAND).parents[1]
SITE = PREFIX / f"lib/python{PYTHON[0]}.{PYTHON[1]}/site-packages"
DISK_SIZE = "3G"
_HERE = Path(__file__).parent
_FIRST_PROGRAM = """#!/bin/busybox sh
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox insmod /virtio_blk.ko
while [ ! -b /dev/vda ]; do /bin/busybox sleep 0.05; done
/bin/busybox mount -t ext4 /dev/vda /root
exec /bin/busybox switch_root /root /sbin/init
"""


@dataclass(frozen=True)
class Image:
    """Files: a raw ext4 disk, and by suite a kernel with what it begins with."""

    disk: Path
    kernels: dict[str, tuple[Path, Path]]


def image() -> Image:
    """The image; made, in a minute or two, where the cache does not have it."""
    kernels = {suite: _kernel(suite) for suite in (SUITE, NEWER)}
    pins = sorted(f"{d.name}=={d.version}" for d in bundle.distributions()[1:])
    inputs = [
        *PACKAGES, *pins, *(path.name for path in kernels.values()),
        *(hashlib.sha256(path.read_bytes()).hexdigest() for path in _sources()),
    ]  # fmt: skip
    disk = made("disk", "\n".join(inputs), lambda at: _make_disk(at, list(kernels.values())))
    return Image(
        disk / "disk.img", {s: (at / "vmlinuz", at / "initrd") for s, at in kernels.items()}
    )


def _sources() -> Iterator[Path]:
    yield Path(__file__)
    yield from sorted((_HERE / "guest").iterdir())


def _kernel(suite: str) -> Path:
    return made(f"kernel-{suite}", _FIRST_PROGRAM, lambda at: _make_kernel(at, suite))


def _make_kernel(directory: Path, suite: str) -> None:
    """`vmlinuz`, `initrd` and the tree `modules` of a suite's kernel for clouds."""
    (package,) = _of(debian.depended_on(KERNEL, suite, CACHE), "linux-image-")
    # Newer ones come in parts.
    parts = _of(debian.depended_on(package, suite, CACHE), "linux-binary-", "linux-modules-")
    tree = directory / "tree"
    tree.mkdir()
    debian.unpack([package, *parts], suite, tree, alone=True)
    (kernel,) = [*tree.glob("boot/vmlinuz-*"), *tree.glob("usr/lib/modules/*/vmlinuz")]
    shutil.move(kernel, directory / "vmlinuz")
    (modules,) = tree.glob("usr/lib/modules/*")
    (directory / "modules").mkdir()
    shutil.move(modules, directory / "modules")
    shutil.rmtree(tree)
    (module,) = (directory / "modules").rglob("virtio_blk.ko*")
    debian.unpack(["busybox-static"], SUITE, tree := directory / "busybox", alone=True)
    busybox = (tree / "usr/bin/busybox").read_bytes()
    shutil.rmtree(tree)
    (directory / "initrd").write_bytes(_archive({
        "dev": None, "root": None, "bin": None, "bin/busybox": busybox,
        "virtio_blk.ko": _plain(module), "init": _FIRST_PROGRAM.encode(),
    }))  # fmt: skip


def _of(names: list[str], *beginnings: str) -> list[str]:
    return [name for name in names if name.startswith(beginnings)]


def _plain(module: Path) -> bytes:
    data = module.read_bytes()
    if module.suffix == ".xz":
        return lzma.decompress(data)
    return zstandard.ZstdDecompressor().decompressobj().decompress(data)


def _archive(members: dict[str, bytes | None]) -> bytes:
    """A cpio archive as kernels unpack it (Documentation/driver-api/early-userspace/
    buffer-format.rst); None makes a directory."""
    out = bytearray()
    for number, (name, data) in enumerate({**members, "TRAILER!!!": b""}.items()):
        mode = stat.S_IFDIR | 0o755 if data is None else stat.S_IFREG | 0o755
        fields = (number, mode, 0, 0, 1, 0, len(data or b""), 0, 0, 0, 0, len(name) + 1, 0)
        out += b"070701" + b"".join(b"%08x" % field for field in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4)
        out += data or b""
        out += bytes(-len(out) % 4)
    return bytes(out)


def _make_disk(directory: Path, kernels: list[Path]) -> None:
    root = directory / "root"
    root.mkdir(mode=0o755)
    debian.unpack(PACKAGES, SUITE, root)
    for kernel in kernels:
        for modules in (kernel / "modules").iterdir():
            shutil.copytree(modules, root / "usr/lib/modules" / modules.name, symlinks=True)
            _run("chroot", root, "/usr/sbin/depmod", modules.name)
    _configure(root)
    _install_migrate(root)
    disk = directory / "disk.img"
    _run(
        *tools.command("usr/sbin/mke2fs"), "-q", "-t", "ext4", "-O", "^has_journal", "-d", root,
        disk, DISK_SIZE,
    )  # fmt: skip
    shutil.rmtree(root)


def _configure(root: Path) -> None:
    """What the packages' own scripts would have done, as far as anything here needs it."""
    for name in ("passwd", "group"):
        shutil.copy(root / f"usr/share/base-passwd/{name}.master", root / f"etc/{name}")
    with (root / "etc/passwd").open("a") as file:
        file.write("sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n")
    for name in ("shadow", "gshadow"):  # test hosts of its own bind theirs over these
        (root / "etc" / name).touch(mode=0o600)
    os.mknod(root / "dev/null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    shutil.copytree(_HERE / "guest", root / "etc/vm")
    (root / "etc/inittab").symlink_to("vm/inittab")
    for path in (root / "etc/vm").iterdir():
        path.chmod(0o755)
    (root / "usr/sbin/init").unlink(missing_ok=True)
    (root / "usr/sbin/init").symlink_to("../bin/busybox")
    _run("chroot", root, "/usr/sbin/ldconfig")


def _install_migrate(root: Path) -> None:
    """As `migrate host setup` does it: its own far half, run by the machine's own python3."""
    contents = bundle.assemble(PYTHON, "x86_64", CACHE / "wheels")
    data = bundle.pack(contents, PREFIX)
    script = Path(farside.__file__).read_bytes()
    settings = {
        "do": "unpack", "final": str(PREFIX), "executable": "/usr/bin/python3",
        "digest": contents.digest, "modules": bundle.MODULES,
    }  # fmt: skip
    stdin = b"%d\n%s%s\n%s" % (len(script), script, json.dumps(settings).encode(), data)
    _run("chroot", root, "/usr/bin/python3", "-I", "-c", farside.LOADER, stdin=stdin)


def _run(*command: str | Path, stdin: bytes = b"") -> None:
    done = subprocess.run(
        command, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
        env={**os.environ, **tools.environment()},
    )  # fmt: skip
    if done.returncode != 0:
        words = " ".join(map(str, command[:4]))
        raise RuntimeError(f"{words} failed: {done.stdout.decode(errors='replace')[-800:]}")
