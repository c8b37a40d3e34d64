#!/bin/sh
# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Behaves as the entry of Docker's official image of PostgreSQL does, as far as a server and its backups can notice: a data
# directory without PG_VERSION gets a cluster, set up by a temporary server that has the container's own arguments; then the
# server becomes process 1, as the user postgres or as the one that the container was given.

set -eu

directories() {
    mkdir -p "$PGDATA" /run/postgresql ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"}
    chmod 0700 "$PGDATA" ${POSTGRES_INITDB_WALDIR:+"$POSTGRES_INITDB_WALDIR"} || :
    [ "$(id -u)" = 0 ] || return 0
    find "$PGDATA" ! -user postgres -exec chown postgres {} +
    [ -z "${POSTGRES_INITDB_WALDIR:-}" ] || find "$POSTGRES_INITDB_WALDIR" ! -user postgres -exec chown postgres {} +
    chown postgres /run/postgresql
    chmod 03775 /run/postgresql
}

# From 18 on the volume is one directory higher; data in the old place would be overlooked.
old_place() {
    [ "$PG_MAJOR" -ge 18 ] && [ -s /var/lib/postgresql/data/PG_VERSION ] || return 0
    echo "Error: in 18+, this image keeps its data in $PGDATA; there is a cluster in /var/lib/postgresql/data." >&2
    exit 1
}

password() {
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE")
    fi
    if [ -z "${POSTGRES_PASSWORD:-}" ] && [ "${POSTGRES_HOST_AUTH_METHOD:-}" != trust ]; then
        echo "Error: the superuser has no password: set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust." >&2
        exit 1
    fi
}

# initdb wants a name for the user that it runs as.
named_user() {
    getent passwd "$(id -u)" >/dev/null && return
    for library in /usr/lib/*/libnss_wrapper.so; do
        NSS_WRAPPER_PASSWD=$(mktemp) NSS_WRAPPER_GROUP=$(mktemp)
        echo "postgres:x:$(id -u):$(id -g):PostgreSQL:$PGDATA:/bin/false" >"$NSS_WRAPPER_PASSWD"
        echo "postgres:x:$(id -g):" >"$NSS_WRAPPER_GROUP"
        export LD_PRELOAD="$library" NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
    done
}

unnamed_user() {
    [ -n "${NSS_WRAPPER_PASSWD:-}" ] || return 0
    rm -f "$NSS_WRAPPER_PASSWD" "$NSS_WRAPPER_GROUP"
    unset LD_PRELOAD NSS_WRAPPER_PASSWD NSS_WRAPPER_GROUP
}

make_cluster() {
    named_user
    secret=$(mktemp)
    printf '%s\n' "${POSTGRES_PASSWORD:-}" >"$secret"
    # POSTGRES_INITDB_ARGS is words, some of them in quotes.
    eval 'initdb -D "$PGDATA" --username="$POSTGRES_USER" ${POSTGRES_PASSWORD:+--pwfile="$secret"} \
        ${POSTGRES_INITDB_WALDIR:+--waldir="$POSTGRES_INITDB_WALDIR"} '"${POSTGRES_INITDB_ARGS:-}"
    rm "$secret"
    unnamed_user
    method=${POSTGRES_HOST_AUTH_METHOD:-$(postgres -C password_encryption)}
    case $method in on | off) method=md5 ;; esac
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

sql() {
    PGPASSWORD=${POSTGRES_PASSWORD:-} psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username="$POSTGRES_USER" "$@"
}

# With the container's own arguments, by the socket only.
set_up() {
    shift
    postgres "$@" -c listen_addresses= &
    server=$!
    until sql --dbname=postgres -c 'SELECT 1' >/dev/null 2>&1; do
        kill -0 "$server"
        sleep 0.1
    done
    if [ "$POSTGRES_DB" != postgres ]; then
        echo 'CREATE DATABASE :"name"' | sql --dbname=postgres --set=name="$POSTGRES_DB"
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
            *.sh) if [ -x "$file" ]; then "$file"; else command . "$file"; fi ;;
            *.sql) sql --dbname="$POSTGRES_DB" --file="$file" ;;
        esac
    done
    kill -INT "$server"
    wait "$server"
    echo
    echo 'PostgreSQL init process complete; ready for start up.'
    echo
}

case ${1:-} in -*) set -- postgres "$@" ;; esac
if [ "${1:-}" = postgres ]; then
    old_place
    directories
    if [ "$(id -u)" = 0 ]; then
        exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
    fi
    POSTGRES_USER=${POSTGRES_USER:-postgres} POSTGRES_DB=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
    export POSTGRES_USER POSTGRES_DB
    if [ -s "$PGDATA/PG_VERSION" ]; then
        echo
        echo 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
        echo
    else
        password
        make_cluster
        set_up "$@"
    fi
fi
exec "$@"
