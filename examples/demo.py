"""A live Redis moves between two hosts and back, while a client writes over one connection.

Run it by `make demo`. The two hosts are namespaces on this machine, each with its own sshd.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.hosts import Host, Lan, leftovers, snapshot
from tests.hosts import redis as redis_in_container

ADDRESS = "10.77.0.100"
MIGRATE = redis_in_container.MIGRATE


def say(text: str = "") -> None:
    print(text, flush=True)


def move(source: Host, target: Host) -> dict[str, float]:
    """Move it; the freeze time by phase, and the whole, in seconds."""
    begun = time.monotonic()
    told = source.run([MIGRATE, "move", "redis", target.ssh_target, "--json"]).stdout
    result = json.loads(told.splitlines()[-1])["result"]
    return {"begun": begun, **result}


def show(report: redis_in_container.Report, result: dict[str, object], direction: str) -> None:
    """The timeline of one move, as the client saw it."""
    assert isinstance(result["begun"], float)
    assert isinstance(result["freeze_seconds"], float)
    before = report.gap_begun - result["begun"]
    say(f"  {direction}")
    say(f"    {before:7.3f} s  last reply before the pause (from the start of the command)")
    say(f"    {before + report.longest_gap:7.3f} s  first reply after it, from the new host")
    say(f"    service gap {report.longest_gap * 1000:.0f} ms as the client saw it;"
        f" frozen {result['freeze_seconds'] * 1000:.0f} ms as migrate measured it")  # fmt: skip
    phases = result["freeze_phases"]
    assert isinstance(phases, dict)
    say("    frozen: " + ", ".join(f"{k} {v * 1000:.0f} ms" for k, v in phases.items()))


def main() -> int:
    """The whole show; the exit status."""
    before = snapshot()
    with Lan() as lan:
        say("two hosts, alpha and beta, each with an sshd, on one network")
        alpha, beta = lan.host("alpha"), lan.host("beta")
        onlooker = lan.client()
        redis_in_container.make_image(lan.shared, alpha)
        redis_in_container.start(alpha, "redis", ADDRESS)
        redis_in_container.wait_for(onlooker, ADDRESS)
        say(f"Redis runs in a container on alpha, at {ADDRESS}; a client writes and reads")
        client = redis_in_container.Client(onlooker, ADDRESS)
        time.sleep(1)
        for source, target in ((alpha, beta), (beta, alpha)):
            client.mark()
            result = move(source, target)
            time.sleep(0.5)
            show(client.mark(), result, f"{source.name} -> {target.name}")
        time.sleep(0.5)
        final = client.finish()
        kept = "kept" if not final.errors else f"LOST: {final.errors[0]}"
        say(f"  keys written {final.written}, found {final.found}, connection {kept}")
        alpha.run([MIGRATE, "rm", "-f", "redis"])
        seen = lan.seen_namespaces
    left = leftovers(before, seen)
    say(f"  left behind: {', '.join(left) if left else 'nothing'}")
    ok = not left and not final.errors and final.found == final.written
    say("the demo went well" if ok else "the demo FAILED")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
