#!/bin/sh
# SPDX-License-Identifier: PostgreSQL
# base-make.sh DEST : DEST/base.tar, the root of a Debian 12 as small as debian:bookworm-slim, to be imported as base of
# images where that one cannot be pulled. As root; needs mmdebstrap. The mirror is the one that this machine's apt uses.
set -eu
dest=$1
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | grep -E '/debian/?$' | sort -u | head -n 1)
[ -n "$mirror" ] || { echo "apt knows no Debian mirror" >&2; exit 1; }
mkdir -p "$dest"
# usr-is-merged, with its hook, instead of usrmerge: that one would bring all of Perl.
mmdebstrap --quiet --variant=minbase --include=usr-is-merged --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Check-Valid-Until "false"' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    bookworm "$dest/base.tar" "$mirror"
