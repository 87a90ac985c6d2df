"""What is made once and kept: directories of the checkout's `.vm-cache`, named by what goes in."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
CACHE = CHECKOUT / ".vm-cache"
SUITE = "trixie"


def made(kind: str, inputs: str, make: Callable[[Path], None]) -> Path:
    """The directory of this kind and these inputs; `make` fills it where it is missing.

    Others of the kind, made of other inputs, are removed then: nobody asks for them again.
    """
    name = f"{kind}-{hashlib.sha256(inputs.encode()).hexdigest()[:12]}"
    final = CACHE / name
    if final.is_dir():
        return final
    CACHE.mkdir(mode=0o755, exist_ok=True)
    with (CACHE / f"{kind}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if final.is_dir():
            return final
        for old in CACHE.glob(f"{kind}-*"):
            shutil.rmtree(old)
        work = Path(tempfile.mkdtemp(prefix=f".{kind}-", dir=CACHE))
        try:
            fresh = work / "made"
            fresh.mkdir(mode=0o755)
            make(fresh)
            fresh.rename(final)
        finally:
            shutil.rmtree(work)
    return final
