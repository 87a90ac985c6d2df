"""A host with 30 containers emptied and filled again under load: `python -m tests.evacuate.soak`.

Three parts (`--part`): `load`, an evacuation and its return while clients of Redis, PostgreSQL and
nginx watch; `kills`, the same with the operator's process killed at random moments; `scarce`, two
hosts emptied at once into each other and into a third with little memory. It ends at the first
thing that is lost, or client that is cut off.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tests.evacuate.fleet import Fleet
from tests.evacuate.scarce import squeeze
from tests.evacuate.underload import UnderLoad
from tests.evacuate.workloads.assortment import assortment, make_images
from tests.evacuate.workloads.spanned import networks
from tests.hosts import Lan
from tests.hosts.host import Client

PARTS = ("load", "kills", "scarce")
LEAST = 10  # containers: one of each kind and network driver


def arguments() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=30, help="containers (30)")
    parser.add_argument("--seed", type=int, default=20261127, help="of the moments of the kills")
    parser.add_argument("--kills", type=int, default=20, help="of the operator's process (20)")
    parser.add_argument("--parallel", type=int, default=2, help="moves at once (2)")
    parser.add_argument("--part", action="append", choices=PARTS, help="all if not given")
    parser.add_argument("--json", type=Path, help="write what was measured to this file")
    given = parser.parse_args()
    if given.count < LEAST:
        parser.error(f"--count: {LEAST} at least, one of each kind")
    return given


def under_load(
    fleet: Fleet, lan: Lan, client: Client, given: argparse.Namespace, parts: list[str]
) -> dict[str, Any]:  # fmt: skip
    """The parts `load` and `kills`; raises AssertionError."""
    options = ("--parallel", str(given.parallel))
    make_images(lan, fleet.hosts["alpha"], fleet.desk)
    with (
        networks(fleet) as spanned,
        UnderLoad(fleet, client, assortment(given.count, lan.shared, spanned)) as load,
    ):
        print(f"{given.count} containers run on alpha", flush=True)
        if "load" in parts:
            load.evacuate(*options)
            load.bring_back(*options)
        if "kills" in parts:
            load.evacuate_with_kills(given.kills, given.seed, *options)
            load.bring_back(*options)
        wrong = load.finish()
        for passage in load.passages:
            print(passage.line(), flush=True)
        assert not wrong, wrong
        passages = [passage.plain() for passage in load.passages]
    return {"count": given.count, "passages": passages}


def scarce(fleet: Fleet, client: Client, *, each_other: bool) -> dict[str, Any]:
    """The part of that name, once; raises AssertionError."""
    made = squeeze(fleet, client, ("alpha", "beta", "gamma"), each_other=each_other)
    print(made.line(), flush=True)
    fleet.clean()
    return made.plain()


def main() -> int:
    """The exit status: 0 when all went well."""
    given = arguments()
    parts = given.part or list(PARTS)
    told: dict[str, Any] = {"seed": given.seed}
    with Lan() as lan:
        fleet = Fleet(lan, "alpha", "beta", "gamma", "delta")
        client = lan.client()
        try:
            if {"load", "kills"} & set(parts):
                told |= under_load(fleet, lan, client, given, parts)
            if "scarce" in parts:
                make_images(lan, fleet.hosts["alpha"])
                make_images(lan, fleet.hosts["beta"])
                told["scarce"] = [
                    scarce(fleet, client, each_other=each_other) for each_other in (False, True)
                ]
        except AssertionError as error:
            print(f"WRONG (seed {given.seed}): {error}", flush=True)
            return 1
    if given.json:
        given.json.write_text(json.dumps(told, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
