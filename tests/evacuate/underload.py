"""A host full of workloads: emptied, its operator killed again and again, filled again."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.evacuate.fleet import Fleet, events_until
from tests.evacuate.workloads.postgres import Postgres
from tests.evacuate.workloads.workload import Workload
from tests.hosts.host import Client
from tests.move.fixtures import containers

LIMIT = 400.0  # seconds that an evacuation may take
AMID = 5.0  # seconds of moves in which the operator can be killed: long enough for some to end
SETTLED = 0.5  # seconds of load before and after what is measured


@dataclass(frozen=True)
class Passage:
    """All containers moved once. Times in seconds, by container.

    `freezes` are what the report says, after kills that of the last run; `gaps` what clients saw.
    """

    what: str
    took: float
    freezes: dict[str, float]
    gaps: dict[str, float] = field(default_factory=dict)
    kills: int = 0

    def line(self) -> str:
        """For people."""
        words = f"{self.what}: {len(self.freezes)} moves in {self.took:.1f} s"
        if self.kills:
            words += f", the operator killed {self.kills} times"
        for name, times in (
            ("frozen", self.freezes.values()),
            ("clients' gaps", self.gaps.values()),
        ):
            if times:
                words += f"; {name} {statistics.median(times) * 1000:.0f} ms at the median"
                words += f", {max(times) * 1000:.0f} at most"
        return words

    def plain(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


class UnderLoad:
    """The workloads on the fleet's host `home`, and what was measured. A context manager."""

    def __init__(
        self, fleet: Fleet, client: Client, workloads: Sequence[Workload], home: str = "alpha"
    ) -> None:  # fmt: skip
        self.fleet, self._client, self.workloads, self._home = fleet, client, workloads, home
        self.passages: list[Passage] = []

    def __enter__(self) -> UnderLoad:
        try:
            for workload in self.workloads:
                workload.start(self.fleet.hosts[self._home], self._client)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_error: object) -> None:
        for workload in self.workloads:
            workload.kill()

    @property
    def names(self) -> list[str]:
        return [workload.name for workload in self.workloads]

    def evacuate(self, *options: str) -> Passage:
        """Empty the host; raises AssertionError unless all went well."""
        passage = self._measured("evacuation", options)
        assert containers(self.fleet.hosts[self._home]) == {}
        self._look(elsewhere=True)
        return passage

    def bring_back(self, *options: str) -> Passage:
        """The placement as it was; raises AssertionError unless all went well."""
        passage = self._measured("return", ["--return", *options])
        self._look(elsewhere=False)
        return passage

    def _measured(self, what: str, options: Sequence[str]) -> Passage:
        time.sleep(SETTLED)
        self._mark()
        begun = time.monotonic()
        report = self.fleet.evacuate(self._home, *options, limit=LIMIT)
        took = time.monotonic() - begun
        time.sleep(SETTLED)
        gaps = self._mark()
        assert report["complete"], report
        assert {o["name"] for o in report.get("outcomes", ())} == set(self.names)
        return self._add(Passage(what, took, _freezes(report), gaps))

    def _add(self, passage: Passage) -> Passage:
        self.passages.append(passage)
        return passage

    def _mark(self) -> dict[str, float]:
        gaps = {workload.name: workload.mark() for workload in self.workloads}
        return {name: gap for name, gap in gaps.items() if gap is not None}

    def _look(self, *, elsewhere: bool) -> None:
        """Each runs exactly once, there or not there; and open transactions are what they were."""
        places = self.fleet.places()
        assert places.keys() == set(self.names), places
        for name, found in places.items():
            assert [status for _host, status in found] == ["running"], (name, found)
            assert (found[0][0] != self._home) == elsewhere, (name, found)
        for workload in self.workloads:
            if isinstance(workload, Postgres):
                assert workload.look() == []

    def evacuate_with_kills(self, kills: int, seed: int, *options: str) -> Passage:
        """The operator killed at random moments, and each time started again; then to the end.

        Half of the moments lie before the first move of a run, half after it.
        """
        chosen = random.Random(seed)
        begun, done, planning = time.monotonic(), 0, 2.0
        for number in range(kills):
            started = time.monotonic()
            child = self.fleet.popen("evacuate", self._home, "--json", *options)
            if number % 2:
                seen = events_until(child, {"state": "moving"})
                moves_left = any(event.get("state") == "moving" for event in seen)
                planning = time.monotonic() - started if moves_left else planning
                time.sleep(chosen.uniform(0, AMID))
            else:
                time.sleep(chosen.uniform(0, planning))
            done += child.poll() is None
            child.kill()
            child.communicate()
        assert done, "every run had ended before it was to be killed"
        report = self.fleet.evacuate(self._home, *options, limit=LIMIT)
        took = time.monotonic() - begun
        assert report["complete"], report
        assert containers(self.fleet.hosts[self._home]) == {}
        self._look(elsewhere=True)
        return self._add(Passage("killed", took, _freezes(report), self._mark(), kills=done))

    def finish(self) -> dict[str, list[str]]:
        """End the clients; by container, what is wrong: nothing should be."""
        places = self.fleet.places()
        wrong = {}
        for workload in self.workloads:
            host = self.fleet.hosts[places[workload.name][0][0]]
            if complaints := workload.finish(host):
                wrong[workload.name] = complaints
            if isinstance(workload, Postgres):
                self._take_in(workload)
        return wrong

    def _take_in(self, workload: Postgres) -> None:
        """pgbench tells its gaps only at its end. The spans between passages are left out."""
        spans = [gap for gap, measured in zip(workload.gaps(), self._measured_spans(), strict=True)
                 if measured]  # fmt: skip
        for passage, gap in zip(self.passages, spans, strict=True):
            passage.gaps[workload.name] = gap

    def _measured_spans(self) -> list[bool]:
        """For each mark, whether a passage ended there, and not the time before one."""
        found = []
        for passage in self.passages:
            found += [True] if passage.what == "killed" else [False, True]
        return found


def _freezes(report: dict[str, Any]) -> dict[str, float]:
    return {o["name"]: o.get("freeze_seconds", 0.0) for o in report.get("outcomes", ())}
