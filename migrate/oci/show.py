"""state, list, ps: what there is."""

from __future__ import annotations

import sys

from migrate.kernel.bare import json
from migrate.oci import records
from migrate.oci.errors import BadUsage, SetupFailed

TYPE_CHECKING = False  # `typing` takes longer to load than all that is needed here
if TYPE_CHECKING:
    from typing import Any


def state(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """The state of one container as JSON (runtime.md, "State")."""
    told = records.load(settings["root"], words[0]).describe()
    rows = (f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in told.items())
    sys.stdout.write("{\n" + ",\n".join(rows) + "\n}\n")


def list_all(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """All containers, as table, JSON or ids."""
    found = records.load_all(settings["root"])
    if values["quiet"]:
        sys.stdout.write("".join(f"{entry.identifier}\n" for entry in found))
    elif values["format"] == "json":
        _print([entry.describe() for entry in found])
    elif values["format"] == "table":
        rows: list[tuple[str, ...]] = [("ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER")]
        for entry in found:
            told = entry.describe()
            rows.append(tuple(
                str(told[key]) for key in ("id", "pid", "status", "bundle", "created", "owner")
            ))  # fmt: skip
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            sys.stdout.write("   ".join(cells).rstrip() + "\n")
    else:
        raise BadUsage(f"invalid format option {values['format']!r}", cause="table or json")


def processes(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """The pids in the container's group as JSON, or as ps(1) tells of them."""
    from migrate.oci import groups

    container = records.load(settings["root"], words[0])
    container.require("list the processes of", records.CREATED, records.RUNNING, records.PAUSED)
    pids = sorted(set(groups.of_state(container.state).pids()))
    options = words[1:]
    if options and options[0] in {"-f", "--format"}:  # behind the id, as runc takes it, too
        values["format"], options = options[1], options[2:]
    if values["format"] == "json":
        _print(pids)
        return
    if values["format"] != "table":
        raise BadUsage(f"invalid format option {values['format']!r}", cause="table or json")
    _print_table(pids, options or ["-ef"])


def _print_table(pids: list[int], options: list[str]) -> None:
    import subprocess

    try:
        done = subprocess.run(["ps", *options], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        raise SetupFailed(
            "there is no ps(1)", mend="install procps, or use --format json"
        ) from None
    except subprocess.CalledProcessError as error:
        raise BadUsage(f"ps {' '.join(options)} failed", cause=error.stderr.strip()) from None
    title, *lines = done.stdout.splitlines()
    columns = title.split()
    if "PID" not in columns:
        raise BadUsage("ps printed no column PID", cause=f"ps {' '.join(options)}")
    where = columns.index("PID")
    kept = [line for line in lines if line.split()[where] in set(map(str, pids))]
    sys.stdout.write("\n".join([title, *kept]) + "\n")


def _print(value: Any) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
