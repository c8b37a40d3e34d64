# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs that modules share, each family once. Its docs are the fragment that is named beside it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Dict

from .._instance import _job_spec
from .._walg import _releases

Spec = Dict[str, Dict[str, Any]]
#: Who starts the job.
SCHEDULERS = ("cron", "timer")

_RESTART = {"type": "str", "choices": ["never", "allowed"], "default": "never"}
_CLUSTER = ("data_dir", "bin_dir", "socket_dir", "port", "user", "database", "os_user", "service")
_DIRECTORIES = ("bin_dir", "config_dir", "program_dir", "state_dir", "log_dir", "cron_dir")


def instance_options() -> Spec:
    """_instance: which instance is meant."""
    return {"instance": {"type": "str", "default": "main"}}


def configured_options() -> Spec:
    """_instance.configured: an instance that is configured already, and where its record is."""
    return {**instance_options(), "config_dir": {"type": "str", "default": "/etc/mapswipe-walg"}}


def host_options() -> Spec:
    """_host: what is given of the cluster and the directories."""
    cluster = {**_texts(_CLUSTER), "pg_untested": {"type": "bool"}}
    return {
        "cluster": {"type": "dict", "default": {}, "options": cluster},
        "directories": {"type": "dict", "default": {}, "options": _texts(_DIRECTORIES)},
    }


def found_options(required: bool) -> Spec:
    """_host.found: what other modules have found and installed."""
    kinds = {"binary": "str", "cluster": "dict", "directories": "dict"}
    return {name: {"type": kind, **({"required": True} if required else {})} for name, kind in kinds.items()}


def storage_options() -> Spec:
    """_storage: the storage and WAL-G's settings. Raw where a failed conversion would print a secret."""
    return {
        "storage": {"type": "str", "no_log": True},
        "env_file": {"type": "str"},
        "settings": {"type": "raw", "default": {}, "no_log": True},
        "secrets": {"type": "raw", "no_log": True},
        "google_credentials": {"type": "raw", "no_log": True},
        "tune": {"type": "bool", "default": True},
    }


def access_options() -> Spec:
    """_storage.access: what the host must be able to do there, and whether Google is asked about it."""
    return {
        "access": {"type": "str", "choices": ["write", "read", "read_only"], "default": "write"},
        "google_check": {"type": "str", "choices": ["auto", "never"], "default": "auto"},
    }


def limit_options() -> Spec:
    """_storage.limits: how long WAL-G may take."""
    limits = {"push_timeout": 15, "fetch_timeout": 60, "backup_timeout": 86400}
    return {name: {"type": "int", "default": seconds} for name, seconds in limits.items()}


def release_options() -> Spec:
    """_release: which WAL-G, and where from."""
    return {"version": {"type": "str"}, "mirror": {"type": "str", "default": _releases.PUBLISHED, "no_log": True}}


def archive_options() -> Spec:
    """The options of walg_archive that walg_instance judges early."""
    return {
        "timeout": {"type": "int", "default": 60},
        **restart_options(),
        "replace": {"type": "bool", "default": False},
    }


def restart_options() -> Spec:
    """Whether the server may be restarted."""
    return {"restart": dict(_RESTART)}


def schedule_options() -> Spec:
    """The options of walg_schedule that walg_instance judges early: what the job does, and when."""
    return {
        "scheduler": {"type": "str", "choices": list(SCHEDULERS), "default": "cron"},
        "minute": {"type": "str"},
        "hour": {"type": "str", "default": "2"},
        "weekday": {"type": "str", "default": "*"},
        "source": {"type": "str", "choices": list(_job_spec.SOURCES), "default": "primary"},
        "page_checksums": {"type": "bool", "default": True},
        "jitter": {"type": "int", "default": 0},
        "nice": {"type": "int", "default": 0},
        "check_minutes": {"type": "int", "default": 5},
        "heartbeat": {"type": "bool", "default": True},
        "expire": {"type": "bool", "default": True},
        "retention": {"type": "dict", "default": {}, "options": _numbers(asdict(_job_spec.Retention()))},
        "verify": {"type": "dict", "default": {}, "options": _numbers(asdict(_job_spec.Verification()))},
        "wal_pressure": {"type": "str", "choices": list(_job_spec.PRESSURES), "default": "alarm"},
        "pressure_limit": {"type": "int", "default": 0},
        "hooks": {"type": "dict", "default": {}, "no_log": True, "options": _hook_options()},
        "metrics_dir": {"type": "str", "default": "auto"},
    }


def retention_options() -> Spec:
    """What is kept; where it is not given, what the instance's job keeps."""
    return {name: {"type": "int"} for name in asdict(_job_spec.Retention())}


def _hook_options() -> Spec:
    return {
        "failure_command": {"type": "list", "elements": "str", "default": []},
        "webhook": {"type": "str", "default": "", "no_log": True},
        "ping": {"type": "str", "default": "", "no_log": True},
        "timeout": {"type": "int", "default": 10},
    }


def state_options() -> Spec:
    """Whether the object of a module should exist."""
    return {"state": {"type": "str", "choices": ["present", "absent"], "default": "present"}}


def required(spec: Spec, *names: str) -> Spec:
    """Return a spec in which these options must be given."""
    return {**spec, **{name: {**spec[name], "required": True} for name in names}}


def _numbers(defaults: dict[str, int]) -> Spec:
    return {name: {"type": "int", "default": number} for name, number in defaults.items()}


def _texts(names: tuple[str, ...]) -> Spec:
    return {name: {"type": "str"} for name in names}
