#!/usr/bin/env python3
# SPDX-License-Identifier: PostgreSQL
"""Do the arrows point one way?

    include_graph.py SOURCE-ROOT

Reads the includes of src and include and reports: cycles between files; a layer that includes one above it or beside
it; an outside library where it does not belong; calls of libpq that block. Exit status: 0, 1 with findings.
"""

import fnmatch
import os
import re
import sys

# What each layer may include besides itself.
LAYERS = {
    'util': [],
    'core': ['util'],
    'config': ['util', 'core'],
    'pg': ['util', 'core'],
    'output': ['util', 'core'],
    'daemon': ['util', 'core', 'config', 'pg', 'output'],
    'cli': ['util', 'core', 'config', 'pg', 'output', 'daemon'],
    'main': ['util', 'core', 'config', 'pg', 'output', 'daemon', 'cli'],
}

# Headers of libraries (patterns), and the only files that may see them.
LIBRARIES = {
    'libpq-fe.h': ['src/pg/*', 'include/pg/*'],
    'libpq/*': ['src/pg/*', 'include/pg/*'],
    'postgres_ext.h': ['src/pg/*', 'include/pg/*'],
    'pg_config*.h': ['src/pg/*', 'include/pg/*'],
    'event2/*': ['src/daemon/loop.c', 'src/daemon/http.c'],
    'event.h': [],
    'curl/*': ['src/daemon/notifier.c'],
    'yaml.h': ['src/config/*'],
    'systemd/*': ['src/daemon/*'],
}

# They block: nothing in here may.
BLOCKING = ['PQexec', 'PQexecParams', 'PQexecPrepared', 'PQconnectdb', 'PQconnectdbParams', 'PQping', 'PQpingParams',
            'PQsetdb', 'PQsetdbLogin', 'PQprepare', 'PQreset', 'PQcancel', 'PQrequestCancel']

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)
CALL = re.compile(r'\b(' + '|'.join(BLOCKING) + r')\b')
# Comments and strings; newlines inside stay, so that lines keep their numbers.
NOISE = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


def strip(text, strings):
    def blank(m):
        if m[0][0] == '"' and not strings:
            return m[0]
        return '\n' * m[0].count('\n')
    return NOISE.sub(blank, text)


def read_sources(root):
    sources = {}
    for top in ('src', 'include'):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                if name.endswith(('.c', '.h')):
                    path = os.path.join(folder, name)
                    with open(path, encoding='utf-8') as f:
                        sources[os.path.relpath(path, root)] = f.read()
    return sources


def layer_of(path):
    parts = path.split('/')
    return parts[1] if len(parts) > 2 else 'main'


def resolve(path, name, sources):
    """The file of ours that an include means, or None."""
    candidates = [os.path.join(os.path.dirname(path), name), os.path.join('include', name), os.path.join('src', name)]
    for candidate in map(os.path.normpath, candidates):
        if candidate in sources:
            return candidate
    return None


def read_includes(sources):
    """{file: [(line, name, the file of ours or None)]}"""
    graph = {}
    for path, text in sources.items():
        code = strip(text, strings=False)
        graph[path] = [(code.count('\n', 0, m.start(1)) + 1, m[2], resolve(path, m[2], sources))
                       for m in INCLUDE.finditer(code)]
    return graph


def check_cycles(graph):
    """Depth first; a file met again on the way to itself closes a cycle."""
    findings, done = [], set()

    def visit(path, way):
        if path in way:
            cycle = way[way.index(path):] + [path]
            findings.append(f'{path}: includes itself: {" -> ".join(cycle)}')
        elif path not in done:
            for _, _, target in graph[path]:
                if target:
                    visit(target, way + [path])
            done.add(path)

    for path in sorted(graph):
        visit(path, [])
    return findings


def check_layers(graph):
    for path, includes in graph.items():
        layer = layer_of(path)
        if layer not in LAYERS:
            yield f'{path}: {layer} is not a layer'
            continue
        for line, name, target in includes:
            other = layer_of(target) if target else None
            if other and other != layer and other not in LAYERS[layer]:
                yield f'{path}:{line}: {layer} must not include {other} ({name})'
            if not target and name.split('/')[0] in LAYERS:
                yield f'{path}:{line}: {name} does not exist'


def check_libraries(graph):
    for path, includes in graph.items():
        for line, name, target in includes:
            for library, places in LIBRARIES.items():
                if not target and fnmatch.fnmatch(name, library):
                    if not any(fnmatch.fnmatch(path, place) for place in places):
                        yield f'{path}:{line}: {name} is for {", ".join(places) or "nobody"} only'


def check_calls(sources):
    for path, text in sources.items():
        if path.startswith('src/'):
            code = strip(text, strings=True)
            for m in CALL.finditer(code):
                yield f'{path}:{code.count(chr(10), 0, m.start()) + 1}: {m[1]} blocks'


def main():
    sources = read_sources(sys.argv[1])
    graph = read_includes(sources)
    if not any(path.startswith('src/core/') for path in sources):
        print(f'{sys.argv[1]}: no sources found')
        return 1
    findings = [*check_cycles(graph), *check_layers(graph), *check_libraries(graph), *check_calls(sources)]
    for finding in sorted(findings):
        print(finding)
    n_includes = sum(len(includes) for includes in graph.values())
    print(f'{len(sources)} files, {n_includes} includes, {len(findings)} findings')
    return 1 if findings else 0


if __name__ == '__main__':
    sys.exit(main())
