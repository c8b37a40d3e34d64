# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The recovery server's settings: the cluster's own, but nothing that acts outwards."""

from __future__ import annotations

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._errors import WalgError
from ansible_collections.mapswipe.walg.plugins.module_utils._postgres._pg_files import Setting
from ansible_collections.mapswipe.walg.plugins.module_utils._restore import _recovery_settings
from ansible_collections.mapswipe.walg.plugins.module_utils._restore._own_settings import Own

PLACE = _recovery_settings.ServerPlace("5432", "/tmp/private", "/pg/data.restore-x")
MAJORS = range(10, 20)


def own(**settings: str) -> Own:
    return Own({name: Setting(name, value, "/etc/postgresql.conf", 1) for name, value in settings.items()}, {})


def overrides(
    major: int = 14, limits: dict[str, int] | None = None, left: int | None = None, **settings: str
) -> dict[str, str]:
    return _recovery_settings.overrides(major, PLACE, own(**settings), limits, left)


@pytest.mark.parametrize("major", MAJORS)
@pytest.mark.parametrize("limits", [None, {"max_connections": 300}])
def test_it_is_out_of_everybodys_way(major: int, limits: dict[str, int] | None) -> None:
    """No TCP, a private socket, and an archive_command that fails: the new timeline is the real server's to push."""
    made = overrides(major, limits)
    assert made["listen_addresses"] == ""
    assert made["unix_socket_directories"] == "/tmp/private"
    assert (made["archive_mode"], made["archive_command"]) == ("on", "exit 255")
    assert (made["hot_standby"], made["max_connections"]) == (("on", "300") if limits else ("off", "100"))
    assert {made[name] for name in ("config_file", "hba_file", "ident_file")} == {
        "/tmp/private/postgresql.conf",
        "/tmp/private/pg_hba.conf",
        "/tmp/private/pg_ident.conf",
    }
    assert made["max_logical_replication_workers"] == "0"
    assert ("archive_library" in made) is (major >= 15)
    assert ("event_triggers" in made) is (major >= 17)
    assert ("io_method" in made) is (major >= 18)
    assert ("promote_trigger_file" in made) is (12 <= major <= 15)
    assert made.get("stats_temp_directory") == ("pg_stat_tmp" if major <= 14 else None)  # Debian's is production's


def test_what_recovery_depends_on_stays_and_the_rest_is_left_out() -> None:
    kept = _recovery_settings.kept(
        own(
            track_commit_timestamp="on",
            max_replication_slots="40",
            wal_level="logical",
            archive_command="curl https://user:secret@x",
            restore_command="x",
            recovery_target_time="2020-01-01",
            primary_conninfo="password=x",
            ssl_key_file="/k",
            ssl_passphrase_command="x",
            log_directory="/var/log",
            data_directory="/production",
            listen_addresses="*",
            shared_preload_libraries="pg_cron",
            **{"myapp.region": "north", "cron.database_name": "x"},
        )
    )
    assert kept == {
        "track_commit_timestamp": "on",
        "max_replication_slots": "40",
        "wal_level": "logical",
        "myapp.region": "north",
        "cron.database_name": "x",
    }


def test_limits_are_the_higher_ones() -> None:
    """WAL may raise a limit on the way to what the cluster has now; below its control data no standby can be read."""
    made = overrides(limits={"max_connections": 100, "max_wal_senders": 10}, max_connections="400", max_wal_senders="5")
    assert (made["max_connections"], made["max_wal_senders"]) == ("400", "10")
    unreadable = overrides(max_connections="100000", max_wal_senders="500", superuser_reserved_connections="20")
    assert [unreadable[name] for name in ("max_connections", "max_wal_senders", "superuser_reserved_connections")] == [
        "100",
        "10",
        "3",
    ]
    assert overrides(16)["reserved_connections"] == "0"


def test_minimal_wal_can_not_be_archived() -> None:
    assert overrides(wal_level="minimal")["wal_level"] == "replica"
    assert "wal_level" not in overrides(wal_level="logical")


@pytest.mark.parametrize(
    ("value", "left", "expected"),
    [
        ("8GB", 4 * 1024**3, f"{1024**2}kB"),
        ("8GB", None, None),
        ("8GB", 64 * 1024**3, None),
        ("1048576", 4 * 1024**3, f"{1024**2}kB"),
        ("64MB", 4 * 1024**3, None),
        ("8GB", 0, "16384kB"),
        ("odd", 1024**3, None),
    ],
)
def test_memory_is_left_to_others(value: str, left: int | None, expected: str | None) -> None:
    made = overrides(left=left, shared_buffers=value)
    assert made.get("shared_buffers") == expected
    assert made["huge_pages"] == "off"


@pytest.mark.parametrize(
    ("mib", "own_size", "least"),
    [
        (1, "80MB", {}),
        (32, "80MB", {}),
        (64, "80MB", {"min_wal_size": "128MB"}),
        (64, "1GB", {}),
        (64, "100", {"min_wal_size": "128MB"}),
        (1024, "2GB", {"max_wal_size": "2048MB"}),
    ],
)
def test_a_server_with_large_segments_starts(mib: int, own_size: str, least: dict[str, str]) -> None:
    """Both have to be two segments at least, or PostgreSQL refuses to start."""
    place = _recovery_settings.ServerPlace("5432", "/tmp/private", "/pg/data", mib << 20)
    made = _recovery_settings.overrides(14, place, own(min_wal_size=own_size), None, None)
    assert {name: made[name] for name in ("min_wal_size", "max_wal_size") if name in made} == least


@pytest.mark.parametrize(
    ("text", "listed", "kept", "acting"),
    [
        ("", [], [], []),
        ("pg_stat_statements", ["pg_stat_statements"], ['"pg_stat_statements"'], []),
        (
            'pg_cron, "/opt/a, b/x.so" ,$libdir/pglogical',
            ["pg_cron", "/opt/a, b/x.so", "$libdir/pglogical"],
            ['"/opt/a, b/x.so"'],
            ["pg_cron", "$libdir/pglogical"],
        ),
        (
            "/usr/lib/pg_net.so,auto_explain",
            ["/usr/lib/pg_net.so", "auto_explain"],
            ['"auto_explain"'],
            ["/usr/lib/pg_net.so"],
        ),
    ],
)
def test_libraries(text: str, listed: list[str], kept: list[str], acting: list[str]) -> None:
    assert _recovery_settings.libraries(text) == listed
    assert _recovery_settings.kept_libraries(text) == kept
    assert _recovery_settings.schedulers(text) == acting


def test_settings_of_a_request() -> None:
    given = {"Shared_Preload_Libraries": "", "max_replication_slots": 40, "jit": False, "password_encryption": "md5"}
    assert _recovery_settings.wished(given) == {
        "shared_preload_libraries": "",
        "max_replication_slots": "40",
        "jit": "off",
        "password_encryption": "md5",
    }


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("recovery_target_time", "x", "a restore writes the settings of its recovery itself"),
        ("restore_command", "x", "a restore writes the settings of its recovery itself"),
        ("archive_mode", "off", "decide on archiving"),
        ("data_directory", "/x", "walg_pg_data_dir"),
        ("port", 1, "walg_pg_port"),
        ("ssl_passphrase_command", "x", "secret"),
        ("myapp.api_token", "x", "secret"),
        ("myapp.dsn2", "postgres://u:p@h", "secret"),
        ("include_dir", "x", "it is no setting"),
        ("no name", "x", "is not the name of a PostgreSQL setting"),
        ("work_mem", "1\n2", "control character"),
    ],
)
def test_what_a_request_may_not_set(name: str, value: object, why: str) -> None:
    with pytest.raises(WalgError, match=why) as caught:
        _recovery_settings.wished({name: value})
    assert "postgres://" not in caught.value.msg
