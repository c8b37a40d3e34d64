# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wal-push, in POSIX sh: what it is, what it sets, and its body behind the part that it shares with wal-fetch."""

from __future__ import annotations

from .._postgres import _wal_page

ABOUT = r"""
# wal-push ENVFILE PATH -- send one WAL file to the archive; PostgreSQL calls it:
#
#     archive_command = '/…/wal-push /…/main.env "%p"'
#
# Exit code: 0 when the file is stored, 1 for everything else, time-outs and signals included. Never above 125: with
# such a code PostgreSQL's archiver restarts without counting the failure. Prints nothing when all is well.
#
# ENVFILE's keys, besides those below:
#   SYSTEM_IDENTIFIER  of the cluster that owns the archive, decimal; '' = do not compare
#   CONFIG_DIR         where this file lies, for walg-job
#   PROGRAM_DIR        where walg-job lies
#   PUSH_TIMEOUT       seconds that one call of WAL-G may take, at least 1
#   MACHINE WRITER OWNER_PLACE
#                      in a container, which has no Python for walg-job: the machine-id, the writer that the marker must name, and
#                      the setting (NAME=value) that leads WAL-G to the marker
#   DATA_DIR           PGDATA, handed to WAL-G, which keeps its notes on sent files below it
#
# Whose archive it is, is asked of the storage (walg-job confirm) before the first file after a change of the settings, the
# machine, the data directory or the server's start, and when the marker is no longer where it was last seen in a file storage (a
# share that is not mounted, STATE_DIR/owner-seen): a copy of the cluster, with configuration, state and all, must not
# write into production's archive, nor an old primary that comes back after a failover. STATE_DIR/push-owner keeps for
# what the answer holds.
"""

VALUES = f"""
program=wal-push
undone='was sent; PostgreSQL will try it again'
trouble=1
# What the header of a segment's first page says of the cluster: bytes before its system identifier, and its own.
sysid_at={_wal_page.IDENTIFIER_AT}
sysid_size={_wal_page.IDENTIFIER_SIZE}
"""

BODY = r"""
[ $# -eq 2 ] || fail "wrong number of arguments: $#; expected: wal-push ENVFILE PATH"
file=$2
name=${file##*/}
case $file in
    -*) file=./$file ;;
esac

unset SYSTEM_IDENTIFIER PUSH_TIMEOUT DATA_DIR CONFIG_DIR PROGRAM_DIR MACHINE WRITER OWNER_PLACE PG_BIN_DIR
read_record "$1"
set_limit PUSH_TIMEOUT "${PUSH_TIMEOUT-}"
need SYSTEM_IDENTIFIER "${SYSTEM_IDENTIFIER+set}"
need DATA_DIR "${DATA_DIR-}"
need CONFIG_DIR "${CONFIG_DIR-}"
need PROGRAM_DIR "${PROGRAM_DIR-}"
pgdata=$DATA_DIR
case $SYSTEM_IDENTIFIER in
    *[!0123456789]*) fail "SYSTEM_IDENTIFIER in $envfile is '$SYSTEM_IDENTIFIER'; expected: a decimal number, or ''" ;;
esac
# What WAL-G noted as sent is not in the new storage; see the library's _storage_move.
[ ! -e "$STATE_DIR/storage-change" ] || fail "$name waits: the storage of this instance is being changed; if no play runs, \
one ended in the middle of it: run it again"

# Only files that start with a segment's long page header carry an identifier.
parse_segment "${name%.partial}"
if [ -n "$segment" ] && [ -n "$SYSTEM_IDENTIFIER" ]; then
    # In this machine's byte order.
    found=$(od -A n -t "u$sysid_size" -j "$sysid_at" -N "$sysid_size" "$file")
    found=${found##* }
    case $found in
        '' | *[!0123456789]*) fail "cannot read the system identifier in $file; it is no WAL segment or not readable" ;;
    esac
    if [ "$found" != "$SYSTEM_IDENTIFIER" ]; then
        fail "refused to send $name: it belongs to system identifier $found, but this archive to $SYSTEM_IDENTIFIER; \
give this cluster a storage prefix of its own"
    fi
fi

# Where the archive is dead and pg_wal fills, the job may let WAL go for some minutes (walg_wal_pressure: drop; the library's _pressure).
# What can't be noted is not let go.
if [ -n "$segment" ] && [ "$name" = "$segment" ] && [ -r "$STATE_DIR/give-up" ]; then
    until=
    read -r until <"$STATE_DIR/give-up"
    case $until in
        '' | *[!0123456789]*) until=0 ;;
    esac
    if [ "$(date +%s)" -lt "$until" ] && printf '%s\n' "$name" >>"$STATE_DIR/given-up"; then
        say "gave up $name: the archive does not take it and pg_wal fills; the archive has a gap until the next full base backup"
        trap - EXIT
        exit 0
    fi
fi

# Show what the program said, and the way out of what no other try would change: WAL-G before 3.0.9 writes into a file:// storage
# under the final name, so that an upload that was cut off stands in the way of the next.
tell() {
    stuck=
    while IFS= read -r line <&4 || [ -n "$line" ]; do
        say "$1$line"
        case $line in
            *"contents differ, unable to overwrite"* | *"overwrite attempt due to inner error: unexpected EOF"*) stuck=yes ;;
        esac
    done
    [ -z "$stuck" ] || say "the archive holds something else as $name and it is not overwritten. If an upload was cut off there (in a \
file:// storage: a crash, a kill, a full disk), it decompresses to a beginning of $file and no more: then move it away, and \
PostgreSQL sends it again. If it differs, leave it and find out who else writes into this archive"
}

send() {
    limited "$WALG_BINARY" --config "$WALG_CONFIG" wal-push "$file" >&3
    [ "$status" -ne 0 ] || return 0
    explain
    say "could not send $name: $reason; PostgreSQL will try again"
    tell 'wal-g: '
    return 0
}

# Prints the system identifier of the cluster in $1. (The record has none while a lost cluster is restored.)
identify() {
    "${PG_BIN_DIR-}/pg_controldata" -D "$1" 2>/dev/null | while IFS= read -r line; do
        case $line in
            'Database system identifier:'*) printf '%s\n' "${line##* }" ;;
        esac
    done
}

# Reads the marker as WAL-G shows it, $2, and notes whether it names the cluster $1 and this writer. Its own lines have two blanks.
read_marker() {
    while IFS= read -r line || [ -n "$line" ]; do
        case $line in
            '  "system_identifier": "'"$1"'",') cluster_named=yes ;;
            '  "writer": "'"$WRITER"'"' | '  "writer": "'"$WRITER"'",') writer_named=yes ;;
        esac
    done <"$2"
}

# In a container: the archive is this cluster's if its marker names this writer. All else is for the play to judge.
confirm_by_marker() {
    reason=
    marker=$STATE_DIR/push-marker
    cluster_named=
    writer_named=
    identifier=$(identify "$1")
    if [ "$machine" != "${MACHINE-}" ]; then
        reason="this is not the machine for which the instance was installed, or /etc/machine-id is not mounted"
    elif ! (cd -P "$DATA_DIR" && [ "$PWD" = "$1" ]) 2>/dev/null; then
        reason="PostgreSQL called in $1, but the instance is of $DATA_DIR"
    elif [ -n "$SYSTEM_IDENTIFIER" ] && [ "${identifier:-$SYSTEM_IDENTIFIER}" != "$SYSTEM_IDENTIFIER" ]; then
        reason="the cluster in $1 has system identifier $identifier, but the instance is of $SYSTEM_IDENTIFIER"
    fi
    # The first marker that is there decides: an older one inside the prefix may name who wrote here before.
    partial=$marker
    for place in "${OWNER_PLACE-}" ''; do
        [ -z "$reason" ] || break
        limited ${place:+env "$place"} "$WALG_BINARY" --config "$WALG_CONFIG" st cat mapswipe_walg_owner.json >"$marker"
        if [ "$status" -eq 0 ] && [ -s "$marker" ]; then
            read_marker "${identifier:-$SYSTEM_IDENTIFIER}" "$marker"
            break
        fi
        # A storage that hangs has not said that there is none.
        [ "$status" -lt 124 ] && [ -n "$place" ] || break
    done
    discard
    partial=
    if [ -n "$cluster_named" ] && [ -n "$writer_named" ]; then
        status=0
        return 0
    fi
    [ -n "$reason" ] || [ "$status" -eq 0 ] || explain
    [ -n "$reason" ] || reason="its marker names another writer, or there is none"
    printf '%s\n' "$reason" "run the playbook mapswipe.walg.site, which finds out whose archive it is" >&3
    status=1
}

confirm() {
    if [ -n "${WRITER-}" ]; then
        confirm_by_marker "$PWD"
    else
        ask_job
    fi
    note_answer
}

ask_job() {
    limited "$PROGRAM_DIR/walg-job" confirm --instance "$WALG_INSTANCE" --config-dir "$CONFIG_DIR" --data-dir "$PWD" \
        --file "$name" >&3
}

note_answer() {
    if [ "$status" -eq 0 ]; then
        # Without the note each file is asked about, which is slow; the archive is worth more.
        { printf '%s\n' "$subject" >"$note.$$" && mv -f -- "$note.$$" "$note"; } 2>/dev/null || rm -f -- "$note.$$"
        return 0
    fi
    case $status in
        1 | 2) reason="the archive is not confirmed to be this cluster's" ;;
        124 | 137 | 143) reason="the storage did not say whose archive it is within $limit s ($limit_key)" ;;
        *) reason="whose archive it is could not be asked: $PROGRAM_DIR/walg-job ended with exit code $status" ;;
    esac
    say "refused to send $name: $reason"
    tell ''
    return 0
}

# Opens descriptors 3 and 4 for the messages of one program, and calls a function with them. It is one file, emptied each time: to
# start an rm beside WAL-G would cost 1 ms a segment.
with_messages() {
    messages=$STATE_DIR/wal-push.log
    # Somebody else's, who tried it by hand? The directory is ours.
    [ ! -e "$messages" ] || [ -w "$messages" ] || rm -f -- "$messages"
    # (`command` keeps the shell from giving up if the file cannot be opened.)
    if command exec 3>"$messages" && command exec 4<"$messages"; then
        "$1"
    else
        # Archiving is worth more than tidy messages.
        say "cannot write in the state directory $STATE_DIR; messages of $1 follow as they come"
        "$1" 3>&2 4</dev/null
    fi
}

# What the last answer was about: settings, machine, server start, cluster, directory. Builtins but for cksum.
note=$STATE_DIR/push-owner
sum=$(cksum <"$WALG_CONFIG")
machine=
started=
known=
[ ! -r /etc/machine-id ] || read -r machine </etc/machine-id
[ ! -r postmaster.pid ] || { read -r started && read -r started && read -r started; } <postmaster.pid
cd -P . || fail "cannot tell in which directory PostgreSQL called"
subject="2 $sum $machine $started $SYSTEM_IDENTIFIER $PWD"
seen=
[ ! -r "$note" ] || IFS= read -r known <"$note"
[ ! -r "$STATE_DIR/owner-seen" ] || IFS= read -r seen <"$STATE_DIR/owner-seen"
[ -z "$seen" ] || [ -e "$seen" ] || known=
# Without a checksum (Debian's busybox has no cksum) a change of the settings could not be seen.
[ -n "$sum" ] || known=
status=0
[ "$known" = "$subject" ] || with_messages confirm
[ "$status" -ne 0 ] || with_messages send
trap - EXIT
# The last word, and so the exit code: 0 or 1.
[ "$status" -eq 0 ]
"""
