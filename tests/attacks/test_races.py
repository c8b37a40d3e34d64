# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A partner exchanges what root looks at, between any two steps of it: the source of a binary, directories, links."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path

from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _files, _trust
from ansible_collections.mapswipe.walg.plugins.module_utils._host._process import Runner
from ansible_collections.mapswipe.walg.plugins.module_utils._host._users import User
from ansible_collections.mapswipe.walg.plugins.module_utils._install import _binary, _workshop
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _journal, _layout
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._hands import Hands
from support.attackers import Tally, own, partner
from support.victims import exchange as swap

#: Of each race; `make test-soak WHAT=attacks` sets it.
TRIES = int(os.environ.get("ATTACKS") or 300)
GOOD = "#!/bin/sh\nprintf 'wal-g version v3.0.8\\tx\\ty\\tPostgreSQL\\n'\n"


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


def exchange(source: Path, ones: list[Path]) -> None:
    """Put each of these in the source's place in turn, as hard links to it."""
    for number, one in enumerate(ones):
        step = source.with_name(f"step{number}")
        os.link(one, step)
        os.rename(step, source)


def test_what_was_hashed_is_what_runs(ground: Path, attacker: str, tally: Tally) -> None:
    """The attacker owns the directory of walg_binary_src; an own program must neither run nor be installed."""
    theirs, told = own(ground / "theirs", attacker), ground / "told"
    told.mkdir()
    told.chmod(0o1777)
    evil = f"#!/bin/sh\nid -u >> {told}/$$\n" + GOOD.partition("\n")[2]
    ones = [program(theirs / "good", GOOD), program(theirs / "evil", evil)]
    for one in ones:  # a link to a file of another user's may be forbidden (fs.protected_hardlinks)
        os.chown(one, theirs.stat().st_uid, -1)
    source, path = theirs / "wal-g", ground / "bin" / "wal-g"
    os.link(ones[0], source)
    wanted = hashlib.sha256(GOOD.encode()).hexdigest()
    with partner(attacker, lambda: exchange(source, ones)):
        for _turn in range(TRIES):
            with contextlib.suppress(WalgError), _workshop.opened(Runner(), _workshop.starter(None), str(path)) as shop:
                made = _binary.plan(shop, str(source), f"sha256:{wanted}", str(path), "3.0.8")
                _binary.apply(made)
            installed = path.read_text() if path.exists() else GOOD
            tally.count(installed != GOOD or bool(os.listdir(told)))
            path.unlink(missing_ok=True)


def victim(ground: Path) -> Path:
    made = ground / "victim"
    made.mkdir(mode=0o700)
    return made


def harmed(place: Path) -> bool:
    """Say whether root gave its directory away, opened it, or put something into it."""
    there = place.lstat()
    return (there.st_uid, stat.S_IMODE(there.st_mode)) != (0, 0o700) or bool(os.listdir(place))


def swing(place: Path, target: Path) -> None:
    """Have a directory and a link to somewhere else in one place, in turn."""
    with contextlib.suppress(OSError):
        os.unlink(place)
    os.mkdir(place)
    os.rmdir(place)
    os.symlink(target, place)


ACTS = [
    lambda place, uid: _files.FilePlan(f"{place}", None, 0o755, uid, uid).apply(),
    lambda place, uid: _files.FilePlan(f"{place}/x", None, 0o755, uid, uid).apply(),
    lambda place, uid: _files.write_atomic(f"{place}/x", "text", 0o644, uid, uid),
    lambda place, _uid: os.close(_trust.open_directory(f"{place}/x/y", make=True)),
]


def test_no_directory_of_roots_is_given_away(ground: Path, attacker: str, tally: Tally) -> None:
    """In a directory of the attacker's, and in one such as /tmp."""
    target = victim(ground)
    for name, mode in (("theirs", 0o755), ("shared", 0o1777)):
        around = own(ground / name, attacker, mode)
        uid = around.stat().st_uid
        if name == "shared":
            os.chown(around, 0, 0)
        place = around / "place"

        def act(place: Path = place) -> None:
            swing(place, target)

        with partner(attacker, act):
            for turn in range(TRIES):
                with contextlib.suppress(WalgError, OSError):
                    ACTS[turn % len(ACTS)](place, uid)
                tally.count(harmed(target))


def test_a_link_on_the_way_is_never_followed_out_of_roots(ground: Path, attacker: str, tally: Tally) -> None:
    """What was judged is what is used: a way through a directory of the attacker's is refused in whatever state it is met."""
    target, around = victim(ground), own(ground / "theirs", attacker)
    place = around / "place"
    with partner(attacker, lambda: swing(place, target)):
        for _turn in range(TRIES):
            try:
                os.close(_trust.open_directory(f"{place}", make=True))
                won = True
            except (WalgError, OSError):
                won = harmed(target)
            tally.count(won)


def test_a_file_that_becomes_a_pipe_is_never_waited_for(ground: Path, attacker: str, tally: Tally) -> None:
    """A text and a FIFO in one place, in turn: each look ends, and shows the text or says what is there."""
    around = own(ground / "theirs", attacker)
    place = around / "it"
    os.mkfifo(around / "fifo")
    (around / "text").write_text("text")
    for name in ("fifo", "text"):
        os.chown(around / name, around.stat().st_uid, -1)
    os.link(around / "text", place)
    with partner(attacker, lambda: exchange(place, [around / "fifo", around / "text"])):
        for _turn in range(TRIES):
            try:
                won = _files.read_text(str(place)) != "text"
            except WalgError as exc:
                won = "is a FIFO, not a regular file" not in exc.msg
            tally.count(won)


def turned(hands: Hands, place: Path) -> None:
    """Go through a journal as the swap does."""
    uid = hands.owner.uid
    steps = [
        _journal.Step("make", f"{uid}:{uid}", f"{place}/made"),
        _journal.Step("out", f"{place}/one", f"{place}/other"),
        _journal.Step("lead", "/nowhere", f"{place}/link"),
    ]
    for way in (_journal.run, _journal.back):
        with contextlib.suppress(WalgError, OSError):
            way(steps, hands.call, uid)


def cleared(hands: Hands, place: Path) -> None:
    """By the path as it was planned: what it leads to by now is not asked again."""
    beside = f"{place}/one.restore-r1", f"{place}/one.before-r1"
    hands.clear(_layout.Location(f"{place}/one", "", False, *beside), "")
    hands.clear(_layout.Location(f"{place}/one", "pg_tblspc/1", False, *beside), "PG_14_202107181")


#: What a restore has root do below a place that the partner exchanges.
HANDS = [
    lambda hands, place: hands.make(f"{place}/made"),
    lambda hands, place: hands.make_new(f"{place}/made/deep"),
    lambda hands, place: hands.rename(f"{place}/one", f"{place}/other"),
    lambda hands, place: hands.remove(f"{place}/one"),
    lambda hands, place: hands.remove_empty(f"{place}/bare"),
    lambda hands, place: hands.remove(f"{place}"),
    lambda hands, place: hands.rename(f"{place}", f"{place}.before-r1"),
    turned,
    cleared,
]


def test_a_restore_moves_nothing_of_roots(ground: Path, attacker: str, tally: Tally) -> None:
    """A directory of the attacker's and a link to root's, with all that the attacker hopes for in it, are exchanged without a pause."""
    owner = User.by_name(attacker)
    for kind, mode in (("closed", 0o700), ("open", 0o755)):
        target = ground / kind
        target.mkdir(mode=mode)
        for name in ("one", "bare"):
            own(target / name, attacker)
        around = own(ground / f"{kind}-theirs", attacker)
        place, link = around / "place", around / "link"
        link.symlink_to(target)
        was = sorted(os.listdir(target))  # (what is in its own directories there, the attacker could change anyhow)

        def act(around: Path = around, place: Path = place, link: Path = link, target: Path = target) -> None:
            if not os.path.lexists(place):
                place.mkdir()
            if not os.path.lexists(link):
                link.symlink_to(target)
            swap(place, link)
            own_entries(around)

        place.mkdir()
        os.chown(place, owner.uid, owner.gid)
        with partner(attacker, act):
            for turn in range(TRIES):
                with contextlib.suppress(WalgError, OSError):
                    HANDS[turn % len(HANDS)](Hands(owner), place)
                there = target.lstat()
                lost = sorted(os.listdir(target)) != was
                tally.count(lost or (there.st_uid, stat.S_IMODE(there.st_mode)) != (0, mode))


def own_entries(around: Path) -> None:
    """Have what root would rename, in whichever of the two is the directory."""
    for name in ("place/one", "link/one"):
        with contextlib.suppress(OSError):
            (around / name).mkdir()
