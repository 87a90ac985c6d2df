"""CRIU: present, new enough, passing the real probe, with its Python package and its cache."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from migrate.criu import featurecache, provide
from migrate.criu.probe import probe
from migrate.criu.skeleton import filter as skeleton
from migrate.move.doctor.finding import Finding, good, lacking

OLDEST = (4, 2)
_COSTS = "no checkpoint, no restore, and only --mode cold moves"
_MEND = "migrate doctor --fix"


def check() -> Iterator[Finding]:
    """What is found about CRIU; the probe runs only when its last verdict no longer holds."""
    chosen = provide.read_chosen()
    if chosen is None:
        yield lacking("criu", "none", _COSTS, _MEND, fixable=True, needed=True)
        return
    numbers = tuple(int(part) for part in chosen.version.split(".")[:2] if part.isdigit())
    found = f"{chosen.version} ({chosen.path})"
    if numbers >= OLDEST:
        yield good("criu", found, needed=True)
    else:
        costs = "established TCP connections may not be dumped on newer kernels"
        yield lacking("criu", found, costs, _MEND, fixable=True, needed=True)
    yield _probe(chosen)
    yield _python_package()
    yield _cache(Path(chosen.path))
    yield _filter()


def _probe(chosen: provide.Chosen) -> Finding:
    name = "criu probe"
    if provide.still_holds(chosen):
        return good(name, "passed since boot", needed=True)
    if os.geteuid() != 0:
        return lacking(name, "not tried", _COSTS, "run it as root", needed=True)
    probed = probe(Path(chosen.path))
    if probed.passed:
        return good(name, "passed: dump and restore of a live TCP connection", needed=True)
    return lacking(name, probed.cause, _COSTS, _MEND, fixable=True, needed=True)


def _python_package() -> Finding:
    try:
        from pycriu import rpc_pb2
    except Exception as error:  # noqa: BLE001 -- protobuf raises kinds of its own
        return lacking("pycriu", str(error), _COSTS, _MEND, fixable=True, needed=True)
    return good("pycriu", str(Path(rpc_pb2.__file__).parent), needed=True)


def _filter() -> Finding:
    name = "skeleton filter"
    if skeleton.is_built():
        return good(name, str(skeleton.library()))
    costs = "no pre-copy moves: the pause grows with memory"
    return lacking(name, "not built", costs, _MEND, fixable=True)


def _cache(criu: Path) -> Finding:
    if featurecache.is_current(criu):
        return good("criu feature cache", str(featurecache.CACHE))
    costs = "36-45 ms more for each pause"
    return lacking("criu feature cache", "missing or stale", costs, _MEND, fixable=True)
