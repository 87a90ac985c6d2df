"""migrate attach: the terminal or the streams of a running container."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import click

from migrate.cli.names import name_argument
from migrate.runtime.detachkeys import DEFAULT

if TYPE_CHECKING:
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import Record
    from migrate.runtime.waiting import Waiting

_END_LIMIT = 5.0  # seconds from the last output to the exit status
_MOVED_LIMIT = 5.0  # seconds until the record goes with a move that has ended the attachment


@click.command()
@click.option("--detach-keys", "keys", default=DEFAULT, show_default=True, metavar="KEYS",
              help="End the attachment of a terminal; '' for none.")  # fmt: skip
@click.option("--no-stdin", is_flag=True, help="Only look.")
@name_argument
def attach(name: str, keys: str, no_stdin: bool) -> int:
    """See a running container's output as it comes, and type.

    What is typed goes to a container of `run -i`. Several may be attached at once. The detach keys,
    or without a terminal Ctrl-C, end the attachment and leave the container running. When it ends,
    its exit status is the command's. `migrate logs` shows the output of before.

    \b
    Examples: migrate run -dit --name box IMAGE sh; migrate attach box
    """
    from migrate.cli.attached import Signals
    from migrate.cli.session import Session, size_of_ours
    from migrate.runtime.attaching import Attachment
    from migrate.runtime.detachkeys import parse
    from migrate.runtime.paths import Paths
    from migrate.runtime.records import find
    from migrate.runtime.status import require
    from migrate.runtime.waiting import Waiting

    detach_keys = parse(keys)
    paths = Paths.from_environment()
    record = find(paths, name)
    require(paths, record, "running", "paused", "created")
    own = paths.container(record.identifier)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(Signals())
        waiting = stack.enter_context(contextlib.closing(Waiting(str(own.socket))))
        attachment = stack.enter_context(
            contextlib.closing(Attachment(str(own.socket), size_of_ours()))
        )
        session = Session(
            attachment, signals, keys=detach_keys, types=not no_stdin, on_signal=lambda _n: False
        )
        if not session.run():
            click.echo(f"\ndetached; 'migrate attach {record.name}' comes back", err=True)
            return 0
        return _after_the_end(paths, record, waiting)


def _after_the_end(paths: Paths, record: Record, waiting: Waiting) -> int:
    """The exit status; raises GenerationOld where it has moved, MonitorFailed where it runs on."""
    from migrate.runtime.errors import ContainerUnknown, GenerationOld, MonitorFailed
    from migrate.runtime.records import reload

    with contextlib.suppress(MonitorFailed):  # it has left: most often for a move
        status = waiting.poll(_END_LIMIT)
        if status is not None:
            return status
    deadline = time.monotonic() + _MOVED_LIMIT
    try:
        while time.monotonic() < deadline:
            reload(paths, record)
            time.sleep(0.05)
    except ContainerUnknown:
        raise GenerationOld(
            f"'{record.name}' is not on this host any more", cause="it was moved, or removed",
            mend="'migrate attach' on the host that has it comes back",
        ) from None  # fmt: skip
    raise MonitorFailed(
        f"the attachment to '{record.name}' has ended, and the container has not",
        cause="its output was not taken for 10 s, or its monitor has died",
        mend=f"'migrate attach {record.name}' comes back, if its monitor lives",
    )
