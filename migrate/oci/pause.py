"""pause and resume: the freezer."""

from __future__ import annotations

from typing import Any

from migrate.oci import groups, records


def pause(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Freeze every process; raises NotAllowedNow, CgroupFailed."""
    with records.locked(records.load(settings["root"], words[0])) as container:
        container.require("pause", records.RUNNING, records.CREATED)
        groups.of_state(container.state).freeze()


def resume(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Let a paused container run; raises NotAllowedNow."""
    with records.locked(records.load(settings["root"], words[0])) as container:
        container.require("resume", records.PAUSED)
        groups.of_state(container.state).thaw()
