"""One fuzzer under atheris (libFuzzer's loop): `python -m tests.fuzz.run NAME [FLAGS...]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["migrate"], enable_loader_override=False):
    from tests.fuzz import targets


def main() -> None:
    """Runs until the flags' limit, or ends with a status that is not 0 at the first finding."""
    name, *flags = sys.argv[1:]
    target = targets.TARGETS[name]
    with targets.Place() as place, tempfile.TemporaryDirectory(prefix="migrate-corpus-") as corpus:
        with atheris.instrument_imports(include=["migrate"], enable_loader_override=False):
            for number, seed in enumerate(targets.seeds(name)):  # loads what is to be watched
                (Path(corpus) / f"{number}").write_bytes(seed)
                place.attempt(target, seed)
        atheris.Setup(
            [sys.argv[0], *flags, f"-max_len={targets.MOST}", corpus],
            lambda data: place.attempt(target, data),
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
