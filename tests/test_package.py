"""The root folder is the package: wheel, folders and import agree."""

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import lrscape

ROOT = Path(__file__).parent.parent
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]


def test_listed_packages_are_the_folders_with_code():
    folders = {".".join(["lrscape", *p.parent.relative_to(ROOT).parts]) for p in ROOT.glob("*/__init__.py")}
    assert set(PACKAGES) == (folders | {"lrscape"}) - {"lrscape.benchmarks"}


@pytest.mark.slow
def test_wheel_contains_the_package_and_nothing_else(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)],
        check=True, capture_output=True,
    )  # fmt: skip
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"lrscape"}
    expected = {f"lrscape/{path.name}" for path in ROOT.glob("*.py")}
    for package in PACKAGES[1:]:
        folder = ROOT / package.removeprefix("lrscape.")
        expected |= {f"{package.replace('.', '/')}/{path.name}" for path in folder.glob("*.py")}
    assert {name for name in names if name.endswith(".py")} == expected
    assert "lrscape/py.typed" in names
    assert len(list(tmp_path.glob("*.tar.gz"))) == 1


def test_no_twin_of_a_room_is_imported_at_the_top_level():
    code = (
        "import sys, lrscape.cli, lrscape.testing, lrscape.viz, lrscape.tda, lrscape.landscape, lrscape.penalties;"
        "rooms = {'landscape', 'schedulers', 'tda', 'viz', 'cli', 'testing', 'optim', 'penalties'};"
        "assert not rooms & set(sys.modules), rooms & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)


def test_version():
    assert lrscape.__version__.count(".") == 2
    found = subprocess.run([sys.executable, "-m", "lrscape", "--version"], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == f"lrscape {lrscape.__version__}"
