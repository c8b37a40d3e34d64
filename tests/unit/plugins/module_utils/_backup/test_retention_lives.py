# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever an archive lives through, retention leaves it whole: random lives against a model that goes segment by segment."""

from __future__ import annotations

from dataclasses import asdict

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._backup import _needed_wal, _retention
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._instance._job_spec import Retention
from hypothesis import given, settings
from hypothesis import strategies as st
from support.simulated_archive import Archive, Taken

Step = tuple[str, int, int]
STEPS = (
    "write",
    "lose",
    "full",
    "delta",
    "bad",
    "permanent",
    "promote",
    "restore",
    "hidden",
    "clock",
    "retain",
    "killed",
)
POLICIES = st.builds(
    Retention,
    days=st.integers(0, 15),
    backups=st.integers(0, 4),
    weekly=st.integers(0, 3),
    monthly=st.integers(0, 2),
    minimum_backups=st.integers(0, 3),
    minimum_days=st.integers(0, 12),
).filter(lambda policy: any(asdict(policy).values()))


def live(archive: Archive, step: Step) -> None:
    what, one, two = step
    archive.day += one % 5
    if what == "write":
        archive.write(1 + two % 4)
    elif what == "lose":
        archive.write(1 + two % 2, lost=True)
    elif what == "promote":
        archive.promote()
    elif what == "restore":
        archive.restore(one, two)
    elif what == "hidden":  # the history of the new timeline has not come
        archive.restore(one, two, known=False)
    elif what == "clock":
        archive.ahead = (two % 40) - 20
    elif what in ("full", "delta", "bad", "permanent"):
        archive.take(delta=what == "delta", segments=two % 2, corrupt=what == "bad", permanent=what == "permanent")


def restorable(archive: Archive) -> dict[str, dict[int, int]]:
    """How far each base backup leads, along each timeline."""
    found: dict[str, dict[int, int]] = {}
    for title, one in archive.taken.items():
        reached = {line: archive.reach(one, line) for line in archive.lines()}
        found[title] = {line: end for line, end in reached.items() if end is not None}
    return found


def opened(archive: Archive, policy: Retention) -> list[Taken]:
    """The base backups with which the promised window may begin: truly so old, and they lead along the server's line."""
    return [
        one
        for one in archive.taken.values()
        if archive.reach(one, archive.timeline) and one.day <= archive.day - policy.minimum_days
    ]


def retain(archive: Archive, policy: Retention, most: int) -> bool:
    """Retention, perhaps killed on its way; then the promises, from the truth. Says whether there was a plan."""
    before, old, there = restorable(archive), opened(archive, policy), dict(archive.taken)
    hidden = archive.timeline not in archive.known
    arrived = any(timeline == archive.timeline for timeline, _number in archive.wal)
    if not any(archive.timeline in ways for ways in before.values()) or hidden or not arrived:
        # Nothing leads to the server, or nobody but the model knows it: there may be no plan at all.
        try:
            plan = archive.plan(policy)
        except WalgError:
            return False
    else:
        plan = archive.plan(policy)
    archive.delete(plan, most)
    after = restorable(archive)
    for kept in plan.keep:
        if not kept.alone:
            assert after[kept.name] == before[kept.name], "a base backup that stays leads less far"
        elif before[kept.name]:
            assert after[kept.name], "a base backup that stays can't be restored"
    counting = {title for title, ways in before.items() if ways}
    young = {title for title in counting if there[title].day > archive.day - policy.days}
    assert young <= set(after)
    permanent = {title for title, one in there.items() if one.backup.permanent}
    assert permanent <= set(after)
    if hidden:
        return True
    here = [title for title in counting if archive.timeline in before[title]]
    if here:
        newest = max(here, key=lambda title: there[title].last)
        assert archive.timeline in after[newest], "the newest"
        assert len([title for title in here if title in after]) >= min(policy.minimum_backups, len(here))
    if old and policy.minimum_days:
        (end,) = {before[one.backup.name][archive.timeline] for one in old if one is max(old, key=lambda o: o.last)}
        left = [after[one.backup.name].get(archive.timeline) for one in old if one.backup.name in after]
        assert end in left, "the promised window"
    return True


@settings(max_examples=300)
@given(
    st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 50), st.integers(0, 50)), min_size=4, max_size=40),
    st.lists(POLICIES, min_size=1, max_size=4),
)
def test_any_life(steps: list[Step], policies: list[Retention]) -> None:
    archive = Archive()
    archive.write(2)
    for turn, step in enumerate(steps):
        if step[0] in ("retain", "killed"):
            archive.day += step[1] % 9
            retain(archive, policies[turn % len(policies)], step[2] if step[0] == "killed" else 10**9)
        live(archive, step)
    for policy in policies:
        if retain(archive, policy, 10**9):
            again = archive.plan(policy)
            stepped = any(
                what == "clock" for what, _one, _two in steps
            )  # then weeks and months may be counted otherwise
            assert stepped or (not again.drop and not again.wal), "a second run finds nothing"


def test_the_model_sees_rules_that_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """WAL that is deleted by number alone, as WAL-G does by its sentinels' times, does not pass."""
    archive = Archive()
    archive.write(9)
    for _turn in range(3):
        archive.day += 10
        archive.take(delta=False, segments=1, corrupt=False, permanent=False)
    policy = Retention(days=0, minimum_backups=2, minimum_days=0)

    def wrong(kept: object, alone: object, archive: object) -> _needed_wal.Needed:
        return _needed_wal.Needed({1: 10**6}, {}, frozenset())

    monkeypatch.setattr(_needed_wal, "needed", wrong)
    with pytest.raises(WalgError, match="would damage"):
        archive.plan(policy)
    monkeypatch.setattr(_retention, "_prove", lambda _plan: None)
    with pytest.raises(AssertionError, match="leads less far"):
        retain(archive, policy, 10**9)
