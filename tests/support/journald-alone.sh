#!/bin/sh
# SPDX-License-Identifier: PostgreSQL
# journald-alone.sh DIR CMD... : runs CMD beside a real systemd-journald of its own, in a mount namespace (needs root).
# DIR/journald.pid names the journal daemon; after CMD's end DIR/journal.json holds what came in by its native protocol.
# SIGTERM is for CMD alone: signal DIR/command.pid. Exit status: CMD's.
set -eu
dir=$1
shift
if [ "${JOURNALD_ALONE:-}" != inside ]; then
    JOURNALD_ALONE=inside exec unshare --mount --propagation private "$0" "$dir" "$@"
fi
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/systemd/journal /run/log/journal
/lib/systemd/systemd-journald >"$dir/journald.log" 2>&1 &
journald=$!
command=
finish() {
    [ -z "$command" ] || kill "$command" 2>/dev/null || true
    kill -CONT "$journald" 2>/dev/null || true
    kill "$journald" 2>/dev/null || true
    wait "$journald" 2>/dev/null || true
}
trap finish EXIT
trap 'exit 143' TERM INT HUP
tries=0
until [ -S /run/systemd/journal/socket ]; do
    tries=$((tries + 1))
    [ "$tries" -le 200 ] || exit 99
    sleep 0.05
done
echo "$journald" >"$dir/journald.pid"
"$@" &
command=$!
echo "$command" >"$dir/command.pid"
rc=0
wait "$command" || rc=$?
command=
kill -CONT "$journald"
journalctl --sync || true
journalctl --no-pager -q -o json _TRANSPORT=journal >"$dir/journal.json"
exit "$rc"
