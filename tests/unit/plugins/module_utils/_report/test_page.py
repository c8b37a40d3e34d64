# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: in a real browser and parsed, with hostile names, many hosts and without script."""

from __future__ import annotations

import re
from html import escape
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._report import _page, _page_file
from support import reported
from support.browser import Parsed, in_browser

NOW = reported.NOW
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=document.title='taken'>\"'&"


def page(*facts: dict[str, Any]) -> str:
    return _page.page([{"facts": one, "name": one.get("host")} for one in facts], NOW)


def test_nothing_comes_from_the_network_and_there_is_one_script() -> None:
    tags = Parsed(page(reported.facts(30, hole=True))).tags
    assert [tag for tag, told in tags if "src" in told] == []
    assert [told["href"] for _tag, told in tags if not (told.get("href") or "#").startswith("#")] == []
    assert [told.get("type") for tag, told in tags if tag == "script"] == ["application/json", None]
    assert not re.search(r"url\(|@import|https?://", page(reported.facts(1)).replace("gs://", ""))


def test_hostile_names_stay_text() -> None:
    facts = reported.facts(3, host=HOSTILE, instance=HOSTILE, storage=HOSTILE, data_dir=HOSTILE)
    facts["archive"]["backups"][0]["name"] = HOSTILE
    facts["archive"]["backups"][1].update(restorable=False, reason=HOSTILE)
    facts["runs"][HOSTILE] = facts["history"][0] = reported.run(HOSTILE, text=HOSTILE, code=1, hours=1)
    facts["health"].update(server="down", problem=HOSTILE, lost=[HOSTILE])
    text = page(facts)
    assert "<img" not in text
    assert [tag for tag, _told in Parsed(text).tags].count("script") == 2


def test_the_worst_comes_first_and_who_did_not_answer_is_unknown() -> None:
    facts = {f"db{number}": {"facts": reported.facts(3, host=f"db{number}")} for number in (10, 2, 3)}
    facts["db3"]["facts"]["archive"]["backups"] = []
    items = _page_file.items({**facts, "db4": {"unreachable": True, "msg": "timed out"}, "db5": {}})
    titles = re.findall(r"<h2>(\w+)</h2>", _page.page(items, NOW))
    assert titles == ["db3", "db4", "db5", "db2", "db10"]


def test_a_page_of_nothing_and_of_nonsense() -> None:
    assert "No cluster was looked at" in page()
    nonsense: dict[str, Any] = dict.fromkeys(reported.facts(1), "x")
    assert "Unknown" in page(nonsense)


def test_choosing_a_moment_prints_its_command(tmp_path: Path) -> None:
    script = """
      var input = document.querySelector("input"); input.value = "2026-01-28T01:02:03"; input.dispatchEvent(new Event("input"));
      document.body.dataset.good = document.querySelector("pre").textContent;
      input.value = "2026-01-26T12:00:00"; input.dispatchEvent(new Event("input"));
      document.body.dataset.hole = document.querySelector(".said").textContent;
      document.body.dataset.left = document.querySelector("pre").hidden;
      document.querySelector(".nearest").click();
      document.body.dataset.near = document.querySelector("pre").textContent;
      document.querySelector(".bar").dispatchEvent(new KeyboardEvent("keydown", {key: "End"}));
      document.body.dataset.end = document.querySelector(".bar").getAttribute("aria-valuetext");
    """
    dom = in_browser(tmp_path, page(reported.facts(10, hole=True, host="db1")), script)
    told = {name: " ".join(value.split()) for name, value in Parsed(dom).body().items()}
    assert told["data-good"] == (
        "ansible-playbook mapswipe.walg.restore -i inventory \\ -e walg_hosts=db1 \\ -e walg_restore_request=moment-20260128T010203Z \\ "
        "-e walg_restore_target_time=2026-01-28T01:02:03Z"
    )
    assert "can't be restored" in told["data-hole"]
    assert told["data-left"] == "true"
    assert "walg_restore_target_time=2026-01-26T" in told["data-near"]
    assert told["data-end"] == "2026-01-31 12:00:00 UTC, can't be restored"


@pytest.mark.parametrize("locale", ["en_US", "de_DE", "fa_IR"])
def test_a_moment_is_shown_as_iso_in_utc_whatever_the_locale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, locale: str
) -> None:
    """A date field would show 01/28/2026 in one browser and 28.01.2026 in another. What is shown can be typed."""
    monkeypatch.setenv("LANGUAGE", locale)
    monkeypatch.setenv("TZ", "Asia/Tehran")
    script = """
      var input = document.querySelector("input"), told = document.body.dataset, pre = document.querySelector("pre");
      function type(text) { input.value = text; input.dispatchEvent(new Event("input")); return pre.textContent; }
      told.locale = navigator.language; told.type = input.type; told.label = input.labels[0].textContent; told.hint = input.placeholder;
      document.querySelector(".bar").dispatchEvent(new KeyboardEvent("keydown", {key: "End"}));
      told.end = input.value;
      told.good = type("2026-01-28 01:02"); told.seconds = type(" 2026-01-28T01:02:03Z ");
      told.wrong = type("28.01.2026 01:02") + type("2026-01-41 00:00") + type("2026-01-28 25:00");
      told.invalid = input.getAttribute("aria-invalid"); told.said = document.querySelector(".said").textContent;
      type("2026-01-28 01:02"); told.valid = input.getAttribute("aria-invalid");
    """
    told = Parsed(
        in_browser(tmp_path, page(reported.facts(10, host="db1")), script, f"--accept-lang={locale.replace('_', '-')}")
    ).body()
    assert told["data-locale"] == locale.replace("_", "-")
    assert (told["data-type"], told["data-label"].strip(), told["data-hint"]) == (
        "text",
        "Moment (UTC)",
        "YYYY-MM-DD HH:MM",
    )
    assert told["data-end"] == "2026-01-31 12:00"
    assert told["data-good"].endswith("walg_restore_target_time=2026-01-28T01:02:00Z")
    assert told["data-seconds"].endswith("walg_restore_target_time=2026-01-28T01:02:03Z")
    assert (told["data-wrong"], told["data-invalid"]) == ("", "true")
    assert told["data-said"] == "Type a moment in UTC as YYYY-MM-DD HH:MM."
    assert told["data-valid"] == "null"


def test_on_a_phone_nothing_is_cut_off(tmp_path: Path) -> None:
    """Each state of a base backup and each end of a run is within 360 pixels, and the page is not wider either."""
    facts = reported.facts(30, hole=True)
    facts["archive"]["backups"][3].update(restorable=False, reason="a segment is missing")
    frame = f'<body><iframe style="width:360px;height:2000px;border:0" srcdoc="{escape(page(facts))}"></iframe></body>'
    script = """
      window.addEventListener("load", function () {
        var inner = document.querySelector("iframe").contentDocument, cells = inner.querySelectorAll("td:last-child");
        document.body.dataset.cells = cells.length;
        document.body.dataset.right = Math.max(...[...cells].map(one => one.getBoundingClientRect().right));
        document.body.dataset.wide = inner.documentElement.scrollWidth;
      });
    """
    told = Parsed(in_browser(tmp_path, frame, script)).body()
    assert int(told["data-cells"]) > 30
    assert float(told["data-right"]) <= 360
    assert int(told["data-wide"]) <= 360


def test_an_old_page_says_that_it_is_old_and_hostile_names_do_nothing(tmp_path: Path) -> None:
    dom = in_browser(tmp_path, page(reported.facts(2, host=HOSTILE)))
    assert re.search(r'id="stale"[^>]*>This page is \d+ days old', dom)
    assert "<title>taken" not in dom


def test_the_file_counts_as_changed_only_if_more_than_times_differ(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    hosts = {"db1": {"facts": reported.facts(3)}}
    assert _page_file.write(str(path), hosts, NOW, dry=True)["changed"]
    assert not path.exists()
    assert _page_file.write(str(path), hosts, NOW, dry=False)["changed"]
    later = NOW.replace(minute=5)
    before = path.read_text(encoding="utf-8")
    again = {"db1": {"facts": reported.facts(3, later)}}
    again["db1"]["facts"]["archive"]["backups"] = hosts["db1"]["facts"]["archive"]["backups"]
    assert not _page_file.write(str(path), again, later, dry=False)["changed"]
    assert path.read_text(encoding="utf-8") != before
    again["db1"]["facts"]["archive"]["backups"] = []
    made = _page_file.write(str(path), again, later, dry=False)
    assert (made["changed"], made["states"]) == (True, {"yes": 0, "no": 1, "unknown": 0})
    assert made["diff"]["after"] == "db1: no\n"
