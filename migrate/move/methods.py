"""The agent's methods: all that one host may ask of another. An allow-list, arguments by name."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, MutableMapping
from typing import Any

import msgspec

from migrate.checkpoint.state import decode
from migrate.kernel.tap import FRAME_LIMIT
from migrate.move import facts, journal, policy, receiving, steps, survey, telling, todo
from migrate.move.errors import MoveUnknown
from migrate.move.journal import Entry
from migrate.move.loadahead import AT_TARGET, load_ahead
from migrate.move.modes import MODES
from migrate.move.preflight import target
from migrate.move.receiving import Receiving
from migrate.runtime import cordon
from migrate.runtime.networks import definition
from migrate.runtime.paths import Paths
from migrate.transfer.agent import Context, Method
from migrate.transfer.errors import ArgumentsInvalid

CAPABILITIES = ("move-1",)
MOST_TOLD = 100  # pages that differ
_LOADED = "loaded"
"""In a session: waits until what a move needs is loaded."""
Session = MutableMapping[str, Any]


def methods(paths: Paths, sender: str = "") -> dict[str, Method]:
    """The methods, bound to this host's directories, and to a sender by its name in the policy."""
    work: dict[str, Method] = {
        "host.facts": lambda context: msgspec.to_builtins(facts.gather(paths)),
        "host.survey": lambda context: survey.survey(paths),
        "host.cordon": _cordon(paths),
        "host.uncordon": lambda context: cordon.uncordon(paths),
        "move.check": _check(paths, sender),
        "move.prepare": _prepare(paths, sender),
        "move.add_layer": _add_layer,
        "move.place": _place,
        "move.unpack_ahead": _unpack_ahead,
        "move.images_in_memory": _images_in_memory,
        "move.stand_in": _stand_in,
        "move.restore": _restore,
        "move.verify": _verify,
        "move.commit": _commit(paths),
        "move.settle": _settle(paths),
        "move.owed": _owed(paths),
        "move.forget": _forget(paths),
        "network.learn": _learn(paths),
        "network.located": _located(paths),
    }
    return {name: steps.timed(name, method) for name, method in work.items()} | {
        "host.clock": lambda context: time.monotonic(),
        "host.steps": steps.told,
    }


def on_close(session: Session) -> Callable[[], None]:
    """What the agent does when its connection ends: an uncommitted move is wiped."""

    def close() -> None:
        for current in list(session.values()):
            if isinstance(current, Receiving):
                current.close()

    return close


def _cordon(paths: Paths) -> Method:
    def set_cordon(context: Context, why: str = "", by: str = "") -> dict[str, Any]:
        made: dict[str, Any] = msgspec.to_builtins(cordon.cordon(paths, by=by, why=why))
        return made

    return set_cordon


def _check(paths: Paths, by: str) -> Method:
    def check(
        context: Context, state: bytes, cpu: bytes = b"", mode: str = ""
    ) -> dict[str, Any]:  # fmt: skip
        if _LOADED not in context.session:
            context.session[_LOADED] = load_ahead(AT_TARGET)
        described = decode(state)
        verdicts = target.verdicts_here(paths, described, cpu, sender=by, mode=mode)
        return {
            "obstacles": [error.to_wire() for v in verdicts for error in v.obstacles],
            "verdicts": target.to_wire(verdicts),
            "missing": facts.missing_layers(paths, described.record),
        }

    return check


def _prepare(paths: Paths, by: str) -> Method:
    def prepare(
        context: Context, move: str, generation: int, mode: str, was_running: bool, sender: str,
        state: bytes,
    ) -> None:  # fmt: skip
        described = decode(state)
        if not re.fullmatch("[0-9a-f]{32}", move) or mode not in MODES or generation < 1:
            raise ArgumentsInvalid("the move is not described well")
        cordon.refuse_if_cordoned(paths, f"take '{described.record.name}'", "the target")
        permission = policy.permission(by)
        permission.refuse(mode, described)
        entry = Entry(
            move=move, role="target", state="", container=described.record.identifier,
            name=described.record.name, generation=generation, mode=mode, peer_id=sender[:64],
            was_running=was_running,
        )  # fmt: skip
        context.session["move"] = Receiving(paths, entry, described, permission)

    return prepare


def _current(context: Context) -> Receiving:
    current = context.session.get("move")
    if not isinstance(current, Receiving):
        raise MoveUnknown("no move has been prepared on this connection")
    return current


def _add_layer(context: Context, diff_id: str) -> None:
    _current(context).add_layer(diff_id)


def _place(context: Context) -> dict[str, str]:
    current = _current(context)
    context.session.get(_LOADED, lambda: None)()
    current.prepare_place()
    network = current.record.network
    return {"address": network.address, "address6": network.address6}


def _unpack_ahead(context: Context) -> None:
    _current(context).unpack_ahead()


def _images_in_memory(context: Context) -> None:
    _current(context).take_images_in_memory()


def _restore(context: Context) -> dict[str, float]:
    return _current(context).restore()


def _verify(context: Context) -> dict[str, Any]:
    pages, wrong = _current(context).verify()
    return {"pages": pages, "differ": len(wrong), "wrong": wrong[:MOST_TOLD]}


def _commit(paths: Paths) -> Method:
    def commit(context: Context, frames: list[bytes] | None = None) -> dict[str, float]:
        return _current(context).commit(_checked_frames(frames or []))

    return commit


def _checked_frames(frames: object) -> list[bytes]:
    """Ethernet frames as a stand-in reads them; raises ArgumentsInvalid."""
    if not isinstance(frames, list) or not all(
        isinstance(frame, bytes) and 14 <= len(frame) <= FRAME_LIMIT for frame in frames
    ):
        raise ArgumentsInvalid("the frames are no Ethernet frames")
    return frames


def _stand_in(context: Context) -> list[str]:
    return list(_current(context).take_over_address())


def _learn(paths: Paths) -> Method:
    def learn(context: Context, network: str, news: bytes) -> None:
        telling.learn(paths, network, telling.decode_news(news))

    return learn


def _located(paths: Paths) -> Method:
    def located(context: Context, network: str, container: str = "") -> bytes:
        here = telling.located_here(paths, definition.find(paths, network))
        return msgspec.msgpack.encode([at for at in here if container in {"", at.container}])

    return located


def _settle(paths: Paths) -> Method:
    def settle(context: Context, move: str) -> str | None:
        current = context.session.get("move")
        if isinstance(current, Receiving) and current.entry.move == move:
            current.close()
            context.session.pop("move")
        state = receiving.settle(paths, move)
        return str(state) if state else None

    return settle


def _owed(paths: Paths) -> Method:
    def owed(context: Context, move: str) -> list[tuple[int, bytes]]:
        entry = journal.read(paths, move, "target")
        return todo.encode(receiving.owed(paths, entry)) if entry else []

    return owed


def _forget(paths: Paths) -> Method:
    def forget(context: Context, move: str) -> None:
        current = context.session.get("move")
        if isinstance(current, Receiving) and current.entry.move == move:
            current.close()
            context.session.pop("move")
        receiving.forget(paths, move)

    return forget
