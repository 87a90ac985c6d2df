"""The directory of a checkpoint: CRIU's images, and what the restore must know besides them.

`descriptors.json` has the names of the standard streams, as runc writes it; `migrate-oci.json` the
external mounts and namespaces.
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from migrate.oci.errors import BadImage, BadUsage
from migrate.oci.external import External

_NAME, _STREAMS = "migrate-oci.json", "descriptors.json"
_FORMAT = 1
_LIMIT = 1 << 20
NETWORK_KEY, PID_KEY = "extRootNetNS", "extRootPidNS"


class Description(NamedTuple):
    """What `checkpoint` tells `restore`; `streams` as in /proc/PID/fd, `files` CRIU's keys."""

    streams: list[str]
    files: list[str]  # the key of a stream that is a file of the host's; "" for others
    mounts: list[External]
    namespaces: list[str]  # types of those that are the host's or another container's


def make_directory(path: str) -> str:
    """The directory for a new checkpoint, made where it is missing; its real path."""
    try:
        os.makedirs(path, 0o700, exist_ok=True)
    except OSError as error:
        raise BadUsage(f"can't make the directory {path}", cause=str(error)) from error
    return os.path.realpath(path)


def write(directory: str, description: Description) -> None:
    """Describe the checkpoint in `directory`; raises OSError."""
    told = description._asdict() | {
        "format": _FORMAT, "mounts": [list(entry) for entry in description.mounts],
    }  # fmt: skip
    for name, value in ((_STREAMS, description.streams), (_NAME, told)):
        with open(f"{directory}/{name}", "w") as file:
            json.dump(value, file)


def read(directory: str) -> Description:
    """What was described, every field checked; raises BadImage."""
    try:
        with open(f"{directory}/{_NAME}", "rb") as file:
            told = json.loads(file.read(_LIMIT))
        if told["format"] != _FORMAT:
            raise ValueError(f"format {told['format']}")
        mounts = [External(*_texts(row, 4)) for row in told["mounts"]]
        streams, files = _texts(told["streams"], 3), _texts(told["files"], 3)
        return Description(streams, files, mounts, _texts(told["namespaces"]))
    except FileNotFoundError:
        raise BadImage(
            f"{directory} is no checkpoint of migrate-oci", cause=f"it has no {_NAME}"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadImage(f"{directory}/{_NAME} can't be read", cause=str(error)) from error


def _texts(value: Any, count: int | None = None) -> list[str]:
    if not isinstance(value, list) or not all(type(entry) is str for entry in value):
        raise ValueError(f"{str(value)[:100]} is no list of strings")
    if count is not None and len(value) != count:
        raise ValueError(f"{count} strings are expected, not {len(value)}")
    return value
