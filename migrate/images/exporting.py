"""Images to archives: an OCI layout in a tar, layers as the store's zstd blobs."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from pathlib import Path
from typing import BinaryIO

from migrate.images.errors import disk_full_told
from migrate.images.layers import LayerRecord
from migrate.images.model import Image
from migrate.images.store import Store
from migrate.images.streams import CHUNK
from migrate.images.tarread import Kind, Member
from migrate.images.tarwrite import END, header, padding

_MEDIA = "application/vnd.oci.image"


def export_archive(store: Store, reference: str, path: Path) -> None:
    """Write the image as an OCI layout tar at `path`, all or nothing.

    The same image gives the same bytes. Raises ImageUnknown, LayerMissing, DiskFull, OSError.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with store.hold(), disk_full_told(path):
        image = store.resolve(reference)
        records = [store.layer_record(diff_id) for diff_id in image.diff_ids]
        name = reference if reference in image.names else next(iter(image.names), None)
        try:
            with temporary.open("xb") as out:
                for member, data in _documents(image, records, name).items():
                    _add(out, member, data)
                for record in {r.blob_digest: r for r in records}.values():
                    with store.open_layer_blob(record.diff_id) as blob:
                        _copy(out, _blob(record.blob_digest), blob, record.blob_size)
                out.write(END)
                out.flush()
                os.fsync(out.fileno())
            temporary.rename(path)
        finally:
            temporary.unlink(missing_ok=True)


def export_layout(store: Store, reference: str, directory: Path) -> None:
    """Make an OCI layout in `directory`, on the store's file system; layers are links to its blobs.

    For reading only. Raises ImageUnknown, LayerMissing, DiskFull, OSError.
    """
    with store.hold(), disk_full_told(directory):
        image = store.resolve(reference)
        records = [store.layer_record(diff_id) for diff_id in image.diff_ids]
        (directory / "blobs/sha256").mkdir(mode=0o700, parents=True)
        for member, data in _documents(image, records, None).items():
            (directory / member).write_bytes(data)
        for record in {r.blob_digest: r for r in records}.values():
            os.link(store.layer_blob_path(record.diff_id), directory / _blob(record.blob_digest))


def _documents(image: Image, records: list[LayerRecord], name: str | None) -> dict[str, bytes]:
    """The small files of the layout, in the order of the archive."""
    config = image.document.encode()
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_MEDIA}.manifest.v1+json",
            "config": _descriptor("config.v1+json", image.id, len(config)),
            "layers": [
                _descriptor("layer.v1.tar+zstd", record.blob_digest, record.blob_size)
                for record in records
            ],
        }
    )
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    entry = _descriptor("manifest.v1+json", digest, len(manifest))
    if name is not None:
        entry["annotations"] = {"org.opencontainers.image.ref.name": name}
    return {
        "oci-layout": _json({"imageLayoutVersion": "1.0.0"}),
        "index.json": _json({"schemaVersion": 2, "manifests": [entry]}),
        _blob(digest): manifest,
        _blob(image.id): config,
    }


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _descriptor(kind: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": f"{_MEDIA}.{kind}", "digest": digest, "size": size}


def _blob(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


def _add(out: BinaryIO, name: str, data: bytes) -> None:
    out.write(header(Member(name.encode(), Kind.FILE, size=len(data))) + data + padding(len(data)))


def _copy(out: BinaryIO, name: str, blob: BinaryIO, size: int) -> None:
    out.write(header(Member(name.encode(), Kind.FILE, size=size)))
    while data := blob.read(CHUNK):
        out.write(data)
    out.write(padding(size))
