"""rename: another name for a container; its id stays."""

from __future__ import annotations

import msgspec

from migrate.runtime import records
from migrate.runtime.networks import names
from migrate.runtime.paths import Paths
from migrate.runtime.records import Record
from migrate.runtime.status import NEXT_STEP, require


def rename(paths: Paths, record: Record, name: str) -> Record:
    """The record under its new name, saved.

    Raises SpecInvalid for no proper name, NameTaken, and MoveUnsettled while a move holds it.
    """
    records.check_name(name)
    own = paths.container(record.identifier)
    with records.locked(own, "rename"):
        require(paths, record, *NEXT_STEP)
        with records.locked(paths.container("registration"), "rename", wait=30):
            records.claim_name(paths, name, by=record.identifier)
            renamed = msgspec.structs.replace(records.reload(paths, record), name=name)
            records.save(paths, renamed)
    names.refresh(paths, renamed)
    return renamed
