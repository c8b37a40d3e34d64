# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exit codes of walg-job, one table for all its verbs. They are an interface: docs/monitoring.md promises them."""

from __future__ import annotations

OK = 0
FAILED = 1  # what has no code of its own
USAGE = 2
REFUSED = 3  # a rule of safety does not allow it; nothing was changed
STORAGE = 4  # it did not answer, or forbade
WARNING = 5  # the archive can be restored, but something needs attention
NOT_RESTORABLE = 6  # the archive does not lead to the present
UNKNOWN = 7  # whether it does could not be found out
HOOK = 8  # the work is done, but nobody could be told
LOCKED = 75  # another run does the same

#: What each means, for the page and the usage.
MEANINGS = {
    OK: "done, or nothing to do; for status and check: restorable, and all is well",
    FAILED: "failed, for a reason without a code of its own",
    USAGE: "wrong usage",
    REFUSED: "rejected by a rule of safety; nothing was changed",
    STORAGE: "the storage did not answer, or did not allow it",
    WARNING: "restorable, but something needs attention",
    NOT_RESTORABLE: "the archive can't be restored to the present",
    UNKNOWN: "whether the archive can be restored could not be found out",
    HOOK: "the work is done, but a hook, a webhook or the ping failed",
    LOCKED: "another run of the same work is under way",
}
