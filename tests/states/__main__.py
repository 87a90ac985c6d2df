"""`python -m tests.states [KIND...]`: each program alone in a container, over two checkpoints.

The tests run all of them in one container; this tells which one it was. As root.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from migrate.checkpoint.bring_back import bring_back
from migrate.checkpoint.save import save
from migrate.errors import MigrateError
from tests.checkpoint.conftest import Place
from tests.states.building import KINDS, build
from tests.states.running import check, run


def one(programs: Path, kind: str) -> str:
    """What became of it, in words."""
    directory = Path(tempfile.mkdtemp(prefix="mgck"))
    place = Place(directory)
    try:
        record = run(place, programs, [kind])
        for turn in range(2):
            output = directory / f"checkpoint{turn}"
            save(place.paths, record, str(output))
            bring_back(place.paths, output)
            check(place, record, [kind])
    except (AssertionError, MigrateError) as error:
        return f"WRONG: {error}"
    finally:
        place.close()
        shutil.rmtree(directory)
    return "kept"


def main() -> int:
    """Exit status: whether any was wrong."""
    with tempfile.TemporaryDirectory(prefix="mgst") as directory:
        programs = Path(directory)
        programs.chmod(0o755)
        build(programs)
        wrong = 0
        for kind in sys.argv[1:] or KINDS:
            said = one(programs, kind)
            wrong += said != "kept"
            print(f"{kind}: {said}", flush=True)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
