"""What stands for `migrate agent` at the far end of the tests' SSH connections."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from migrate.transfer import agent, receiver


def main() -> int:
    base = Path(os.environ["FAR_END_BASE"])
    if sys.argv[1:2] != ["agent"]:
        return 2
    if sys.argv[2:3] == ["--data"]:
        return receiver.receive_stdio(base, sys.argv[3])

    def echo(context: agent.Context, text: str) -> str:
        context.progress("heard", length=len(text))
        print("this must not reach the wire")
        return text

    def make_root(_context: agent.Context, token: str) -> None:
        receiver.make_root(base, token)

    agent.serve_stdio({"echo": echo, "make_root": make_root}, capabilities=("test",))
    return 0


if __name__ == "__main__":
    sys.exit(main())
