"""The README with the packages that it names: every block, the Python and the TypeScript one included."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path[:0] = [str(ROOT / "tests/e2e"), str(ROOT / "tests/stories"), str(ROOT / "tests/testgate")]
from reader import Reader, follow  # noqa: E402


@pytest.fixture
def reader(tmp_path, environment, installed):
    folder = tmp_path / "reader"
    folder.mkdir()
    node = shutil.which("node", path=os.environ["PLACET_NODE_22"])
    reader = Reader(folder, python=environment / "bin/python", typescript=(installed, Path(node)))
    yield reader
    reader.close()


def test_the_readme_works_with_the_packages_as_they_are_installed(reader):
    follow(ROOT / "README.md", reader)
    listed = json.loads(reader.run("placet list --json"))["requests"]
    # The quickstart, the shell, Python and TypeScript.
    assert [one["decided_by"] for one in listed] == [["bob"]] * 4
