"""The transaction of a move, as values: states, what may follow, and how doubt is settled.

Pure: no files, no network. Both sides keep a journal (migrate.move.journal) whose entry is made
durable *before* the step that it allows; this module says which entry may follow which, and what a
side must do when it finds an entry after a crash.

```
source: preparing -> frozen -> committing -> [serving ->] committed -> (removed)
                 \\-> aborted     \\-> aborted, only after the target has said that it is aborted
target: preparing -> restored -> committed -> done -> (removed when the source has finished)
                 \\-> aborted  \\-> aborted
```

The rules that keep one copy alive, and never two:
1. The source sends COMMIT only in `committing`; before that entry it may thaw by itself.
2. The target aborts by itself as long as it is not `committed`; an aborted move refuses COMMIT.
3. The target's copy stays frozen until `committed` is durable.
4. In `committing` the source stays frozen until the target has *answered*: committed, then the
   source's copy is destroyed; aborted (or never heard of), then it is thawed.
5. The target keeps its entry until the source has finished, so "never heard of" is no commit.
6. A target that runs and lacks pages (post-copy) stays `committed`, and says so when it has settled
   itself; in `serving` the source's copy never runs again, and is kept until the target is `done`.
"""

from __future__ import annotations

from enum import StrEnum


class Source(StrEnum):
    """The source's journal."""

    PREPARING = "preparing"
    FROZEN = "frozen"
    COMMITTING = "committing"
    SERVING = "serving"
    COMMITTED = "committed"
    ABORTED = "aborted"


class Target(StrEnum):
    """The target's journal."""

    PREPARING = "preparing"
    RESTORED = "restored"
    COMMITTED = "committed"
    DONE = "done"
    ABORTED = "aborted"


class Step(StrEnum):
    """What a side has to do to settle a move."""

    ROLL_BACK = "roll back"  # source: thaw; target: wipe
    FORWARD = "forward"  # source: destroy its copy; target: thaw and keep
    SERVE = "serve"  # source: send the pages that the target lacks, then ask again
    ASK = "ask"  # source: ask the target first, frozen until it answers
    NOTHING = "nothing"


_AFTER_SOURCE = {
    None: {Source.PREPARING},
    Source.PREPARING: {Source.FROZEN, Source.ABORTED},
    Source.FROZEN: {Source.COMMITTING, Source.ABORTED},
    Source.COMMITTING: {Source.SERVING, Source.COMMITTED, Source.ABORTED},
    Source.SERVING: {Source.COMMITTED},
    Source.COMMITTED: set(),
    Source.ABORTED: set(),
}
_AFTER_TARGET = {
    None: {Target.PREPARING},
    Target.PREPARING: {Target.RESTORED, Target.ABORTED},
    Target.RESTORED: {Target.COMMITTED, Target.ABORTED},
    Target.COMMITTED: {Target.DONE},
    Target.DONE: set(),
    Target.ABORTED: set(),
}


def may_follow(before: Source | Target | None, after: Source | Target) -> bool:
    """Whether the entry `after` may be written over `before`."""
    if isinstance(after, Source):
        assert before is None or isinstance(before, Source)
        return after in _AFTER_SOURCE[before]
    assert before is None or isinstance(before, Target)
    return after in _AFTER_TARGET[before]


def source_alone(state: Source) -> Step:
    """What the source may do without asking anybody."""
    if state in {Source.PREPARING, Source.FROZEN, Source.ABORTED}:
        return Step.ROLL_BACK
    return Step.FORWARD if state is Source.COMMITTED else Step.ASK


def source_told(state: Source, target: Target | None) -> Step:
    """What the source does when the target, after settling itself, has answered `target`.

    None: the target has never heard of the move. An answer that is not settled keeps it frozen.
    """
    alone = source_alone(state)
    if alone is not Step.ASK:
        return alone
    if target is Target.DONE:
        return Step.FORWARD
    if target is Target.COMMITTED:
        return Step.SERVE
    if target in {None, Target.ABORTED} and state is Source.COMMITTING:
        return Step.ROLL_BACK
    return Step.ASK


def target_alone(state: Target) -> Step:
    """What the target may do without asking anybody: it never needs to ask."""
    if state in {Target.PREPARING, Target.RESTORED, Target.ABORTED}:
        return Step.ROLL_BACK
    return Step.FORWARD if state is Target.COMMITTED else Step.NOTHING


def accepts_commit(state: Target | None) -> bool:
    """Whether a COMMIT is carried out (or, the second time, confirmed) in this state."""
    return state in {Target.RESTORED, Target.COMMITTED, Target.DONE}
