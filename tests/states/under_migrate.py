"""One kind alone in a container of migrate's."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from migrate.checkpoint.bring_back import bring_back
from migrate.checkpoint.save import save
from migrate.errors import MigrateError
from tests.checkpoint.conftest import Place
from tests.states.running import check, run


def outcome(programs: Path, kind: str, turns: int = 2) -> tuple[str, str]:
    """What becomes of it (kept, refused with the container running on, lost, not made); why."""
    directory = Path(tempfile.mkdtemp(prefix="mgck"))
    place = Place(directory)
    try:
        try:
            record = run(place, programs, [kind])
            check(place, record, [kind])
        except (AssertionError, MigrateError) as error:
            return "not made", str(error)
        for turn in range(turns):
            output = directory / f"checkpoint{turn}"
            try:
                save(place.paths, record, str(output))
            except MigrateError as error:
                check(place, record, [kind])
                return "refused", f"{error.what}: {error.cause}"
            bring_back(place.paths, output)
            check(place, record, [kind])
    except (AssertionError, MigrateError) as error:
        return "lost", str(error)
    finally:
        place.close()
        shutil.rmtree(directory)
    return "kept", ""
