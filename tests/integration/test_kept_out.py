# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Standbys that let nobody in: by their settings, or by a login trigger that wants to write."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from locations import pg_majors
from support.majors import refusal, tools_for
from support.restoring import archived, backup, done, refused
from support.sandbox import Sandbox

WITH_LOGIN_TRIGGERS = [major for major in pg_majors() if major >= 17 and not refusal(major)][:1]


def test_a_warm_standby(make_sandbox: Callable[..., Sandbox]) -> None:
    """hot_standby is off: refused in the plan with the line that goes on. A primary is restored with it."""
    sandbox = make_sandbox()
    history = archived(sandbox, hot_standby="off")
    cluster = history.cluster
    history.ship(2)
    rows = history.numbers()
    cluster.lose()
    for check in (True, False):
        text = refused(sandbox, "standby", check, standby=True, archive="none")
        assert "hot_standby = off" in text
        assert "walg_restore_settings: {hot_standby: 'on'}" in text.replace('"', "'"), text
    assert not cluster.data_dir.exists()
    done(sandbox, "standby", standby=True, archive="none", settings={"hot_standby": "on"})
    assert cluster.sql("SELECT pg_is_in_recovery()") == "t"
    assert history.numbers() == rows
    done(sandbox, "primary", stop_running=True)
    assert (history.numbers(), cluster.sql("SHOW hot_standby")) == (rows, "off")


TRIGGER = """
CREATE TABLE logins (at timestamptz);
CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS
  $$BEGIN INSERT INTO public.logins VALUES (now()); END$$;
CREATE EVENT TRIGGER noted ON login EXECUTE FUNCTION note();
ALTER EVENT TRIGGER noted ENABLE ALWAYS;
"""


@pytest.mark.skipif(not WITH_LOGIN_TRIGGERS, reason="this WAL-G can back up no PostgreSQL that has login triggers")
@pytest.mark.parametrize("major", WITH_LOGIN_TRIGGERS or [0], ids=lambda major: f"pg{major}")
def test_a_login_trigger_that_writes(major: int) -> None:
    """PostgreSQL's manual warns of it: a standby ends every session. Ours begins without triggers."""
    sandbox = Sandbox(tools_for(major))
    try:
        history = archived(sandbox)
        cluster = history.cluster
        cluster.sql(TRIGGER)
        backup(sandbox)
        history.ship(1)
        rows = history.numbers()
        cluster.ship()
        cluster.lose()
        done(sandbox, "standby", standby=True, archive="none")
        with pytest.raises(AssertionError, match="cannot execute INSERT in a read-only transaction"):
            cluster.sql("SELECT 1")
        done(sandbox, "primary", stop_running=True)
        assert history.numbers() == rows
        backup(sandbox)
    finally:
        sandbox.close()
