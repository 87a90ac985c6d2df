"""What runc has and this has not: said, not passed over."""

from __future__ import annotations

from typing import Any

from migrate.oci.errors import Unsupported

_CAUSE = "a container of migrate-oci has no monitor, and CRIU restores through that"


def checkpoint(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Raises Unsupported."""
    raise Unsupported(
        "checkpoint is not supported yet",
        cause=_CAUSE,
        mend="'migrate run --bundle DIR' and 'migrate checkpoint' do it for the same bundle",
    )


def restore(settings: dict[str, Any], values: dict[str, Any], words: list[str]) -> None:
    """Raises Unsupported."""
    raise Unsupported(
        "restore is not supported yet",
        cause=_CAUSE,
        mend="'migrate restore FILE' brings back what 'migrate checkpoint' has saved",
    )
