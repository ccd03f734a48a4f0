#!/usr/bin/env python3
# SPDX-License-Identifier: PostgreSQL
"""Is core pure?

    core_symbols.py NM ALLOW-LIST LIBCORE.a LIBUTIL.a

Everything that core leaves undefined must be defined by core, or by a member of util (whose own undefined symbols then
count as well), or stand in the allow-list: one symbol a line, comments after #. Exit status: 0, 1 with findings, 77
for a sanitizer build, whose objects call the sanitizer's run-time everywhere.
"""

import re
import subprocess
import sys

SKIPPED = 77


def read_archive(nm, archive):
    """{member: (defined, undefined)}"""
    out = subprocess.run([nm, '-g', '-A', archive], check=True, capture_output=True, text=True).stdout
    members = {}
    for line in out.splitlines():
        # libcore.a:event.c.o:0000000000000000 T event_get
        # /path/src/core/libcore.a.p/event.c.o:                 U strlen   (thin archives)
        m = re.match(r'(?P<member>.+?):\s*(?:[0-9a-f]+)?\s+(?P<type>[A-Za-z])\s+(?P<name>\S+)$', line)
        if not m:
            continue
        defined, undefined = members.setdefault(m['member'], (set(), {}))
        name = m['name'].split('@')[0]
        if m['type'] in 'Uwv':
            undefined.setdefault(name, m['member'])
        else:
            defined.add(name)
    return members


def read_allowed(path):
    with open(path, encoding='utf-8') as f:
        lines = [line.split('#')[0].strip() for line in f]
    return {line for line in lines if line}


def collect(core, util):
    """Undefined symbols by the member that wants them, those of the util members that core pulls in included."""
    defined = set().union(*(d for d, _ in core.values()))
    by_symbol = {name: member for member, (names, _) in util.items() for name in names}
    wanted, pulled = {}, set()
    todo = [(name, member) for member, (_, names) in core.items() for name in names]
    while todo:
        name, member = todo.pop()
        if name in defined:
            continue
        if name not in by_symbol:
            wanted.setdefault(name, member)
        elif by_symbol[name] not in pulled:
            pulled.add(by_symbol[name])
            todo += [(more, by_symbol[name]) for more in util[by_symbol[name]][1]]
    return wanted


def main():
    nm, allow_list, libcore, libutil = sys.argv[1:]
    allowed = read_allowed(allow_list)
    core = read_archive(nm, libcore)
    if not core:
        print(f'{libcore}: no symbols found')
        return 1
    wanted = collect(core, read_archive(nm, libutil))
    if any(re.match(r'__(asan|ubsan|tsan|msan|sanitizer|gcov|llvm)_', name) for name in wanted):
        print('skipped: built with a sanitizer or for coverage')
        return SKIPPED
    findings = sorted(set(wanted) - allowed)
    for name in findings:
        print(f'{wanted[name]}: {name} is not allowed in core')
    if findings:
        print(f'{len(findings)} findings. Core decides and does nothing else: what needs these belongs into daemon. If '
              f'one is pure, add it to {allow_list}.')
        return 1
    print(f'core is pure: {len(wanted)} outside symbols, all allowed')
    return 0


if __name__ == '__main__':
    sys.exit(main())
