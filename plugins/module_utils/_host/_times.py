# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Times: what the clock says, and what a text says."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from .._errors import WalgError

_LARGEST_OFFSET = 15  # hours; PostgreSQL takes no more either


def moment(text: str) -> datetime:
    """Parse an RFC 3339 time with a zone, as Go writes it (0 to 9 fractional digits). Raises WalgError without a zone."""
    match = re.match(r"^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)\Z", text, re.ASCII)
    if not match:
        raise WalgError(f"Not a time with a zone: {text!r}; expected RFC 3339 such as 2026-01-31T04:05:06Z.")
    year, month, day, hour, minute, second = (int(number) for number in match.groups()[:6])
    fraction, zone = match.group(7), match.group(8)
    try:
        found = datetime(year, month, day, hour, minute, second, tzinfo=timezone.utc)
        return found + timedelta(seconds=float(fraction or 0)) - _offset(zone)
    except (ValueError, OverflowError) as exc:
        raise WalgError(f"Not a time: {text!r} ({exc}).") from None


def _offset(zone: str) -> timedelta:
    if zone == "Z":
        return timedelta()
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    if hours > _LARGEST_OFFSET or minutes > 59:
        raise ValueError(f"no zone is {zone} from UTC")
    found = timedelta(hours=hours, minutes=minutes)
    return -found if zone[0] == "-" else found


def now() -> str:
    """The present moment, RFC 3339 in UTC."""
    return text(datetime.now(timezone.utc))


def text(when: datetime) -> str:
    """Return a moment as RFC 3339 in UTC, to the second."""
    return when.astimezone(timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")


def of_seconds(seconds: float) -> str:
    """Return seconds since 1970 as RFC 3339 in UTC."""
    return text(datetime.fromtimestamp(seconds, timezone.utc))
