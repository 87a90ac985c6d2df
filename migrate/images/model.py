"""What an image is: its OCI config document, its layers, its names."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
import re
from typing import Any

import msgspec

from migrate.images.errors import ImageArchiveBad, ImageNameBad, LayerUnsafe

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
DOCUMENT_LIMIT = 4 << 20
LAYER_LIMIT = 500  # overlay's own limit of lower layers (fs/overlayfs/params.h, OVL_MAX_STACK)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"  # distribution's reference grammar
_HOST = r"(?:[a-zA-Z0-9.-]+(?::[0-9]+)?/)?"
_NAME = re.compile(rf"{_HOST}{_COMPONENT}(?:/{_COMPONENT})*:[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}}")
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


class Image(msgspec.Struct, frozen=True):
    """An image in the store.

    `document` is the OCI config exactly as it came (its sha256 is the id); `config` the part of
    it that says how to run (Env, Cmd, Entrypoint, WorkingDir, User, ExposedPorts, StopSignal,
    Labels). `diff_ids` are the layers, bottom first; `size` is that of their tars, in bytes.
    """

    id: str
    names: tuple[str, ...]
    config: dict[str, Any]
    diff_ids: tuple[str, ...]
    size: int
    created: str
    document: str


class _RootFs(msgspec.Struct, frozen=True):
    diff_ids: list[str]


class _Document(msgspec.Struct, frozen=True):
    rootfs: _RootFs
    config: dict[str, Any] | None = None
    created: str | None = None


def check_digest(text: str) -> str:
    """`text` if it is `sha256:<64 hex digits>`; raises ImageArchiveBad. Digests become paths."""
    if DIGEST.fullmatch(text) is None:
        raise ImageArchiveBad(f"{text[:100]!r} is not a sha256 digest")
    return text


def normalize_name(name: str) -> str:
    """`name` with `:latest` where it has no tag; raises ImageNameBad."""
    full = name if ":" in name.rsplit("/", 1)[-1] else f"{name}:latest"
    if len(full) > 255 or _NAME.fullmatch(full) is None:
        raise ImageNameBad(f"{name[:100]!r} is not an image name")
    return full


def image_from_document(document: bytes, names: tuple[str, ...] = (), size: int = 0) -> Image:
    """Read an OCI (or Docker) image config; raises ImageArchiveBad for anything malformed."""
    if len(document) > DOCUMENT_LIMIT:
        raise LayerUnsafe(f"an image config of {len(document)} bytes is too large")
    try:
        decoded = msgspec.json.decode(document, type=_Document)
        text = document.decode()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ImageArchiveBad("the image config is malformed", cause=str(error)) from error
    diff_ids = tuple(check_digest(diff_id) for diff_id in decoded.rootfs.diff_ids)
    if len(diff_ids) > LAYER_LIMIT:
        raise LayerUnsafe(f"an image of {len(diff_ids)} layers has more than {LAYER_LIMIT}")
    return Image(
        id=f"sha256:{hashlib.sha256(document).hexdigest()}", names=names, size=size,
        config=decoded.config or {}, diff_ids=diff_ids, created=decoded.created or "",
        document=text,
    )  # fmt: skip


def new_document(diff_ids: list[str], config: dict[str, Any] | None = None) -> bytes:
    """The OCI config of an image made here (a root file system imported, a container committed)."""
    machine = platform.machine()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return json.dumps(
        {
            "created": now.replace("+00:00", "Z"),
            "architecture": ARCHITECTURES.get(machine, machine),
            "os": "linux",
            "config": config or {},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        },
        sort_keys=True,
        separators=(",", ":"),
    ).encode()
