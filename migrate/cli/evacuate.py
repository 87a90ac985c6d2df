"""migrate evacuate: empty a host, and bring back what it had."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from migrate.cli.hostnames import complete_hosts, inventory_option

if TYPE_CHECKING:
    from migrate.cli.evacuateview import EvacuateView
    from migrate.evacuate.execution.report import Report
    from migrate.evacuate.order import Order

_REPORTS = (".json", ".md", ".html")


def _report_files(
    _ctx: click.Context, _param: click.Parameter, given: tuple[Path, ...]
) -> tuple[Path, ...]:  # fmt: skip
    for path in given:
        if path.suffix not in _REPORTS:
            raise click.BadParameter(f"'{path}' must end in one of {', '.join(_REPORTS)}")
        if not path.absolute().parent.is_dir():
            raise click.BadParameter(f"'{path.parent}' is no directory")
    return given


@click.command(epilog="Example: migrate evacuate alpha --to beta --to gamma --parallel 3")
@click.argument("host", metavar="HOST", shell_complete=complete_hosts)
@click.option(
    "--to",
    "targets",
    metavar="HOST",
    multiple=True,
    shell_complete=complete_hosts,
    help="Where containers may go; all other hosts of the inventory if not given.",
)
@inventory_option
@click.option(
    "--selector",
    metavar="LABELS",
    default="",
    help="Only containers with these labels: key=value, key!=value, key, !key, with commas.",
)
@click.option(
    "--parallel",
    metavar="N",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    help="Moves at once.",
)
@click.option(
    "--max-downtime",
    metavar="MS",
    type=click.IntRange(min=1),
    help="How long each pause may be; as in 'migrate move' if not given.",
)
@click.option(
    "--bandwidth",
    metavar="MBIT",
    type=click.IntRange(min=1),
    help="Megabits a second for all moves together.",
)
@click.option(
    "--deadline",
    metavar="SECONDS",
    type=click.FloatRange(min=1),
    help="Begin nothing that would not be done by then, and roll back what is not frozen then.",
)
@click.option(
    "--on-failure",
    type=click.Choice(["stop", "skip", "cold"]),
    default="skip",
    show_default=True,
    help="stop: begin nothing if something can't go, and nothing more after a failure; skip: move "
    "the others; cold: stop, move and start what can't go with its memory.",
)
@click.option("--dry-run", is_flag=True, help="Ask all hosts and print the plan; touch nothing.")
@click.option(
    "--plan",
    "plan_file",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Carry out this plan, as --save-plan wrote it and you have edited it.",
)
@click.option(
    "--save-plan",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the plan to FILE and end; touch nothing.",
)
@click.option(
    "--return", "back", is_flag=True, help="Bring back what an evacuation of HOST has moved."
)
@click.option(
    "--report",
    "reports",
    metavar="FILE",
    multiple=True,
    callback=_report_files,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a report, by its ending as JSON, Markdown or HTML.",
)
@click.option(
    "--before",
    metavar="COMMAND",
    default="",
    help="Run before each move, with the move as JSON on its input; a failure keeps it here.",
)
@click.option(
    "--after",
    metavar="COMMAND",
    default="",
    help="Run after each move, with the outcome as JSON on its input.",
)
@click.option(
    "--stop-time",
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="How long a container may take to stop (mode cold).",
)
@click.option("--no-check", is_flag=True, help="Do not ask the hosts for each move beforehand.")
@click.option(
    "--store",
    metavar="URL",
    envvar="MIGRATE_STORE",
    default=None,
    help="Where operators tell each other what they work on: etcd://HOST:PORT; files on this "
    "machine if not given.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line; the last: report.")
def evacuate(
    host: str, targets: tuple[str, ...], inventory: Path | None, selector: str, parallel: int,
    max_downtime: int | None, bandwidth: int | None, deadline: float | None, on_failure: str,
    dry_run: bool, plan_file: Path | None, save_plan: Path | None, back: bool,
    reports: tuple[Path, ...], before: str, after: str, stop_time: float | None, no_check: bool,
    store: str | None, as_json: bool,
) -> None:  # fmt: skip
    """Move all containers away from HOST, or with --return back to it.

    HOST and the targets are names of the inventory or addresses; '.' is this host. A plan is made
    and every move of it checked before anything is touched. Then HOST is cordoned: nothing new
    starts there until 'migrate host uncordon' or --return. Ctrl-C begins nothing new, rolls back
    what still runs here and lets the frozen ones finish. The same command goes on where an earlier
    one was cut off.
    """
    from migrate.api import fleet as api
    from migrate.cli.evacuateview import EvacuateView, JsonView
    from migrate.errors import UsageError
    from migrate.evacuate.planning.wish import Wish, parse_selector

    if back and (plan_file or save_plan or targets or selector):
        raise UsageError("--return knows by the journal what to bring back, and from where")
    if plan_file and save_plan:
        raise UsageError("--plan and --save-plan do not go together")
    wish = Wish(
        parallel=parallel, max_downtime=max_downtime / 1000 if max_downtime else None,
        deadline=deadline, selector=parse_selector(selector), on_failure=on_failure,  # type: ignore[arg-type]
        **({"rate": bandwidth * 125_000.0} if bandwidth else {}),
    )  # fmt: skip
    order = api.order(
        host, targets, wish, inventory=inventory, bandwidth=bandwidth, stop_time=stop_time,
        before=before, after=after, check=not no_check,
    )  # fmt: skip
    view = JsonView() if as_json else EvacuateView()
    with view:
        if back:
            report = _return(order, store, view, dry_run=dry_run)
        else:
            report = _evacuate(order, store, view, dry_run, plan_file, save_plan)
        if report is None:
            return
        view.report(report)
    _write_reports(report, reports)
    from migrate.evacuate.evacuation import raise_incomplete

    raise_incomplete(report)


def _evacuate(
    order: Order, store: str | None, view: EvacuateView, dry_run: bool, plan_file: Path | None,
    save_plan: Path | None,
) -> Report | None:  # fmt: skip
    from migrate.api import fleet as api
    from migrate.evacuate.evacuation import raise_staying
    from migrate.evacuate.planning import planfile
    from migrate.kernel.files import write_atomically

    edited = planfile.load(_text_of(plan_file)) if plan_file else None
    if not (dry_run or save_plan):
        return api.evacuate(order, edited=edited, store=store, view=view)
    plan, source = api.plan_evacuation(order, edited=edited, store=store, view=view)
    if save_plan:
        write_atomically(save_plan, planfile.dump(plan).encode())
        view.note(f"the plan is in {save_plan}")
    view.plan(plan)
    raise_staying(plan, source)
    return None


def _text_of(plan_file: Path) -> str:
    from migrate.evacuate.errors import PlanBad
    from migrate.evacuate.planning.planfile import SIZE_LIMIT

    try:
        with plan_file.open("rb") as file:
            return file.read(SIZE_LIMIT + 1).decode()  # `load` refuses what is larger
    except UnicodeDecodeError as error:
        raise PlanBad(f"{plan_file} is no plan", cause=str(error)) from error


def _return(order: Order, store: str | None, view: EvacuateView, *, dry_run: bool) -> Report | None:
    from migrate.api import fleet as api

    if not dry_run:
        return api.return_to(order, store=store, view=view)
    view.tasks(api.plan_return(order, store=store, view=view))
    return None


def _write_reports(report: Report, files: tuple[Path, ...]) -> None:
    import json

    from migrate.evacuate.execution.page import as_html
    from migrate.evacuate.execution.report import as_json, as_markdown
    from migrate.kernel.files import write_atomically

    for path in files:
        text = {
            ".json": lambda: json.dumps(as_json(report), indent=2) + "\n",
            ".md": lambda: as_markdown(report),
            ".html": lambda: as_html(report),
        }[path.suffix]()
        write_atomically(path.absolute(), text.encode())
