"""What `migrate host setup` sends: migrate, its dependencies and CRIU, as one tar.gz.

The tree is that of a virtual environment for the other host's Python.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import migrate
from migrate.criu import prefix, provide
from migrate.criu.place import home
from migrate.criu.skeleton import filter as skeleton
from migrate.move.errors import HostPythonUnfit
from migrate.move.farside import INSTALLED

MODULES = (
    "migrate.cli.main", "migrate.cli.quick", "click", "rich.table", "paramiko", "msgpack",
    "msgspec", "google.protobuf", "pyroute2", "zstandard", "xxhash", "numpy", "tomlkit", "yaml",
    "pyrage",
)  # fmt: skip
"""Imported at the other host before the installation counts."""
_SCRIPTS = "../../../bin/"
_LEFT_OUT = {"__pycache__", "tests"}
_LEFT_OUT_SUFFIXES = {".pyi", ".pyc", ".h", ".a", ".pxd", ".pyx", ".pth"}
_MANYLINUX = ("2_17", "2_24", "2_27", "2_28")
_PIP_LIMIT = 600.0


@dataclass(frozen=True)
class Item:
    """A file of ours and its name in the tar."""

    name: str
    path: Path


@dataclass(frozen=True)
class Bundle:
    """What is to be sent. `digest` names its contents; `criu`: the prefix, if one is sent."""

    items: tuple[Item, ...]
    digest: str
    criu: Path | None
    size: int
    """Bytes when unpacked."""


def distributions(name: str = "migrate") -> list[importlib.metadata.Distribution]:
    """`name` and all that it requires to run, transitively; what is not installed is left out."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = [name]
    while waiting:
        key = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if key in found:
            continue
        try:
            found[key] = importlib.metadata.distribution(key)
        except importlib.metadata.PackageNotFoundError:
            continue  # required only on other platforms or Pythons
        for requirement in found[key].requires or ():
            wanted = re.match(r"[A-Za-z0-9._-]+", requirement)
            if wanted and not re.search(r";.*\bextra\s*==", requirement):
                waiting.append(wanted[0])
    return list(found.values())


def _wanted(path: Path) -> bool:
    return not _LEFT_OUT & set(path.parts) and path.suffix not in _LEFT_OUT_SUFFIXES


def _own(site: str) -> Iterator[Item]:
    """The package itself, from where it runs (a checkout, perhaps), and its metadata."""
    package = Path(migrate.__file__).parent
    for path in package.rglob("*"):
        if path.is_file() and _wanted(path.relative_to(package)):
            yield Item(f"{site}/migrate/{path.relative_to(package)}", path)
    for file in importlib.metadata.files("migrate") or ():
        if file.name in {"METADATA", "entry_points.txt"}:
            yield Item(f"{site}/{file}", Path(str(file.locate())))


def _installed(site: str) -> Iterator[Item]:
    """The dependencies, from this environment."""
    for distribution in distributions()[1:]:
        for file in distribution.files or ():
            path = Path(str(file.locate()))
            name = str(file)
            if name.startswith(_SCRIPTS) and path.is_file() and not _is_script(path):
                yield Item(f"bin/{file.name}", path)
            elif ".." not in file.parts and _wanted(Path(name)) and path.is_file():
                yield Item(f"{site}/{name}", path)


def _is_script(path: Path) -> bool:
    """A script names the interpreter of this environment: of no use elsewhere."""
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def fetch(python: tuple[int, int], machine: str, cache: Path) -> Path:
    """The dependencies for another Python or architecture, by pip, into a directory of `cache`.

    Raises HostPythonUnfit: no pip, no network, no such wheel.
    """
    version = ".".join(map(str, python))
    pins = sorted(f"{d.name}=={d.version}" for d in distributions()[1:])
    named = hashlib.sha256(" ".join(pins).encode()).hexdigest()[:16]
    made = cache / f"cp{version}-{machine}-{named}"
    if made.is_dir():
        return made
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetching-") as name:
        target = Path(name) / "site"
        command = [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--no-compile", "--only-binary=:all:", "--target", str(target),
            "--implementation", "cp", "--python-version", version,
            "--abi", f"cp{version.replace('.', '')}", "--abi", "abi3", "--abi", "none",
        ]  # fmt: skip
        for platform in _MANYLINUX:
            command += ["--platform", f"manylinux_{platform}_{machine}"]
        command += ["--platform", f"manylinux2014_{machine}", *pins]
        _pip(command, version, machine)
        target.rename(made)
    return made


def _pip(command: list[str], version: str, machine: str) -> None:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_PIP_LIMIT,
        )  # fmt: skip
        complaint = "" if done.returncode == 0 else done.stderr.strip() or "pip failed"
    except (OSError, subprocess.TimeoutExpired) as error:
        complaint = str(error)
    if complaint:
        own = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise HostPythonUnfit(
            f"there are no packages here for Python {version} on {machine}",
            cause=f"this host runs Python {own}, and fetching them failed: "
            + complaint.splitlines()[-1],
            mend=f"install Python {own} there, or run this where the package index is reached",
        )


def _fetched(made: Path, site: str) -> Iterator[Item]:
    for path in made.rglob("*"):
        relative = path.relative_to(made)
        if not path.is_file() or not _wanted(relative):
            continue
        if relative.parts[0] != "bin":
            yield Item(f"{site}/{relative}", path)
        elif not _is_script(path):
            yield Item(str(relative), path)


def criu_prefix() -> Path | None:
    """The private prefix with our CRIU; None where the system's own is used."""
    chosen = provide.read_chosen()
    if chosen is None or Path(chosen.path) != prefix.criu_in(home()):
        return None
    return home()


def _criu(home: Path) -> Iterator[Item]:
    for path in (home / "usr").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield Item(f"criu/{path.relative_to(home)}", path)


def assemble(python: tuple[int, int], machine: str, cache: Path) -> Bundle:
    """What a host with that Python and architecture gets. Raises HostPythonUnfit."""
    import platform

    site = f"lib/python{python[0]}.{python[1]}/site-packages"
    same_machine = machine == platform.machine()
    if same_machine and python == sys.version_info[:2]:
        dependencies = _installed(site)
    else:
        dependencies = _fetched(fetch(python, machine, cache), site)
    criu = criu_prefix() if same_machine else None
    items = {item.name: item for item in (*_own(site), *dependencies)}
    if criu:
        items |= {item.name: item for item in _criu(criu)}
    if same_machine and skeleton.is_built():
        library = skeleton.library()
        items[f"criu/{library.name}"] = Item(f"criu/{library.name}", library)
    ordered = tuple(items[name] for name in sorted(items))
    return Bundle(ordered, _digest(ordered), criu, sum(i.path.stat().st_size for i in ordered))


def _mode(path: Path) -> int:
    return 0o755 if path.stat().st_mode & 0o100 else 0o644


def _digest(items: tuple[Item, ...]) -> str:
    whole = hashlib.sha256()
    for item in items:
        with item.path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        whole.update(f"{item.name}\0{_mode(item.path):o}\0{content}\n".encode())
    return whole.hexdigest()


def pack(bundle: Bundle, final: Path) -> bytes:
    """The tar.gz, with CRIU tied to its place beneath `final`. Raises CriuMissing (patchelf)."""
    out = io.BytesIO()
    with (
        tempfile.TemporaryDirectory(prefix="migrate-bundle-") as name,
        tarfile.open(fileobj=out, mode="w:gz", compresslevel=1, format=tarfile.PAX_FORMAT) as tar,
    ):
        tied = _tied_criu(bundle.criu, Path(name), final) if bundle.criu else None
        for item in bundle.items:
            at_home = bundle.criu and item.path == prefix.criu_in(bundle.criu)
            _add(tar, item.name, tied if tied and at_home else item.path)
        note = json.dumps({"digest": bundle.digest, "version": migrate.__version__}).encode()
        last = tarfile.TarInfo(INSTALLED)
        last.size, last.mode = len(note), 0o644
        tar.addfile(last, io.BytesIO(note))
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, path: Path) -> None:
    status = path.stat()
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = status.st_size, _mode(path), int(status.st_mtime)
    with path.open("rb") as file:
        tar.addfile(member, file)


def _tied_criu(home: Path, work: Path, final: Path) -> Path:
    shutil.copytree(home / "usr", work / "usr", symlinks=True)
    prefix.tie(work, final / "criu")
    return prefix.criu_in(work)
