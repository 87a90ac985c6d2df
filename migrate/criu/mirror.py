"""The machine's own Debian mirror, read from its apt sources: no host name stands in our files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_ARCHIVE_KEYRINGS = (
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
)
_MOVING_SUITES = {"oldstable", "stable", "testing", "unstable", "sid"}


@dataclass(frozen=True)
class Mirror:
    """The Debian main archive as this machine reaches it."""

    uri: str
    suite: str
    keyring: str


@dataclass(frozen=True)
class _Entry:
    uris: list[str]
    suites: list[str]
    components: list[str]
    signed_by: str


def _deb822(text: str) -> Iterator[_Entry]:
    """Entries of a .sources file (sources.list(5), deb822 style)."""
    plain = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", plain):
        fields: dict[str, str] = {}
        for match in re.finditer(r"^([\w-]+):((?:.*)(?:\n[ \t].*)*)", stanza, re.MULTILINE):
            fields[match[1].lower()] = match[2]
        if "deb" not in fields.get("types", "").split() or "no" in fields.get("enabled", ""):
            continue
        yield _Entry(
            fields.get("uris", "").split(), fields.get("suites", "").split(),
            fields.get("components", "").split(), fields.get("signed-by", "").strip(),
        )  # fmt: skip


def _one_line(text: str) -> Iterator[_Entry]:
    """Entries of a .list file (sources.list(5), one-line style)."""
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+([^#]+)", line.strip())
        if match:
            options = dict(o.split("=", 1) for o in (match[1] or "").split() if "=" in o)
            yield _Entry(
                [match[2]], [match[3]], match[4].split(), options.get("signed-by", "")
            )  # fmt: skip


def _entries(etc_apt: Path) -> Iterator[_Entry]:
    parts = etc_apt / "sources.list.d"
    for path in [etc_apt / "sources.list", *sorted(parts.glob("*.list"))]:
        if path.is_file():
            yield from _one_line(path.read_text(errors="replace"))
    for path in sorted(parts.glob("*.sources")):
        yield from _deb822(path.read_text(errors="replace"))


def _code_name(os_release: Path) -> str:
    match = re.search(r'^VERSION_CODENAME="?([\w-]+)', os_release.read_text(), re.MULTILINE)
    return match[1] if match else "stable"


def find_mirror(root: Path = Path("/")) -> Mirror | None:
    """The first entry whose suite is that of the Debian main archive; None where there is none."""
    try:
        known = {*_MOVING_SUITES, _code_name(root / "etc/os-release")}
    except OSError:
        return None
    found = [
        (entry, suite)
        for entry in _entries(root / "etc/apt")
        for suite in entry.suites
        if suite in known and "main" in entry.components and entry.uris
    ]
    # An archive of somebody else's may use the same suite names; Debian's own path ends so.
    found.sort(key=lambda pair: not pair[0].uris[0].rstrip("/").endswith("/debian"))
    if not found:
        return None
    entry, suite = found[0]
    keyring = entry.signed_by if entry.signed_by.startswith("/") else ""
    for path in _ARCHIVE_KEYRINGS:
        if not keyring and (root / path.lstrip("/")).exists():
            keyring = path
    return Mirror(entry.uris[0], suite, keyring) if keyring else None
