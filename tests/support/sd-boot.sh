#!/bin/sh
# SPDX-License-Identifier: PostgreSQL
# sd-boot.sh DIR INSTALLED SOURCE : boots this machine's systemd in a container whose root is a copy-on-write overlay of
# ours with the tree INSTALLED laid over it, and runs DIR/check.sh in there as root, with DIR at /opt/result (writable)
# and SOURCE at /opt/source (read-only). The network is a loopback of its own. Needs root, systemd-nspawn, cgroup v2.
# Exit status: check.sh's; 77 when this machine cannot boot one, with the reason as last line. Leaves nothing.
set -eu
cannot() {
    echo "$*"
    exit 77
}

if [ "${SD_BOOT:-}" != inside ]; then
    [ "$(id -u)" -eq 0 ] || cannot "needs root, or sudo without a password"
    command -v systemd-nspawn >/dev/null || cannot "needs systemd-nspawn (systemd-container)"
    [ -x /lib/systemd/systemd ] || cannot "needs systemd"
    unshare --mount true 2>/dev/null || cannot "may not make a mount namespace"
    cgroups=
    for at in /sys/fs/cgroup /sys/fs/cgroup/unified; do
        [ "$(stat -f -c %T "$at" 2>/dev/null)" != cgroup2fs ] || cgroups=$at
    done
    [ -n "$cgroups" ] || cannot "needs cgroup v2"
    cgroup=$cgroups/pgvigil-tests.$$
    mkdir "$cgroup" 2>/dev/null || cannot "may not make a cgroup"
    # Whatever is left in there: nspawn's own way is an orderly shutdown, which may take its time.
    finish() {
        tries=0
        while [ -d "$cgroup" ] && [ "$tries" -lt 50 ]; do
            find "$cgroup" -name cgroup.procs -exec cat {} + 2>/dev/null | xargs -r kill -KILL 2>/dev/null || true
            find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
            tries=$((tries + 1))
            sleep 0.1
        done
    }
    trap finish EXIT
    trap 'exit 143' TERM INT HUP
    SD_BOOT=inside unshare --mount --propagation private "$0" "$1" "$2" "$3" "$cgroup" &
    child=$!
    rc=0
    wait "$child" || rc=$?
    exit "$rc"
fi

result=$(realpath "$1") installed=$(realpath "$2") source=$(realpath "$3") cgroup=$4
sh -c 'echo $PPID' >"$cgroup/cgroup.procs" || cannot "may not enter a cgroup"
umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || cannot "cannot mount cgroup v2"
# Off the file system that the results are on: an overlay cannot always stand on another.
mount -t tmpfs -o mode=755 tmpfs /mnt || cannot "cannot mount a tmpfs"
mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work overlay /mnt/root || cannot "cannot mount an overlay"
root=/mnt/root
rm -rf "$root/var/log/journal" "$root/etc/machine-id"
mkdir -p "$root/var/log/journal" "$root/opt/result" "$root/opt/source"
cp -a "$installed/." "$root/"
chown -R --reference=/usr "$root/etc/pgvigil"
ln -sf /dev/null "$root/etc/systemd/system/systemd-firstboot.service"
cat >"$root/etc/systemd/system/check.service" <<'UNIT'
[Unit]
DefaultDependencies=no
Requires=basic.target dbus.socket
After=basic.target dbus.socket
[Service]
Type=oneshot
TimeoutStartSec=infinity
ExecStart=/bin/sh -c 'touch /opt/result/booted; exec /bin/sh /opt/result/check.sh >/opt/result/check.log 2>&1'
ExecStopPost=/bin/sh -c 'echo $EXIT_STATUS >/opt/result/status; systemctl --no-block poweroff'
UNIT
rm -f "$result/booted" "$result/status"
# bpf: without it the IP address lists of units are silently off in there. CAP_SYS_RESOURCE: for OOMScoreAdjust=.
systemd-nspawn --boot --register=no --keep-unit --quiet --console=pipe --link-journal=no --system-call-filter=bpf \
    --capability=CAP_SYS_RESOURCE --private-network --machine="pgvigil-tests-$$" -D "$root" \
    --bind="$result:/opt/result" --bind-ro="$source:/opt/source" \
    systemd.unit=check.service systemd.show_status=no </dev/null >"$result/console" 2>&1 || true
if [ ! -e "$result/booted" ]; then
    tail -n 20 "$result/console"
    cannot "systemd does not boot in a container here: $(tail -n 1 "$result/console")"
fi
status=$(cat "$result/status" 2>/dev/null || echo 1)
case $status in
[0-9] | [0-9][0-9] | [0-9][0-9][0-9]) exit "$status" ;;
*) exit 1 ;; # a signal's name
esac
