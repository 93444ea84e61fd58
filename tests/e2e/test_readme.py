"""The blocks of README.md and docs/ that a person can run, run as they are written (`reader.py`)."""

import json
import re
import subprocess

import pytest
from local_gate import BINARY
from reader import PAGES, ROOT, SKIPPED, Reader, blocks, follow, needs_a_package, reason_to_skip

# Pages whose commands are looked up in the command's own help.
NAMING = [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]


@pytest.fixture
def reader(tmp_path):
    folder = tmp_path / "reader"
    folder.mkdir()
    made = Reader(folder)
    yield made
    made.close()


def test_the_readme_leads_from_a_policy_to_a_token_that_is_used(reader):
    follow(ROOT / "README.md", reader)
    listed = json.loads(reader.run("placet list --json"))["requests"]
    waited = json.loads((reader.folder / "approval.json").read_text())["request_id"]
    assert {one["request_id"]: one["status"] for one in listed} == {"invoice-4711": "approved", waited: "approved"}
    assert [one["decided_by"] for one in listed] == [["bob"], ["bob"]]


def test_the_readme_is_short_enough_to_be_read():
    assert len((ROOT / "README.md").read_text().split()) <= 900


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_the_documents_runs_as_it_is_written(page, reader):
    follow(page, reader)


def test_a_page_that_uses_a_package_is_one_that_the_packages_tests_run():
    using = {page for page in PAGES if any(needs_a_package(*block) for block in blocks(page))}
    assert using == {ROOT / "README.md"}


def test_what_is_skipped_is_there_once():
    texts = [text for page in PAGES for _, text in blocks(page)]
    for first in SKIPPED:
        assert sum(text.startswith(first) for text in texts) == 1, f"no block, or more than one, begins with `{first}`"


def test_the_first_command_does_what_the_page_says(reader):
    assert "approved" in reader.run("placet demo --decide approve")


def named_tests():
    """Each file in backticks in the tables of tests, with the name of the test in it where one is given."""
    for page in (ROOT / "SECURITY.md", ROOT / "docs/compared.md"):
        for path, name in re.findall(r"`([\w./-]+/[\w./-]+)(?:::(\w+))?`", page.read_text()):
            yield page.name, path, name


def test_what_the_tables_call_a_test_is_one():
    named = list(named_tests())
    assert len(named) > 60
    for page, path, name in named:
        assert (ROOT / path).exists(), f"{page} names {path}"
        assert not name or f" {name}(" in (ROOT / path).read_text(), f"{page} names {name} in {path}"


def named_commands():
    """Each command in backticks, and each one of a block that is not run, with the page that names it."""
    for page in NAMING:
        outside = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
        named = re.findall(r"`(placet [^`]+)`", outside)
        for _, text in blocks(page):
            if reason_to_skip(text):
                named += re.findall(r"^(placet [^#\n]+)", text, re.MULTILINE)
        for command in named:
            yield page.name, command.removeprefix("placet ").split()


def test_every_command_and_option_that_a_page_names_is_there(reader):
    helps = {}

    def help_of(words):
        if words not in helps:
            ran = subprocess.run(
                [BINARY, *words, "--help"], env=reader.environment, capture_output=True, text=True, timeout=60
            )
            helps[words] = ran.stdout if ran.returncode == 0 else None
        return helps[words]

    checked = 0
    for page, words in named_commands():
        path = ()
        while (
            len(path) < len(words) and re.fullmatch("[a-z]+", words[len(path)]) and help_of((*path, words[len(path)]))
        ):
            path = (*path, words[len(path)])
        assert path or words[0].startswith("--"), f"{page}: `placet {' '.join(words)}` is no command"
        for option in (word for word in words if word.startswith("--") and word != "--"):
            assert option in help_of(path), f"{page}: `placet {' '.join(words)}`: there is no {option}"
        checked += 1
    assert checked > 40
