# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The docs site: antsibull-docs writes the reference from the documentation in the code, the guides join it, Sphinx makes HTML."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Sequence

from dead_links import dead_links
from guides import put_guides
from locations import ROOT, test_environment, tools_dir

CONF = """\
project = "mapswipe.walg"
copyright = "the mapswipe.walg contributors"
extensions = ["sphinx_antsibull_ext", "myst_parser"]
myst_heading_anchors = 6
highlight_language = "none"
html_theme = "alabaster"
html_theme_options = {"page_width": "auto", "sidebar_width": "24em", "font_size": "15px"}
html_show_sphinx = False
html_copy_source = False
html_use_index = False
pygments_style = "ansible"
default_role = "any"
"""
# Each page says how to install the collection.
CONFIG = """\
collection_install = {
  * = "ansible-galaxy collection install mapswipe-walg-VERSION.tar.gz"
}
"""
# What the pages refer to in Ansible's own documentation.
ANSIBLE = """\
:orphan:

Ansible's own pages
===================

.. _common_return_values:

Common return values
--------------------

`What every module returns <https://docs.ansible.com/ansible/latest/reference_appendices/common_return_values.html>`_

.. _ansible_configuration_settings:

Configuration settings
----------------------

`Settings of Ansible, environment variables too <https://docs.ansible.com/ansible/latest/reference_appendices/config.html>`_
"""


def run(argv: Sequence[str]) -> bool:
    return subprocess.run(argv, env=test_environment(), stdin=subprocess.DEVNULL, check=False).returncode == 0


def make_pages() -> bool:
    """Write the site into the folder docs of the tools; a warning of either tool and a dead link fail."""
    folder = tools_dir() / "docs"
    shutil.rmtree(folder, ignore_errors=True)
    source, html = folder / "rst", folder / "html"
    source.mkdir(parents=True, mode=0o755)
    (folder / "conf.py").write_text(CONF, encoding="utf-8")
    (version,) = re.findall(r"^version: (\S+)$", (ROOT / "galaxy.yml").read_text(encoding="utf-8"), re.MULTILINE)
    (folder / "antsibull-docs.cfg").write_text(CONFIG.replace("VERSION", version), encoding="utf-8")
    (source / "ansible.rst").write_text(ANSIBLE, encoding="utf-8")
    config = ["--config-file", str(folder / "antsibull-docs.cfg")]
    options = ["--use-current", "--squash-hierarchy", "--fail-on-error", "--dest-dir", str(source)]
    written = run(["antsibull-docs", *config, "collection", *options, "mapswipe.walg"])
    guides = put_guides(source / "docsite") if written else 0
    sphinx = ["sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "-d", str(folder / "doctrees")]
    made = written and run([*sphinx, "-c", str(folder), str(source), str(html)])
    for dead in dead_links(html) if made else ():
        print(f"dead link in {dead}")
        made = False
    if made:
        kinds = {"modules": "*_module.html", "roles": "*_role.html"}
        print(
            "made",
            ", ".join(f"{len(list(html.glob(kind)))} pages of {name}" for name, kind in kinds.items()),
            f"and {guides} guides:",
        )
        print(html / "index.html")
    return made


if __name__ == "__main__":
    sys.exit(0 if make_pages() else 1)
