"""The content store of images and layers, below one directory (/var/lib/migrate/images).

    blobs/sha256/<hex>.zst       a layer's tar, by diff id
    layers/sha256/<hex>/         the same, unpacked in overlay form; <hex>.json its record
    images/sha256/<hex>.json     an image, by id
    pins/<owner>.json            layers and image that a container is made of
    tmp/                         what is being unpacked

Only `prune` removes layers, and it waits for every `hold` to end.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Set
from pathlib import Path
from typing import TypeVar

import msgspec

from migrate.images.errors import (
    ImageAmbiguous,
    ImageInUse,
    ImageUnknown,
    LayerMissing,
    StoreDamaged,
    disk_full_told,
)
from migrate.images.layers import LayerStore
from migrate.images.model import Image, check_digest, image_from_document, normalize_name
from migrate.images.rootdir import remove_tree
from migrate.kernel.files import write_atomically

_ID_PREFIX = re.compile(r"(?:sha256:)?[0-9a-f]{4,64}")


class _Pin(msgspec.Struct, frozen=True):
    """That a container (`owner`) stands on these layers."""

    owner: str
    image_id: str
    diff_ids: tuple[str, ...]


_Record = TypeVar("_Record", Image, _Pin)


class Store(LayerStore):
    """Images and layers of this host; `root` is made (0700) at the first writing.

    Safe to use from several processes at once: writers hold a file lock, records are replaced
    atomically.
    """

    def put_image(self, image: Image) -> Image:
        """Record an image whose layers are all here; returns it as stored.

        Id, config and layers are read from `document` anew; names move here from other images,
        and are added to those that the image has. Raises LayerMissing.
        """
        size = 0
        fresh = image_from_document(image.document.encode())
        for diff_id in fresh.diff_ids:
            if not self.has_layer(diff_id):
                raise LayerMissing(f"the image {fresh.id} lacks its layer {diff_id}")
            size += self.layer_record(diff_id).size
        names = {normalize_name(name) for name in image.names}
        with disk_full_told(self.root), self.hold(), self.hold(exclusive=True, purpose="names"):
            for other in self.images():
                if other.id == fresh.id:
                    names.update(other.names)
                elif names & set(other.names):
                    left = tuple(name for name in other.names if name not in names)
                    self._write(msgspec.structs.replace(other, names=left))
            stored = msgspec.structs.replace(fresh, names=tuple(sorted(names)), size=size)
            self._write(stored)
        return stored

    def _write(self, image: Image) -> None:
        path = self._image_path(image.id)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.encode(image))

    def _image_path(self, image_id: str) -> Path:
        return self.root / "images" / "sha256" / f"{check_digest(image_id)[7:]}.json"

    def images(self) -> list[Image]:
        """All images, those with names first, by name."""
        found = _read_all((self.root / "images" / "sha256").glob("[0-9a-f]*.json"), Image)
        return sorted(found, key=lambda image: (not image.names, image.names, image.id))

    def resolve(self, reference: str) -> Image:
        """The image of this name (`:latest` may be left out), id, or unique id prefix.

        Raises ImageUnknown, ImageAmbiguous.
        """
        images = self.images()
        names = {reference, f"{reference}:latest"}
        for image in images:
            if names.intersection(image.names) or image.id == reference:
                return image
        if _ID_PREFIX.fullmatch(reference):
            digits = reference.removeprefix("sha256:")
            fitting = [image for image in images if image.id[7:].startswith(digits)]
            if len(fitting) > 1:
                raise ImageAmbiguous(f"{len(fitting)} images have an id that begins with {digits}")
            if fitting:
                return fitting[0]
        raise ImageUnknown(f"no image is called {reference[:200]!r} here")

    def remove(self, reference: str, *, force: bool = False) -> Image:
        """Forget a name, or the whole image if it was its last or `reference` is an id.

        Layers stay until `prune`. Raises ImageUnknown; ImageInUse while the whole image is pinned,
        unless `force`.
        """
        with self.hold(exclusive=True, purpose="names"):
            image = self.resolve(reference)
            left = tuple(n for n in image.names if n not in {reference, f"{reference}:latest"})
            if left and left != image.names:
                self._write(msgspec.structs.replace(image, names=left))
                return image
            owners = [pin.owner for pin in self._pins() if pin.image_id == image.id]
            if owners and not force:
                raise ImageInUse(
                    f"the image {reference} is in use", cause=f"by {', '.join(sorted(owners))}"
                )
            self._image_path(image.id).unlink()
        return image

    def pin(self, owner: str, image: Image) -> None:
        """Keep the image's layers for `owner` (a container's id) until `unpin`, whatever is pruned.

        Raises LayerMissing if one is gone already.
        """
        with disk_full_told(self.root), self.hold():
            for diff_id in image.diff_ids:
                self.layer_record(diff_id)
            path = self._pin_path(owner)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(path, msgspec.json.encode(_Pin(owner, image.id, image.diff_ids)))

    def unpin(self, owner: str) -> None:
        """The owner is gone; harmless if it never was."""
        self._pin_path(owner).unlink(missing_ok=True)

    def _pin_path(self, owner: str) -> Path:
        return self.root / "pins" / f"{urllib.parse.quote(owner, safe='')}.json"

    def _pins(self) -> list[_Pin]:
        return _read_all((self.root / "pins").glob("[!.]*.json"), _Pin)

    def prune(self, keep: Set[str] = frozenset()) -> int:
        """Remove layers that no image, no pin and not `keep` (diff ids) uses; bytes freed.

        Clears also what crashed imports left. Waits for imports under way. A record that can't be
        read stops it (StoreDamaged): it may name layers.
        """
        if not self.root.exists():
            return 0
        with self.hold(exclusive=True):
            used = set(keep)
            used.update(diff_id for image in self.images() for diff_id in image.diff_ids)
            used.update(diff_id for pin in self._pins() for diff_id in pin.diff_ids)
            for path in (self.root / "tmp").glob("*"):
                remove_tree(path)
            present = {path.name.split(".")[0] for path in self._layer_paths()}
            return sum(
                self._drop_layer(f"sha256:{digits}")
                for digits in sorted(present)
                if f"sha256:{digits}" not in used
            )

    def _layer_paths(self) -> list[Path]:
        """Every file or directory that belongs to a layer, whole or not."""
        return [
            path
            for part in ("layers", "blobs")
            for path in (self.root / part / "sha256").glob("[0-9a-f]*")
        ]


def _read_all(paths: Iterable[Path], kind: type[_Record]) -> list[_Record]:
    """Decode every record; one that vanishes meanwhile was removed by somebody else."""
    found = []
    for path in paths:
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=kind))
        except FileNotFoundError:
            continue
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreDamaged(f"the record {path} can't be read", cause=str(error)) from error
    return found
