"""A log's full files, `log.1` the last of them: they change no more, and can travel ahead.

What was sent ahead has a key for its name, which a file keeps when it is renamed to make room; the
list that says which number each key has is written last.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Container
from pathlib import Path

DIRECTORY = "oldlogs"
LIST = "oldlogs.json"
MOST = 1000  # files; `--log-max-files` has a few
_LIST_LIMIT = 1 << 16  # bytes
_KEY = re.compile(r"\d{1,20}(-\d{1,20}){2}")


def found(log: Path) -> dict[int, tuple[str, Path]]:
    """Key and path of each, by number."""
    there = {}
    for number in range(1, MOST):
        path = _numbered(log, number)
        try:
            status = path.stat()
        except FileNotFoundError:
            break
        there[number] = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}", path
    return there


def write(log: Path, directory: Path, ahead: Container[str]) -> list[str]:
    """The list, and those whose keys are not `ahead`, below `directory`; their names."""
    there = found(log)
    if not there:
        return []
    names = []
    for key, path in there.values():
        if key in ahead:
            continue
        (directory / DIRECTORY).mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # the oldest is removed to make room
            shutil.copyfile(path, directory / DIRECTORY / key)
            names.append(f"{DIRECTORY}/{key}")
    told = {number: key for number, (key, _path) in there.items()}
    (directory / LIST).write_text(json.dumps(told))
    return [*names, LIST]


def put(directory: Path, log: Path, *, take: bool) -> None:
    """The way back; `take`: they are moved. What is missing or not understood is passed over."""
    try:
        with (directory / LIST).open("rb") as file:
            told = json.loads(file.read(_LIST_LIMIT))
    except (OSError, ValueError):
        return
    for number, key in told.items() if isinstance(told, dict) else ():
        fits = number.isascii() and number.isdigit() and isinstance(key, str)
        if not fits or not 0 < int(number) < MOST or not _KEY.fullmatch(key):
            continue
        source, target = directory / DIRECTORY / key, _numbered(log, int(number))
        with contextlib.suppress(FileNotFoundError):
            if take:
                os.replace(source, target)  # noqa: PTH105
            else:
                shutil.copyfile(source, target)
            target.chmod(0o600)


def _numbered(log: Path, number: int) -> Path:
    return log.with_name(f"{log.name}.{number}")
