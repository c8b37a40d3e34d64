# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What wal-push and wal-fetch have in common, in POSIX sh. Each sets program, undone and trouble before it.

Each is one file on the host, started for every segment: it sources nothing but the instance's record, and the plan of a restore.
"""

from __future__ import annotations

TEXT = r"""
# ENVFILE is a shell fragment of KEY='value' lines, written by the installer. It is sourced, so it must not be writable
# by others, and it holds no secret (those are in WALG_CONFIG, or in files that WALG_CONFIG names). Keys, besides those above:
#   WALG_BINARY        WAL-G, absolute path
#   WALG_CONFIG        its settings file (--config), absolute path
#   WALG_INSTANCE      name of the instance, for messages
#   STATE_DIR          directory in which this user can write
#   HOME               optional: this user's home directory; a server that root has started may have root's
#   HTTPS_PROXY HTTP_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR
#                      optional: handed to WAL-G under the same names. They are seen in the process list for a moment:
#                      no password in a proxy's address.
# WAL-G sees PATH, HOME, TZ, LANG=C, these five and, to send, PGDATA only, because for it a variable of the server's environment
# would beat the settings file. That is also why the five have to stand in ENVFILE.

set -uf
PATH=${PATH:+$PATH:}/usr/local/bin:/usr/bin:/bin
# (Also spares each host tool the loading of a locale.)
export LC_ALL=C

instance='?'
name='?'
# A program that runs in the background: its number, or "starting" until that is noted.
child=
# Files to be removed if we are stopped: one for messages, and what a call of WAL-G has left unfinished.
log=
partial=

say() {
    # A reader of our messages that went away must not become an exit by SIGPIPE.
    trap : PIPE
    printf 'mapswipe.walg %s[%s]: %s\n' "$program" "$instance" "$1" >&2
}

finish() {
    trap - EXIT
    exit "$1"
}

fail() {
    say "$1"
    finish "$trouble"
}

# The shell itself gives up with codes such as 2, on a damaged ENVFILE for instance. In a recovery that would be the end of the archive.
on_exit() {
    fail "the shell stopped on an error (its own message is above); install the instance's files again"
}

# A part of a file that our own call of WAL-G has left; what lay there before us is not ours.
discard() {
    [ -z "$partial" ] || rm -f -- "$partial"
}

# End what may be left of a program under `timeout`. GNU's leads a process group, in which WAL-G outlives a timeout that was
# killed or came too late; busybox's replaces itself by the program.
end_group() {
    kill -s KILL -- "-$1" 2>/dev/null
    kill -s KILL "$1" 2>/dev/null
    return 0
}

on_signal() {
    trap '' HUP INT QUIT ABRT TERM
    # Started, but its number not yet noted.
    [ "$child" != starting ] || child=${!-}
    if [ -n "$child" ] && kill -s TERM "$child" 2>/dev/null; then
        # GNU timeout passes TERM on and adds KILL after 3 s by itself, if it is given the time to.
        tries=0
        while [ "$tries" -lt 40 ] && kill -s 0 "$child" 2>/dev/null; do
            sleep 0.1 || sleep 1
            tries=$((tries + 1))
        done
        end_group "$child"
    elif [ -n "$child" ]; then
        # Its leader is gone, somebody killed it just now: what it started may not be.
        kill -s KILL -- "-$child" 2>/dev/null
    fi
    [ -z "$log" ] || rm -f -- "$log"
    discard
    fail "stopped by signal $1 before $name $undone"
}

trap on_exit EXIT
trap 'on_signal HUP' HUP
trap 'on_signal INT' INT
trap 'on_signal QUIT' QUIT
trap 'on_signal ABRT' ABRT
trap 'on_signal TERM' TERM

# Complains unless the value of a key in ENVFILE is set.
need() {
    [ -n "$2" ] || fail "$envfile does not set $1; install the instance again"
}

# Sets $limit, the seconds that one call of WAL-G may take, from a key in ENVFILE and its value.
set_limit() {
    need "$1" "$2"
    # 0 would mean "no limit" to timeout.
    case $2 in
        *[!0123456789]* | 0*) fail "$1 in $envfile is '$2'; expected: whole seconds, at least 1" ;;
    esac
    limit_key=$1
    limit=$2
}

# Reads ENVFILE, $1, and looks at what both programs need of it.
read_record() {
    envfile=$1
    case $envfile in
        */*) ;;
        *) envfile=./$envfile ;;
    esac
    if [ ! -f "$envfile" ] || [ ! -r "$envfile" ]; then
        fail "cannot read the instance's file $envfile; let this user read it, or install the instance again"
    fi
    unset WALG_BINARY WALG_CONFIG WALG_INSTANCE STATE_DIR HTTPS_PROXY HTTP_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR
    # shellcheck source=/dev/null
    . "$envfile" || fail "cannot use the instance's file $envfile; install the instance again"
    instance=${WALG_INSTANCE:-?}
    need WALG_BINARY "${WALG_BINARY-}"
    need WALG_CONFIG "${WALG_CONFIG-}"
    need WALG_INSTANCE "${WALG_INSTANCE-}"
    need STATE_DIR "${STATE_DIR-}"
    case $WALG_BINARY in
        /*) ;;
        *) fail "WALG_BINARY in $envfile is '$WALG_BINARY'; expected: an absolute path" ;;
    esac
    if [ ! -f "$WALG_BINARY" ] || [ ! -x "$WALG_BINARY" ]; then
        fail "cannot run WAL-G: $WALG_BINARY is not a program that this user may start; install it again"
    fi
    # WAL-G only warns of a missing settings file and goes on with defaults.
    if [ ! -f "$WALG_CONFIG" ] || [ ! -r "$WALG_CONFIG" ]; then
        fail "cannot read the settings file $WALG_CONFIG; let this user read it, or install the instance again"
    fi
}

# Sets $segment to $1 if that is a segment's name, else to nothing.
parse_segment() {
    segment=$1
    case $segment in
        *[!0123456789ABCDEF]*) segment= ;;
        ????????????????????????) ;;
        *) segment= ;;
    esac
}

# Waits for a program in the background: a shell that waits for one in the foreground does not answer signals.
await() {
    child=$!
    if [ -n "$log" ]; then
        # Nobody needs the name once the file is open: gone now, it cannot be left behind, and WAL-G runs meanwhile. (A shell that
        # waits for rm would add a line of its own where WAL-G is killed just then.)
        rm -f -- "$log" &
        log=
    fi
    # (The shell would add a line of its own on a death by signal.)
    wait "$child" 2>/dev/null
    status=$?
    # (A timeout that was killed leaves its program behind.)
    [ "$status" -le 128 ] || kill -s KILL -- "-$child" 2>/dev/null
    child=
}

# Runs a program under the time limit, with what WAL-G may see of the environment and $pgdata. Its messages go to descriptor 3, and
# are read from 4 if they are wanted. Sets $status.
limited() {
    child=starting
    env -i "PATH=$PATH" LANG=C ${HOME:+"HOME=$HOME"} ${TZ:+"TZ=$TZ"} ${pgdata:+"PGDATA=$pgdata"} \
        ${HTTPS_PROXY:+"HTTPS_PROXY=$HTTPS_PROXY"} ${HTTP_PROXY:+"HTTP_PROXY=$HTTP_PROXY"} \
        ${NO_PROXY:+"NO_PROXY=$NO_PROXY"} ${SSL_CERT_FILE:+"SSL_CERT_FILE=$SSL_CERT_FILE"} \
        ${SSL_CERT_DIR:+"SSL_CERT_DIR=$SSL_CERT_DIR"} timeout -k 3 "$limit" "$@" </dev/null 2>&3 3>&- 4<&- &
    await
}

# Sets $reason from the $status of WAL-G.
explain() {
    case $status in
        124) reason="WAL-G was not done after $limit s ($limit_key); the storage may be slow or dead" ;;
        12[67]) reason="WAL-G or timeout could not be started (exit code $status)" ;;
        129 | 1[3-9]?) reason="WAL-G was killed (exit code $status), by its limit of $limit s or from outside" ;;
        *) reason="WAL-G failed with exit code $status" ;;
    esac
}
"""
