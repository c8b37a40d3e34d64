# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""wal-fetch, in POSIX sh: what it is, what it sets, and its body behind the part that it shares with wal-push."""

from __future__ import annotations

ABOUT = r"""
# wal-fetch MODE ENVFILE PLANFILE NAME PATH -- get one WAL file from the archive; PostgreSQL calls it:
#
#     restore_command = '/…/wal-fetch recovery /…/main.env /…/plan "%f" "%p"'
#     restore_command = '/…/wal-fetch standby /…/main.env - "%f" "%p"'
#
# Exit codes, MODE recovery (PostgreSQL takes 1-125 for the end of the archive and opens the database, more for an error
# that stops it):
#   0    the file is at PATH
#   1    the archive does not hold it, and that is proved: it is not among what the plan listed, and the storage
#        answers to the same settings
#   255  everything else. Also each trouble of this program itself. Never 143, at which PostgreSQL stops without a word.
# MODE standby: 0, or 1 for everything else, since the server tries again and may stream meanwhile.
#
# WAL-G's own "does not exist" is not believed in a recovery, because a wrong bucket, a dead network (2.0.x) and a
# missing decompressor are reported alike. Other failures of WAL-G are tried 3 times there.
#
# PLANFILE is a shell fragment like ENVFILE, written by the restore; not read in MODE standby. Keys:
#   LAST_SEGMENTS      the last listed segment of each timeline, separated by spaces; '' = none is listed
#   CONTROL_OBJECT     an object of the archive; that it can be read shows that the storage is the right one and alive
#
# ENVFILE's keys, besides those below:
#   FETCH_TIMEOUT      seconds that one call of WAL-G may take, at least 1
"""

VALUES = r"""
program=wal-fetch
undone='was fetched'
trouble=255
[ "${1-}" != standby ] || trouble=1
"""

BODY = r"""
[ $# -eq 5 ] || fail "wrong number of arguments: $#; expected: wal-fetch MODE ENVFILE PLANFILE NAME PATH"
mode=$1
planfile=$3
name=$4
dest=$5
case $mode in
    recovery | standby) ;;
    *) fail "unknown mode '$mode'; expected: recovery or standby" ;;
esac
case $planfile in
    */*) ;;
    *) planfile=./$planfile ;;
esac
case $dest in
    -*) dest=./$dest ;;
esac

unset FETCH_TIMEOUT LAST_SEGMENTS CONTROL_OBJECT
read_record "$2"
set_limit FETCH_TIMEOUT "${FETCH_TIMEOUT-}"
if [ ! -d "$STATE_DIR" ] || [ ! -w "$STATE_DIR" ]; then
    fail "cannot write in the state directory $STATE_DIR; create it, or give it to this user"
fi

if [ "$mode" = recovery ]; then
    if [ ! -f "$planfile" ] || [ ! -r "$planfile" ]; then
        fail "cannot read the restore's plan $planfile, so nothing could be told missing; run the restore again"
    fi
    # shellcheck source=/dev/null
    . "$planfile" || fail "cannot use the restore's plan $planfile; run the restore again"
    [ -n "${LAST_SEGMENTS+set}" ] || fail "the restore's plan $planfile does not set LAST_SEGMENTS; run the restore again"
    [ -n "${CONTROL_OBJECT-}" ] || fail "the restore's plan $planfile does not set CONTROL_OBJECT; run the restore again"
    for last in $LAST_SEGMENTS; do
        parse_segment "$last"
        [ -n "$segment" ] || fail "the restore's plan $planfile lists '$last', which is no segment; run the restore again"
    done
fi
parse_segment "$name"

# Collects into $said what WAL-G wrote, sets $last to its last line, and $absent if it says that just this file does not
# exist (its prefetching child, which writes to the same place, says so of later ones).
listen() {
    said=
    last=
    absent=
    while IFS= read -r line <&4 || [ -n "$line" ]; do
        [ -n "$line" ] || continue
        last=$line
        said="$said
$line"
        case $line in
            *"Archive '$name' does not exist"*) absent=yes ;;
        esac
    done
}

# Prints $said, each line as a message of ours.
quote() {
    IFS='
'
    for line in $said; do
        say "wal-g: $line"
    done
    unset IFS
}

# The two calls of WAL-G. Its messages go to a file (3, read back from 4): it leaves a prefetching child behind that
# keeps its output open, and on a pipe we would have to wait for that child.
fetch() {
    limited "$WALG_BINARY" --config "$WALG_CONFIG" wal-fetch "$name" "$dest" >&3
    if [ "$status" -ne 0 ]; then
        listen
        [ "$status" -ne 74 ] || absent=yes
    elif [ ! -s "$dest" ]; then
        status=empty
    fi
}

read_control_object() {
    limited "$WALG_BINARY" --config "$WALG_CONFIG" st cat "$CONTROL_OBJECT" >/dev/null
    [ "$status" -eq 0 ] || listen
}

# Runs one of these with its file.
with_log() {
    said=
    last=
    absent=
    log=$STATE_DIR/wal-fetch.$$.log
    # (`command` keeps the shell from giving up if the file cannot be opened.)
    if command exec 3>"$log" && command exec 4<"$log"; then
        "$1"
    else
        fail "cannot write in the state directory $STATE_DIR; see the shell's message above"
    fi
}

# Sets $reason from $status.
explain_fetch() {
    explain
    [ "$status" != empty ] || reason="WAL-G reported success, but $dest is empty or not there"
}

# WAL-G says that the file does not exist: ends with 1 if that can be true, else with 255.
judge_absence() {
    discard
    if [ -n "$segment" ]; then
        position=${segment#????????}
        for last in $LAST_SEGMENTS; do
            [ "${segment%????????????????}" = "${last%????????????????}" ] || continue
            listed=${last#????????}
            high=$((0x${position%????????})) listed_high=$((0x${listed%????????}))
            low=$((0x${position#????????})) listed_low=$((0x${listed#????????}))
            if [ "$high" -lt "$listed_high" ] || { [ "$high" -eq "$listed_high" ] && [ "$low" -le "$listed_low" ]; }; then
                quote
                fail "WAL-G says that $name does not exist, but the archive held this timeline up to $last when the \
restore was planned; recovery stops rather than end early. Look for wrong settings, a WAL-G that cannot decompress \
this file, or deleted WAL"
            fi
        done
    fi
    with_log read_control_object
    if [ "$status" -ne 0 ]; then
        explain
        quote
        fail "WAL-G says that $name does not exist, but cannot read $CONTROL_OBJECT either ($reason), so the storage is \
the wrong one or does not answer; recovery stops rather than end early. Repair that and start the server again"
    fi
    # PostgreSQL asks for history files that do not exist all the time.
    [ -z "$segment" ] || say "$name is not in the archive, whose storage answers: this is the end of the archived WAL"
    finish 1
}

try=1
[ -e "$dest" ] || [ -h "$dest" ] || partial=$dest
while :; do
    with_log fetch
    [ "$status" != 0 ] || finish 0
    if [ "$mode" = standby ]; then
        discard
        [ -z "$absent" ] || finish 1
        explain_fetch
        fail "could not fetch $name: $reason${last:+ ($last)}; the server will try again"
    fi
    [ -z "$absent" ] || judge_absence
    discard
    explain_fetch
    say "could not fetch $name, try $try of 3: $reason"
    quote
    if [ "$try" -eq 3 ]; then
        fail "giving up on $name; recovery stops rather than end early. Repair the cause and start the server again"
    fi
    try=$((try + 1))
    child=starting
    sleep 1 &
    await
done
"""
