# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of made-up instances, shaped as _report._facts gathers them: for the page, the metrics and the verdict."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
SEGMENT = 16 * 1024 * 1024
IDENTIFIER = "7310203040506070809"


def stamp(when: datetime) -> str:
    return when.isoformat(timespec="seconds").replace("+00:00", "Z")


def ago(now: datetime = NOW, **span: float) -> str:
    return stamp(now - timedelta(**span))


def lsn(segments: int) -> dict[str, Any]:
    value = segments * SEGMENT
    return {"lsn": f"{value >> 32:X}/{value & 0xFFFFFFFF:X}", "lsn_int": value}


def segment(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{number // 256:08X}{number % 256:08X}"


def backup(number: int, days: float, now: datetime = NOW, **more: Any) -> dict[str, Any]:
    """One base backup, so many days old; each seventh is full, the others are deltas on the one before."""
    delta, begins = number % 7 != 0, 100 + number * 40
    base, name = segment(begins - 40), segment(begins)
    growth = 1 + number / 60
    compressed = int((3.1e8 if delta else 9.4e9) * growth * (1 + (number * 37 % 11) / 40))
    return {
        "name": f"base_{name}_D_{base}" if delta else f"base_{name}",
        "start_time": ago(now, days=days, minutes=9 + number % 5),
        "finish_time": ago(now, days=days),
        "age": days * 86400,
        "timeline": 1,
        "start_lsn": lsn(begins)["lsn"],
        "start_lsn_int": lsn(begins)["lsn_int"],
        "finish_lsn": lsn(begins + 1)["lsn"],
        "finish_lsn_int": lsn(begins + 1)["lsn_int"],
        "system_identifier": IDENTIFIER,
        "foreign": False,
        "pg_version": 160003,
        "hostname": "db1",
        "data_dir": "/var/lib/postgresql/16/main",
        "uncompressed_size": compressed * 3,
        "compressed_size": compressed,
        "permanent": number == 0,
        "delta": delta,
        "delta_base": f"base_{base}" if delta else None,
        "user_data": {},
        "restorable": True,
        "reason": None,
        **more,
    }


def window(
    first: dict[str, Any], last: float, backups: list[dict[str, Any]], now: datetime = NOW, **more: Any
) -> dict[str, Any]:
    end = {
        "timeline": 1,
        **lsn(100 + int(40 * (1000 - last))),
        "lsn_known": False,
        "time": ago(now, days=last),
        "time_known": False,
    }
    begin = {
        "timeline": 1,
        "lsn": first["finish_lsn"],
        "lsn_int": first["finish_lsn_int"],
        "lsn_known": True,
        "time": first["finish_time"],
        "time_known": True,
    }
    return {
        "system_identifier": IDENTIFIER,
        "timeline": 1,
        "first": begin,
        "last": end,
        "backups": [one["name"] for one in backups],
        "missing": None,
        **more,
    }


def archive(many: int, now: datetime = NOW, *, hole: bool = False) -> dict[str, Any]:
    """An archive with a base backup each day, and where ``hole`` is set with one hole in the middle."""
    listed = [backup(number, many - number - 0.6, now) for number in range(many)]
    windows, gaps = [], []
    if hole and many > 4:
        cut = many // 2
        lost = segment(100 + cut * 40 - 20)
        before = many - cut + 0.1
        windows = [
            window(listed[0], before, listed[:cut], now, missing=lost),
            window(listed[cut], 0.001, listed[cut:], now),
        ]
        gaps = [{"first": lost, "last": segment(100 + cut * 40 - 14), "segments": 7}]
    elif listed:
        windows = [window(listed[0], 0.001, listed, now)]
    fulls = [number for number in range(many) if number % 7 == 0]
    return {
        "owner": None,
        "owner_problem": None,
        "system_identifiers": [IDENTIFIER] if listed else [],
        "foreign": [],
        "backups": listed,
        "chains": [
            {
                "full": listed[number]["name"],
                "deltas": [one["name"] for one in listed[number + 1 : number + 7]],
                "system_identifier": IDENTIFIER,
                "uncompressed_size": sum(one["uncompressed_size"] for one in listed[number : number + 7]),
                "compressed_size": sum(one["compressed_size"] for one in listed[number : number + 7]),
            }
            for number in fulls
        ],
        "timelines": [
            {
                "timeline": 1,
                "parent": None,
                "switch_lsn": None,
                "switch_lsn_int": None,
                "first_segment": segment(100),
                "last_segment": segment(100 + many * 40),
                "last_uploaded": ago(now, days=0.001),
                "orphan": False,
                "gaps": gaps,
            }
        ],
        "trunk": {"timeline": 1, "candidates": [1], "reason": "it is the only one"},
        "windows": windows,
        "last_commits": [],
        "ages": {"backup": 0.4 * 86400, "wal": 86.4},
        "segment_size": SEGMENT,
    }


def health(now: datetime = NOW, **more: Any) -> dict[str, Any]:
    return {
        "asked": stamp(now),
        "server": "primary",
        "problem": None,
        "trouble": None,
        "archive_timeout": 60,
        "promise": 300.0,
        "last_archived": {"segment": segment(500), "time": ago(now, seconds=40)},
        "failing": False,
        "failed": None,
        "waiting": {"files": 0, "oldest": None, "first": None},
        "behind": 0.0,
        "wal": {"bytes": 83886080, "free": 61203283968, "rate": 25165.8, "hours_left": 675.6},
        "lsn": "0/1F000000",
        "lsn_int": 0x1F000000,
        "timeline": 1,
        "segment_size": SEGMENT,
        "system_identifier": IDENTIFIER,
        "heartbeat": {"time": stamp(now)},
        "lost": [],
        "dropped": [],
        **more,
    }


def run(
    verb: str, now: datetime = NOW, *, code: int = 0, text: str = "done", seconds: float = 3.0, **span: float
) -> dict[str, Any]:
    ended = now - timedelta(**span)
    return {
        "verb": verb,
        "started": stamp(ended - timedelta(seconds=seconds)),
        "ended": stamp(ended),
        "seconds": seconds,
        "code": code,
        "changed": verb in ("backup", "expire"),
        "text": text,
        "details": {},
    }


def facts(
    many: int = 30,
    now: datetime = NOW,
    *,
    host: str = "db1.example.com",
    instance: str = "main",
    hole: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """Facts of an instance that is well."""
    runs = [
        run(verb, now, days=day, hours=hour, seconds=seconds, text=text)
        for day in range(min(many, 20), -1, -1)
        for verb, hour, seconds, text in (
            ("backup", 14.4, 540 + day * 7, "base backup taken"),
            ("expire", 14.2, 4.0, "deleted 1 base backup, 130 segments (2204041728 bytes)"),
            ("verify", 13.0, 611.0, "no damage found. 400 objects read, 41% of this cycle."),
        )
    ]
    runs += [run("check", now, minutes=minute, seconds=0.4, text="all is well") for minute in (11, 6, 1)]
    return {
        "format": 1,
        "time": stamp(now),
        "host": host,
        "instance": instance,
        "storage": f"gs://example-walg-backups/{host.partition('.')[0]}",
        "system_identifier": IDENTIFIER,
        "data_dir": "/var/lib/postgresql/16/main",
        "pg_version": 160003,
        "health": health(now),
        "archive": archive(many, now, hole=hole),
        "archive_problem": None,
        "archive_time": stamp(now),
        "limits": {"backup_age": 216000, "archive_age": 300.0, "verify_days": 30, "check": 300},
        "schedule": {"hour": "2", "minute": "17", "weekday": "*"},
        "policy": {"days": 14, "backups": 0, "weekly": 0, "monthly": 0, "minimum_backups": 2, "minimum_days": 7},
        "verification": {
            "time": ago(now, hours=13),
            "last_cycle": {
                "started": ago(now, days=40),
                "ended": ago(now, days=10),
                "objects": 9000,
                "bytes": 91_000_000_000,
            },
            "last": {
                "text": "no damage found. 400 objects read, 41% of this cycle.",
                "sound": True,
                "damaged": [],
                "chain": {"gaps": [], "left": []},
                "reread": {
                    "objects": 400,
                    "bytes": 3_100_000_000,
                    "seconds": 611.0,
                    "done_share": 0.41,
                    "behind": 0.0,
                    "cycle_started": ago(now, days=10),
                },
            },
        },
        "retention": {
            "accepted": "d1",
            "shown": {},
            "journal": {},
            "last": {
                "time": ago(now, hours=14.2),
                "text": "deleted 1 base backup, 130 segments (2204041728 bytes)",
                "deleted": 140,
                "locked": [],
            },
        },
        "runs": {one["verb"]: one for one in runs},
        "history": runs,
        "progress": None,
        "proved": ago(now, days=10),
        "proved_by": "verification",
        "proved_to": None,
        "proved_target": None,
        "notes": {"backups": {}, "gaps": []},
        **more,
    }
