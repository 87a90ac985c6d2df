"""Making and removing the networks of this host."""

from __future__ import annotations

import time

import msgspec

from migrate.runtime.networks import definition as definitions
from migrate.runtime.networks import driver_of
from migrate.runtime.networks.definition import Definition
from migrate.runtime.paths import Paths
from migrate.runtime.records import load_all


def create(paths: Paths, wanted: Definition) -> Definition:
    """Make a network; returns it with what its driver has chosen.

    On failure nothing of it is left. Raises NameTaken, NetworkFailed, SpecInvalid (no such driver).
    """
    driver = driver_of(wanted.driver)
    paths.make()
    with definitions.locked(paths, "network create"):
        known = definitions.load_all(paths)
        definitions.check(wanted, known)
        made = driver.define(wanted, known)
        definitions.check(made, known)
        made = msgspec.structs.replace(made, created=time.time())
        # Written first: what a killed command has made is found and removed by its name.
        definitions.save(paths, made)
        try:
            driver.set_up(paths, made)
        except BaseException:
            driver.tear_down(paths, made)
            definitions.remove(paths, made.name)
            raise
    return made


def remove(paths: Paths, name: str) -> None:
    """Remove a network and all that it has on this host.

    Raises NetworkUnknown, NetworkInUse, NetworkFailed.
    """
    found = definitions.find(paths, name)
    with definitions.locked(paths, "network rm"):
        definitions.refuse_used(name, load_all(paths))
        driver_of(found.driver).tear_down(paths, found)
        definitions.remove(paths, name)
