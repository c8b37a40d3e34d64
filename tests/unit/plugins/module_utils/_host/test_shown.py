# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be shown of a text: neither a secret in any of its forms nor what a terminal would obey."""

from __future__ import annotations

import json
import unicodedata
from urllib.parse import quote

import pytest
from ansible_collections.mapswipe.walg.plugins.module_utils._host import _shown
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\tand\nlines", "plain\tand\nlines"),
        ("a\r\nb", "a\nb"),
        ("50%\r100%", "50%\\r100%"),
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x9b31m\x07\x00", "\\x9b31m\\x07\\x00"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("a\u2028b\u2066c", "a\\u2028b\\u2066c"),
        ("naïve \U0001f418", "naïve \U0001f418"),
        ("\ud800", "\\ud800"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert _shown.printable(text) == shown


@given(st.text())
@settings(database=None)
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    shown = _shown.printable(text)
    assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t"]
    assert _shown.printable(shown) == shown


SECRET = "p:a/s\"s\\w ord'%7"


@pytest.mark.parametrize(
    "form",
    [
        SECRET,
        f"x{SECRET}x",
        json.dumps({"password": SECRET}),
        repr([SECRET]),
        quote(SECRET, safe=""),
        f"dial http://me:{quote(SECRET, safe='')}@proxy",
    ],
)
def test_each_form_of_a_secret_is_hidden(form: str) -> None:
    shown = _shown.Mask([SECRET]).text(form)
    assert "ord" not in shown.replace("password", "")


def test_each_line_of_a_key_is() -> None:
    key = "-----BEGIN PRIVATE KEY-----\nPlantedLineOne\nPlantedLineTwo\n-----END PRIVATE KEY-----\n"
    mask = _shown.Mask([key])
    assert "Planted" not in mask.text(json.dumps(key) + repr(key) + "bad line PlantedLineTwo")


@pytest.mark.parametrize("secret", ["main", "postgres", "var", "lib", "16", "/", "1", " "])
def test_a_secret_that_is_part_of_what_the_play_says_is_not(secret: str) -> None:
    mask = _shown.Mask([secret], ["main", "/var/lib/postgresql/16/main"])
    text = "No server runs on /var/lib/postgresql/16/main: postgres said 1."
    assert mask.text(text) == text


def test_a_short_one_is_hidden_as_a_word() -> None:
    mask = _shown.Mask(["geheim", "abc"])
    assert mask.text("geheim, geheimnis, abc") == "********, geheimnis, abc"


def test_values() -> None:
    mask = _shown.Mask(["SecretWord"])
    given = {"SecretWord": ["x SecretWord", 1, None, True, ("\x1b", {"SecretWord"})]}
    assert mask.value(given) == {"********": ["x ********", 1, None, True, ["\\x1b", ["********"]]]}
