"""`python -m tests.hosts`: make hosts by hand, to look around or to run something on them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.hosts import Host, Lan, leftovers, snapshot, sweep


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.hosts", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    shell = verbs.add_parser("shell", help="make hosts and open a shell on the first")
    run = verbs.add_parser("run", help="make hosts and run a command on the first")
    for verb in (shell, run):
        verb.add_argument("--rate", type=float, metavar="MBIT", help="speed of each link, Mbit/s")
        verb.add_argument("names", nargs="+", metavar="NAME", help="names of the hosts to make")
    verbs.add_parser("sweep", help="remove what hosts of killed processes left")
    return parser


def _describe(hosts: list[Host]) -> None:
    for host in hosts:
        print(f"{host.name:12} {host.address}  from the others: ssh {host.name}", file=sys.stderr)
    print("leave the shell to unmake the hosts", file=sys.stderr)


def _with_hosts(names: list[str], rate: float | None, command: list[str]) -> int:
    before = snapshot()
    with Lan() as lan:
        hosts = [lan.host(name) for name in names]
        for host in hosts:
            host.set_rate(rate)
        if not command:
            _describe(hosts)
            # Through ssh: it brings a terminal of the host's own.
            command = ["ssh", "-q", "-tt", names[0]]
        code: int = hosts[0].popen(command).wait()
    left = leftovers(before, lan.seen_namespaces)
    for line in left:
        print(f"left behind: {line}", file=sys.stderr)
    return code if not left else 1


def main(arguments: Sequence[str]) -> int:
    """The exit code is that of the command that was run."""
    own, command = list(arguments), []
    if "--" in own:
        place = own.index("--")
        own, command = own[:place], own[place + 1 :]
    options = _parser().parse_args(own)
    if options.verb == "sweep":
        for line in sweep():
            print(f"removed {line}")
        return 0
    if options.verb == "run" and not command:
        print("usage: python -m tests.hosts run NAME... -- COMMAND...", file=sys.stderr)
        return 2
    return _with_hosts(options.names, options.rate, command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
