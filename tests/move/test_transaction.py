"""The transaction's rules, attacked: every interleaving of crashes and lost messages."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from migrate.move.transaction import (
    Source,
    Step,
    Target,
    accepts_commit,
    may_follow,
    source_alone,
    source_told,
    target_alone,
)  # fmt: skip


class TwoHosts(RuleBasedStateMachine):
    """A source, a target, and a network that loses, delays and repeats messages.

    `source_runs` and `target_runs` say whether a copy executes; the journals are what survives a
    crash of the command or the agent. `lacking`: the target's copy needs pages that only the
    source's frozen copy has.
    """

    def __init__(self) -> None:
        super().__init__()
        self.source: Source | None = Source.PREPARING
        self.target: Target | None = None
        self.source_runs, self.source_exists = True, True
        self.target_runs, self.target_exists = False, False
        self.commits_in_flight = 0
        self.lacking = False

    def _write_source(self, state: Source) -> None:
        assert self.source == state or may_follow(self.source, state)
        self.source = state

    def _write_target(self, state: Target) -> None:
        assert self.target == state or may_follow(self.target, state)
        self.target = state

    @precondition(lambda self: self.target is None and self.source is Source.PREPARING)
    @rule()
    def prepare(self) -> None:
        self._write_target(Target.PREPARING)

    @precondition(lambda self: self.source is Source.PREPARING)
    @rule()
    def freeze(self) -> None:
        self._write_source(Source.FROZEN)
        self.source_runs = False

    @precondition(lambda self: self.source is Source.FROZEN and self.target is Target.PREPARING)
    @rule(late=st.booleans())
    def restore(self, late: bool) -> None:
        self.target_exists = True
        self.lacking = late
        self._write_target(Target.RESTORED)

    @precondition(lambda self: self.source is Source.FROZEN and self.target is Target.RESTORED)
    @rule()
    def send_commit(self) -> None:
        self._write_source(Source.COMMITTING)
        self.commits_in_flight += 1

    @precondition(lambda self: self.commits_in_flight > 0)
    @rule()
    def commit_arrives(self) -> None:
        self.commits_in_flight -= 1
        if accepts_commit(self.target) and self.target is Target.RESTORED:
            self._write_target(Target.COMMITTED)

    @precondition(lambda self: 0 < self.commits_in_flight < 3)
    @rule()
    def commit_is_repeated(self) -> None:
        self.commits_in_flight += 1

    @precondition(lambda self: self.target is Target.COMMITTED)
    @rule()
    def target_finishes(self) -> None:
        self.target_runs = True
        if not self.lacking:
            self._write_target(Target.DONE)

    @precondition(lambda self: self.source is Source.SERVING)
    @rule()
    def pages_arrive(self) -> None:
        """From this command or another one; until then the source is asked again and again."""
        assert self.source_exists
        self.lacking = False

    @precondition(lambda self: self.target is not None)
    @rule()
    def target_settles_itself(self) -> None:
        """The agent's connection ended, or `recover` runs at the target."""
        assert self.target is not None
        step = target_alone(self.target)
        if step is Step.ROLL_BACK:
            self._write_target(Target.ABORTED)
            self.target_exists = self.target_runs = False
        elif step is Step.FORWARD:
            self.target_finishes()

    @precondition(lambda self: self.source is not None and self.source_exists)
    @rule()
    def source_recovers_alone(self) -> None:
        assert self.source is not None
        self._apply(source_alone(self.source))

    @precondition(lambda self: self.source is not None and self.source_exists)
    @rule()
    def source_recovers_by_asking(self) -> None:
        """The target settles itself before it answers."""
        assert self.source is not None
        if self.target is not None:
            self.target_settles_itself()
        self._apply(source_told(self.source, self.target))

    @precondition(lambda self: self.source is Source.COMMITTING)
    @rule()
    def answer_arrives(self) -> None:
        if self.target in {Target.COMMITTED, Target.DONE}:
            self._apply(source_told(Source.COMMITTING, self.target))

    def _apply(self, step: Step) -> None:
        if step is Step.ROLL_BACK:
            self._write_source(Source.ABORTED)
            self.source_runs = True
        elif step is Step.FORWARD:
            self._write_source(Source.COMMITTED)
            self.source_runs = self.source_exists = False
        elif step is Step.SERVE:
            self._write_source(Source.SERVING)

    @invariant()
    def never_two(self) -> None:
        assert not (self.source_runs and self.target_runs)

    @invariant()
    def never_none_for_good(self) -> None:
        """There is always a whole copy: at the source, or committed at the target."""
        committed = self.target in {Target.COMMITTED, Target.DONE} and self.target_exists
        assert self.source_exists or (committed and not self.lacking)

    @invariant()
    def a_source_that_serves_never_runs_again(self) -> None:
        assert self.source is not Source.SERVING or not self.source_runs

    @invariant()
    def settling_ends_it(self) -> None:
        """From any state, both sides settling once leaves exactly one running."""
        source, target = self.source, self.target
        assert source is not None
        target_runs = self.target_runs
        if target is not None:
            step = target_alone(target)
            target = Target.ABORTED if step is Step.ROLL_BACK else target
            target_runs = target in {Target.COMMITTED, Target.DONE}
        step = source_told(source, target)
        source_runs = step is Step.ROLL_BACK and self.source_exists
        assert source_runs != target_runs


TwoHosts.TestCase.settings = settings(max_examples=400, stateful_step_count=30, deadline=None)
TestTwoHosts = TwoHosts.TestCase


@pytest.mark.parametrize("state", list(Target))
def test_an_aborted_target_refuses_commit(state: Target) -> None:
    assert accepts_commit(state) == (state in {Target.RESTORED, Target.COMMITTED, Target.DONE})


def test_doubt_keeps_the_source_frozen() -> None:
    assert source_alone(Source.COMMITTING) is Step.ASK
    assert source_told(Source.COMMITTING, Target.RESTORED) is Step.ASK
    assert source_told(Source.COMMITTING, None) is Step.ROLL_BACK
    for lost in (None, Target.ABORTED, Target.RESTORED):
        assert source_told(Source.SERVING, lost) is Step.ASK


def test_a_settled_entry_is_never_rewritten() -> None:
    for settled in (Source.COMMITTED, Source.ABORTED):
        assert not any(may_follow(settled, state) for state in Source)
    for done in (Target.DONE, Target.ABORTED):
        assert not any(may_follow(done, state) for state in Target)
