# SPDX-License-Identifier: PostgreSQL
"""What `meson install` puts where, and what systemd's own tools say of it; without a boot. PGVIGIL_INSTALLED names
the tree (prefix /usr)."""

import json
import os
import re
import shutil
import subprocess

import pytest

INSTALLED = os.environ.get("PGVIGIL_INSTALLED", "")
SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
UNIT = f"{INSTALLED}/usr/lib/systemd/system/pgvigil.service"
EXPOSURE = 1.5  # at most, as systemd-analyze security counts it

if not INSTALLED:
    pytest.skip("PGVIGIL_INSTALLED is not set: run ./tests/run systemd", allow_module_level=True)


def run(*argv, status=0, **kwargs):
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **kwargs)
    assert status is None or done.returncode == status, f"{argv}: {done.returncode}: {done.stdout}"
    return done.stdout


def needs(program):
    if not shutil.which(program):
        pytest.skip(f"no {program} here")


def files_below(top):
    return {
        os.path.relpath(os.path.join(folder, name), top) for folder, _, names in os.walk(top) for name in names
    }


def unit_lines():
    with open(UNIT, encoding="utf-8") as file:
        return file.read().splitlines()


def test_everything_is_in_its_place():
    files = files_below(INSTALLED)
    assert {
        "usr/bin/pgvigil",
        "usr/lib/systemd/system/pgvigil.service",
        "usr/lib/systemd/catalog/pgvigil.catalog",
        "usr/lib/sysusers.d/pgvigil.conf",
        "usr/share/man/man1/pgvigil.1",
        "usr/share/man/man5/pgvigil.yaml.5",
        "usr/share/doc/pgvigil/examples/pgvigil.yaml",
        "usr/share/bash-completion/completions/pgvigil",
    } <= files
    places = ("usr/bin/", "usr/lib/systemd/", "usr/lib/sysusers.d/", "usr/share/")
    assert [name for name in files if not name.startswith(places)] == [], "nothing elsewhere, and no file below /etc"
    assert os.path.isdir(f"{INSTALLED}/etc/pgvigil/conf.d")
    assert not [name for name in files if name.endswith(("meson.build", ".in"))]
    assert os.access(f"{INSTALLED}/usr/bin/pgvigil", os.X_OK)


def test_the_binary_knows_its_configuration():
    said = run(f"{INSTALLED}/usr/bin/pgvigil", "check", status=None, env={"PATH": "/usr/bin:/bin"})
    assert "/etc/pgvigil/pgvigil.yaml" in said
    example = f"{INSTALLED}/usr/share/doc/pgvigil/examples/pgvigil.yaml"
    assert ": ok (" in run(f"{INSTALLED}/usr/bin/pgvigil", "check", "-c", example)


def test_options_say_where(tmp_path):
    """A plan is enough: what would go where with a prefix and folders of one's own."""
    options = [
        "-Dtests=false",
        "-Dman=disabled",
        "--prefix=/opt/pgvigil",
        "-Dsystemdunitdir=/etc/systemd/system",
        "-Dcatalogdir=no",
        "-Dexamplesdir=/srv/examples",
    ]
    run("meson", "setup", *options, str(tmp_path), SOURCE)
    plan = json.loads(run("meson", "introspect", "--install-plan", str(tmp_path)))
    folders = {
        "{systemdunitdir}": "/etc/systemd/system",
        "{examplesdir}": "/srv/examples",
        "{prefix}": "/opt/pgvigil",
    }
    places = set()
    for entry in (entry for section in plan.values() for entry in section.values()):
        place = entry["destination"]
        for name, folder in folders.items():
            place = place.replace(name, folder)
        places.add(place)
    assert {
        "{bindir}/pgvigil",
        "/etc/systemd/system/pgvigil.service",
        "/opt/pgvigil/lib/sysusers.d/pgvigil.conf",
        "/srv/examples",
    } <= places
    assert not [place for place in places if place.endswith(".catalog")]
    with open(tmp_path / "systemd" / "pgvigil.service", encoding="utf-8") as file:
        assert "ExecStart=/opt/pgvigil/bin/pgvigil run\n" in file.read()


def test_each_line_of_the_sandbox_has_its_reason():
    lines = unit_lines()
    at = next(i for i, line in enumerate(lines) if line.startswith("# --- The sandbox"))
    settings = [i for i in range(at, lines.index("[Install]")) if lines[i] and not lines[i].startswith("#")]
    assert len(settings) > 25
    # A comment stands above it, or above the group that it is in.
    for i in settings:
        above = i
        while lines[above] and not lines[above].startswith("#"):
            above -= 1
        assert lines[above].startswith("# "), f"{lines[i]} has no comment"
    assert "@" not in re.sub(r"@(system-service|privileged|resources)", "", "\n".join(lines)), "all is filled in"


def with_binary(tmp_path):
    """The unit with the binary where it lies here: verify looks for it."""
    path = tmp_path / "pgvigil.service"
    path.write_text("\n".join(unit_lines()).replace("/usr/bin/pgvigil", f"{INSTALLED}/usr/bin/pgvigil") + "\n")
    return str(path)


def test_verify_says_nothing(tmp_path):
    needs("systemd-analyze")
    # Exit status 0 also with keys that it does not know: what it prints counts.
    assert run("systemd-analyze", "verify", "--man=no", with_binary(tmp_path)) == ""


def test_verify_would_say_something(tmp_path):
    needs("systemd-analyze")
    path = with_binary(tmp_path)
    with open(path, "a", encoding="utf-8") as file:
        file.write("[Service]\nNoSuchKey=yes\n")
    assert "NoSuchKey" in run("systemd-analyze", "verify", "--man=no", path, status=None)


def test_exposure(tmp_path):
    needs("systemd-analyze")
    said = run("systemd-analyze", "security", "--offline=yes", "--no-pager", with_binary(tmp_path))
    level = float(re.search(r"Overall exposure level for pgvigil.service: ([0-9.]+)", said)[1])
    print(f"exposure level {level}")
    assert level <= EXPOSURE, said


def test_catalog_is_taken(tmp_path):
    needs("journalctl")
    root = str(tmp_path / "root")
    shutil.copytree(f"{INSTALLED}/usr/lib/systemd/catalog", f"{root}/usr/lib/systemd/catalog")
    os.makedirs(f"{root}/var/lib/systemd/catalog")
    assert run("journalctl", f"--root={root}", "--update-catalog") == ""
    listed = run("journalctl", f"--root={root}", "--list-catalog").splitlines()
    with open(f"{SOURCE}/systemd/pgvigil.catalog", encoding="utf-8") as file:
        ids = re.findall(r"^-- ([0-9a-f]{32})$", file.read(), re.MULTILINE)
    assert len(ids) > 10
    assert {line.partition(" ")[0] for line in listed} == set(ids)


def test_sysusers_is_taken(tmp_path):
    needs("systemd-sysusers")
    root = str(tmp_path / "root")
    os.makedirs(f"{root}/etc")
    run("systemd-sysusers", f"--root={root}", f"{INSTALLED}/usr/lib/sysusers.d/pgvigil.conf")
    with open(f"{root}/etc/group", encoding="utf-8") as file:
        assert re.search(r"^pgvigil:x:\d+:$", file.read(), re.MULTILINE)
    # No user: DynamicUser= would take that one instead of its own.
    assert not os.path.exists(f"{root}/etc/passwd")
