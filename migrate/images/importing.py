"""Images from archives: OCI layouts, `docker save`, and tars of a root file system.

Nothing in an archive is believed: documents are bounded and decoded with types, digests checked,
layers verified against the diff ids of the config.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import msgspec

from migrate.images.archive import Archive, open_archive, read_document
from migrate.images.diff import write_layer
from migrate.images.errors import ImageArchiveBad, ImageNameBad, disk_full_told
from migrate.images.model import (
    ARCHITECTURES,
    Image,
    check_digest,
    image_from_document,
    new_document,
    normalize_name,
)
from migrate.images.store import Store
from migrate.images.streams import CountingReader, piped

Progress = Callable[[int, int], None]
INDEX_DEPTH = 4
NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class _Platform(msgspec.Struct, frozen=True):
    architecture: str = ""
    os: str = ""


class Descriptor(msgspec.Struct, frozen=True):
    """A blob by its digest (image-spec, descriptor.md); `size` in bytes."""

    digest: str
    size: int = 0
    annotations: dict[str, str] = {}
    platform: _Platform | None = None


class Manifest(msgspec.Struct, frozen=True):
    """An index (`manifests`) or a manifest (`config` and `layers`)."""

    manifests: list[Descriptor] | None = None
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None


class _DockerManifest(msgspec.Struct, frozen=True, rename="pascal"):
    config: str
    layers: list[str]
    repo_tags: list[str] | None = None


@dataclass(frozen=True)
class _Parts:
    """Where the parts of an image are in its archive."""

    document: bytes
    layers: list[str]
    names: list[str]


_T = TypeVar("_T")


def import_archive(
    store: Store,
    path: Path,
    name: str | None = None,
    progress: Progress | None = None,
    *,
    own_names: bool = True,
) -> Image:
    """Import the image at `path` and call it `name`, or what the archive calls it.

    With neither it is called nothing; nor without a `name` if not `own_names`. `progress` is told
    (bytes read, bytes in all). Raises ImageArchiveBad, ImageNameBad,
    LayerUnsafe, LayerDigestMismatch, DiskFull; then only whole layers may stay, for `prune`.
    """
    wanted = [normalize_name(name)] if name is not None else None if own_names else []
    try:
        with (
            store.hold(),
            disk_full_told(store.root),
            open_archive(path, store.root / "tmp") as archive,
        ):
            if archive is None:
                return _import_tar(store, path, wanted or [], progress)
            parts = _find_parts(archive)
            names = parts.names if wanted is None else wanted
            return _import_parts(store, archive, parts, names, progress)
    except OSError as error:
        raise ImageArchiveBad(f"{path} can't be read", cause=str(error)) from error


def import_rootfs(store: Store, directory: Path, name: str | None = None) -> Image:
    """Import a directory as an image of one layer; raises as `import_archive`, LayerNotWritten."""
    names = [normalize_name(name)] if name is not None else []
    with store.hold():
        try:
            with piped(lambda out: write_layer(directory, out, overlay=False)) as stream:
                diff_id = store.add_layer(stream)
        except OSError as error:
            raise ImageArchiveBad(f"{directory} can't be read", cause=str(error)) from error
        return _put(store, new_document([diff_id]), names)


def _put(store: Store, document: bytes, names: list[str]) -> Image:
    return store.put_image(image_from_document(document, tuple(names)))


def _import_tar(store: Store, path: Path, names: list[str], progress: Progress | None) -> Image:
    """A tar of a root file system is one layer; without a digest it must have its end mark."""
    with path.open("rb") as file:
        report = _Report(progress, path.stat().st_size)
        stream = CountingReader(file, report.add)
        diff_id = store.add_layer(stream)
    return _put(store, new_document([diff_id]), names)


class _Report:
    """Adds up what was read."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _import_parts(
    store: Store, archive: Archive, parts: _Parts, names: list[str], progress: Progress | None
) -> Image:
    image = image_from_document(parts.document)
    if len(image.diff_ids) != len(parts.layers):
        raise ImageArchiveBad(
            "the manifest and the config of the image disagree",
            cause=f"{len(parts.layers)} layers against {len(image.diff_ids)} diff ids",
        )
    report = _Report(progress, sum(archive.size(layer) for layer in parts.layers))
    for diff_id, layer in zip(image.diff_ids, parts.layers, strict=True):
        if store.has_layer(diff_id):
            report.add(archive.size(layer))
            continue
        with archive.open(layer) as file:
            stream = CountingReader(file, report.add)
            store.add_layer(stream, diff_id)
    return _put(store, parts.document, names)


def _find_parts(archive: Archive) -> _Parts:
    """An OCI layout first; names from Docker's manifest where both are there (Docker 25 on)."""
    docker = _docker_parts(archive) if archive.has("manifest.json") else None
    if not archive.has("oci-layout"):
        if docker is None:
            raise ImageArchiveBad("this directory is not an OCI layout: it has no oci-layout file")
        return docker
    index = _decode(read_document(archive, "index.json"), Manifest, "index.json")
    parts = _oci_parts(archive, index)
    return _Parts(parts.document, parts.layers, docker.names) if docker else parts


def _docker_parts(archive: Archive) -> _Parts:
    data = read_document(archive, "manifest.json")
    manifests = _decode(data, list[_DockerManifest], "manifest.json")
    if len(manifests) != 1:
        raise ImageArchiveBad(
            f"the archive holds {len(manifests)} images",
            mend="save one image to each archive",
        )
    manifest = manifests[0]
    document = read_document(archive, manifest.config)
    return _Parts(document, manifest.layers, _good_names(manifest.repo_tags or []))


def _oci_parts(archive: Archive, index: Manifest) -> _Parts:
    names: list[str] = []
    manifest = index
    for _ in range(INDEX_DEPTH):
        if manifest.manifests is None:
            break
        chosen = manifest_for_this_machine(manifest)
        found = [chosen.annotations[key] for key in NAME_ANNOTATIONS if key in chosen.annotations]
        names = names or _good_names(found)[:1]
        manifest = _decode(_blob(archive, chosen.digest), Manifest, chosen.digest)
    if manifest.config is None or manifest.layers is None:
        raise ImageArchiveBad("the archive holds no image manifest")
    document = _blob(archive, manifest.config.digest)
    return _Parts(document, [_blob_name(layer.digest) for layer in manifest.layers], names)


def decode_manifest(data: bytes, name: str) -> Manifest:
    """A manifest or index; raises ImageArchiveBad."""
    found = _decode(data, Manifest, name)
    blobs = [*(found.manifests or []), *(found.layers or [])]
    for blob in [*blobs, found.config] if found.config else blobs:
        check_digest(blob.digest)
        if blob.size < 0:
            raise ImageArchiveBad(f"{name} tells a negative size")
    return found


def manifest_for_this_machine(index: Manifest) -> Descriptor:
    """The one for this machine, or the only one; raises ImageArchiveBad."""
    descriptors = index.manifests or []
    machine = platform.machine()
    wanted = _Platform(ARCHITECTURES.get(machine, machine), "linux")
    fitting = [d for d in descriptors if d.platform == wanted]
    if not fitting and len(descriptors) == 1:
        fitting = descriptors
    if not fitting:
        raise ImageArchiveBad(
            f"none of the archive's {len(descriptors)} manifests is for linux/{wanted.architecture}"
        )
    if len(fitting) > 1:
        raise ImageArchiveBad(
            f"the archive holds {len(fitting)} images", mend="save one image to each archive"
        )
    return fitting[0]


def _blob_name(digest: str) -> str:
    return f"blobs/sha256/{check_digest(digest).removeprefix('sha256:')}"


def _blob(archive: Archive, digest: str) -> bytes:
    data = read_document(archive, _blob_name(digest))
    if f"sha256:{hashlib.sha256(data).hexdigest()}" != digest:
        raise ImageArchiveBad(f"the blob {digest} in the archive is damaged")
    return data


def _decode(data: bytes, kind: type[_T], name: str) -> _T:
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.MsgspecError as error:
        raise ImageArchiveBad(f"{name} in the archive is malformed", cause=str(error)) from error


def _good_names(names: list[str]) -> list[str]:
    """Those that can be names; docker.io/library/ is left off, as Docker does."""
    good = []
    for name in names:
        try:
            good.append(normalize_name(name.removeprefix("docker.io/library/")))
        except ImageNameBad:
            continue
    return good
