"""What can go wrong with images and layers (codes 20-34), and ENOSPC told as DiskFull."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

from migrate.errors import DiskFull, MigrateError

_SHOWN = 200


class ImageUnknown(MigrateError):
    """No image has this name or id."""

    code = 20
    mend = "run 'migrate image ls' for the images of this host, 'migrate image import' to add one"


class ImageArchiveBad(MigrateError):
    """An image archive or layer can't be read: damaged, truncated or of an unknown form."""

    code = 21
    mend = "make or fetch the archive again (OCI layout, 'docker save' or a root file system tar)"


class LayerDigestMismatch(MigrateError):
    """A layer's content is not what its digest says."""

    code = 22
    mend = "the bytes were changed or damaged on their way: fetch or send them again"


class LayerUnsafe(MigrateError):
    """A layer holds a member that would reach outside of its directory, or goes past a limit."""

    code = 23
    mend = "don't use this image, or rebuild it without that member"


class LayerMissing(MigrateError):
    """A layer that an image needs is not in the store."""

    code = 24
    mend = "import the image again"


class ImageInUse(MigrateError):
    """An image can't be removed while a container is made of it."""

    code = 25
    mend = "remove the containers first, or repeat with --force (their layers are kept)"


class ImageAmbiguous(MigrateError):
    """An id prefix fits more than one image."""

    code = 26
    mend = "give more digits of the id, or a name"


class StoreDamaged(MigrateError):
    """A record in the image store can't be read."""

    code = 27
    mend = "remove that file and import the image again"


class SnapshotFailed(MigrateError):
    """A root file system could not be mounted or unmounted."""

    code = 28
    mend = "run 'migrate doctor' to see whether this host can mount overlay file systems"


class ImageNameBad(MigrateError):
    """Not a name that an image can have."""

    code = 29
    mend = "use lower-case letters, digits and ._-/ with an optional :tag, such as web/shop:1.2"


class LayerNotWritten(MigrateError):
    """A directory could not be written as a layer."""

    code = 30


class CopyFailed(MigrateError):
    """Files could not be copied into a container, or out of it."""

    code = 53


class RegistryFailed(MigrateError):
    """A registry can't be reached, or does not have what was asked for."""

    code = 54
    mend = "see that the registry's host and port are right and answer, then try again"


class RegistryDenied(MigrateError):
    """A registry wants to know who asks, or does not let him."""

    code = 61
    mend = "give --creds USER[:PASSWORD] or --authfile FILE, and see that the user may do this"


class StorageDriverBad(MigrateError):
    """A snapshot driver does not exist, or does not work with this host's file system."""

    code = 62
    mend = (
        "leave the choice to migrate, or choose another: --storage-driver, MIGRATE_STORAGE_DRIVER, "
        "or [storage] driver in /etc/migrate/config.toml; 'migrate doctor' says which work"
    )


def printable(name: bytes) -> str:
    """A member's name fit for an error text: no control characters, bounded length."""
    text = name.decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."


@contextlib.contextmanager
def disk_full_told(place: Path) -> Iterator[None]:
    """Turn ENOSPC and EDQUOT into DiskFull naming `place`."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
            raise
        raise DiskFull(f"no room left for image data in {place}", cause=str(error)) from error
