# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Everything is installed from package registries into .tools; Python 3.11 or newer with pip is all that must be there.
#   make test                      lint, unit and integration tests, attacks, then whole plays on hosts, with the time of each
#   make check                     lint and unit tests, in less than five minutes
#   make coverage                  unit and integration tests, measured: the share of the lines of plugins/ that they reach
#   make lint ONLY=mypy            one linter (make lint ONLY=list shows them)
#   make integration               every variant of each integration test; make test takes the first
#   make unit ARGS='-k backups'    arguments for pytest (also: make integration ARGS=...)
#   make test-molecule SCENARIO=default   whole plays on hosts made as containers; KEEP=1 leaves them for a look
#   make test-molecule SCENARIO=containers   databases in containers of this machine, by Docker Compose
#   make hosts                     what molecule needs, then: molecule test -s default (list, converge, login, destroy); make hosts-clean
#   make test-soak SEEDS=200      random lives of a cluster with restores in them; seconds for each
#   make test-soak WHAT=odd SEEDS=100   lives of odd clusters: segment sizes, tablespaces, mounts, subscriptions and more
#   make test-soak WHAT=kills SEEDS=5   restores killed at random instants, each seed in each phase; minutes for each
#   make attacks                  as other users of the host against root's work; attacks tried and won at the end
#   make test-soak WHAT=attacks   20,000 tries of each race, with a partner who exchanges paths
#   make test-matrix WALG_BINARY=/path/to/wal-g   the main job and every kind of target on every PostgreSQL; a table at the end
#   make test-core                 the main job with newer ansible-cores and older Pythons on the host, where the machine has them
#   make docs                      the docs site, reference and guides, as HTML
#   make bench ONLY=site           figures of what has to be fast, side by side; all parts take 20 minutes
#   make integration PG_MAJOR=13   another PostgreSQL; WALG_BINARY=/path/to/wal-g uses another WAL-G
#   make tools RETRY=1            ask again for WAL-G's release, which is built where it can't be had; WALG_RELEASES=https://... names a mirror

PYTHON ?= python3
CHECK = $(PYTHON) tests/toolchain/check.py
SEEDS ?= 200
export ARGS ONLY WHAT SEEDS FIRST PG_MAJOR WALG_BINARY WALG_RELEASES RETRY BACKUPS SEGMENTS MIB FETCHES ROUNDS JSON

.PHONY: help tools paths check coverage lint unit integration attacks test hosts hosts-clean test-molecule test-soak test-matrix test-core docs bench demo demo-clean build clean

help:
	@sed -n 's/^#   //p' Makefile

tools:
	@$(PYTHON) tests/toolchain/tools.py install

paths:
	@$(PYTHON) tests/toolchain/tools.py paths

lint unit integration attacks: tools
	@$(CHECK) $@

check:
	@$(CHECK) tools lint unit

test: export VARIANTS = 1
test:
	@$(CHECK) tools lint unit integration attacks hosts

coverage:
	@$(CHECK) --coverage tools unit integration

test-molecule: tools
	@$(PYTHON) tests/toolchain/hosts.py test $(SCENARIO)

hosts: tools
	@$(PYTHON) tests/toolchain/hosts.py make

hosts-clean:
	@$(PYTHON) tests/toolchain/hosts.py clean

test-soak: tools
	@$(CHECK) soak

test-matrix: tools
	@$(CHECK) matrix

test-core: tools
	@$(CHECK) cores

docs: tools
	@$(CHECK) docs

bench: tools
	@$(PYTHON) tests/bench/bench.py

demo: tools
	@$(PYTHON) tests/demo/demo.py

demo-clean:
	@$(PYTHON) tests/demo/demo.py clean

build: tools
	@$(CHECK) build

clean: hosts-clean
	@$(PYTHON) tests/toolchain/tools.py remove
