#!/usr/bin/env python3
"""Fetch and make what the virtual machines of `make test-vm` need; quick when it is there already.

All of it comes from Debian, by this machine's own mirror, into `.vm-cache` below the checkout.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> int:
    """Exit code 0 when all is ready."""
    from migrate.errors import MigrateError
    from tests.vm.cache import CACHE
    from tests.vm.image import image

    begun = time.monotonic()
    try:
        image()
    except (MigrateError, LookupError, RuntimeError, subprocess.TimeoutExpired) as error:
        print(f"setup-vm: {error}", file=sys.stderr)
        print("  next: check that 'apt-get update' works on this machine", file=sys.stderr)
        return 1
    if (took := time.monotonic() - begun) > 5:
        print(f"made the virtual machines' disk and kernels in {CACHE}, in {took:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
