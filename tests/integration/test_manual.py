# SPDX-License-Identifier: PostgreSQL
"""pgvigil(1) against the program: commands, options, arguments, variables, exit statuses; and the help against a screen."""

import glob
import os
import re
import shutil
import subprocess

import pytest

from pgvtest import process
from pgvtest.daemon import command

pytestmark = pytest.mark.short
PAGE = os.path.join(process.ROOT, "docs", "pgvigil.1.scd")
EVERYWHERE = {"--help"}  # told once for all commands


def read_page():
    """{command: text of its section}, and the whole text."""
    with open(PAGE, encoding="utf-8") as file:
        text = file.read()
    commands = text.partition("\n# COMMANDS\n")[2].partition("\n# ")[0]
    parts = re.split(r"^## ([a-z-]+)$", commands, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2])), text


SECTIONS, TEXT = read_page()
OVERVIEW = command("help").stdout
COMMANDS = re.findall(r"^  ([a-z][a-z-]*) +[A-Z]", OVERVIEW, re.MULTILINE)


def options_of_help(name):
    """{option: (letter, argument)}"""
    found = re.findall(
        r"^  (?:-(\w), |    )(--[a-z-]+)(?:\[=([^]]+)\]| ([A-Z|]+))? ", command("help", name).stdout, re.MULTILINE
    )
    return {option: (letter, implied or argument) for letter, option, implied, argument in found}


def options_of_page(name):
    """The same, of the terms of the section's lists."""
    found = re.findall(
        r"^(?:\*-(\w)\*, )?\*(--[a-z-]+)\*(?: _([A-Z|]+)_|\[=_([^_]+)_\])?$", SECTIONS[name], re.MULTILINE
    )
    return {option: (letter, argument or implied) for letter, option, argument, implied in found}


def test_commands():
    assert len(COMMANDS) > 6 and sorted(COMMANDS) == sorted(SECTIONS)
    for name, text in SECTIONS.items():
        assert f"*pgvigil {name}*" in text, name


@pytest.mark.parametrize("name", COMMANDS)
def test_options(name):
    wanted = {option: rest for option, rest in options_of_help(name).items() if option not in EVERYWHERE}
    assert options_of_page(name) == wanted
    operand = re.search(r"^usage: pgvigil \S+ .*\[([A-Z|]+)\]$", command("help", name).stdout, re.MULTILINE)
    if operand:
        for word in operand[1].split("|"):
            assert f"_{word}_" in SECTIONS[name], f"{name} takes {word}"


@pytest.mark.parametrize("name", ["", *COMMANDS])
def test_help_fits_a_screen(name):
    text = command("help", name).stdout if name else OVERVIEW
    lines = text.rstrip("\n").split("\n")
    # The path of the file is the build's, and may be long.
    assert max(len(line) for line in lines if not line.startswith("/")) <= 80
    assert len(lines) <= 23  # the prompt takes one of 24
    if not name:
        assert set(COMMANDS) == set(re.findall(r"^  ([a-z-]+) ", text, re.MULTILINE))


def test_variables():
    """Every variable that the program reads is told, and no other."""
    read = set()
    for path in glob.glob(os.path.join(process.ROOT, "src", "**", "*.c"), recursive=True):
        with open(path, encoding="utf-8") as file:
            names = "PGVIGIL_[A-Z_]+|NO_COLOR|TERM|COLUMNS|JOURNAL_STREAM|NOTIFY_SOCKET|STATE_DIRECTORY"
            read |= set(re.findall(f'"({names})"', file.read()))
    section = TEXT.partition("\n# ENVIRONMENT\n")[2].partition("\n# ")[0]
    told = set(re.findall(r"\*([A-Z_]+)\*", section))
    assert {name for name in told if not name.startswith("PG") or name.startswith("PGVIGIL")} == read


def test_exit_statuses():
    section = TEXT.partition("\n# EXIT STATUS\n")[2].partition("\n# ")[0]
    told = set(re.findall(r"^\*(\d+)\*$", section, re.MULTILINE))
    assert told == set(re.findall(r"\d+", OVERVIEW.partition("Exit status:")[2]))


def test_it_is_a_manual_page(tmp_path):
    if not shutil.which("scdoc"):
        pytest.skip("no scdoc here")
    with open(PAGE, "rb") as page:
        made = subprocess.run(["scdoc"], stdin=page, capture_output=True, timeout=20, check=False)
    assert made.returncode == 0 and not made.stderr and made.stdout.count(b"\n.SH ") > 8
