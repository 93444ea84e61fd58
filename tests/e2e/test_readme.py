"""The blocks of README.md and docs/ that a person can run, run as they are written, in one folder and one after the other.

Two things are put in place of what the page says: the port, since a test takes one that is free, and the reviewer, whose
part a thread plays while a block waits for a decision. `SKIPPED` names the blocks that are not run, and why.
"""

import json
import re
import shlex
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from local_gate import BINARY, environment
from placet_client import Http, Link, wait_until

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
# Pages whose commands are looked up in the command's own help.
NAMING = [*PAGES, ROOT / "ARCHITECTURE.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md"]

ADDRESS = "127.0.0.1:8484"
SECONDS = 120

# By the first line of a block.
SKIPPED = {
    "cargo run -p placet -- demo": "builds with cargo, and runs every test; the demo is run below, without cargo",
    "cargo build --release -p placet": "a release build of some minutes; the binary under test takes its place",
    "pip install aws-sam-cli cargo-lambda": "deploys to AWS; tests/run aws deploys the same template onto a local one",
}


def blocks(page):
    """The kind and text of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def reason_to_skip(text):
    return next((why for first, why in SKIPPED.items() if text.startswith(first)), None)


class Reader:
    """A person at a terminal: a folder, and variables that stay from one block to the next."""

    def __init__(self, folder):
        self.folder = folder
        programs = folder.parent / "programs"
        programs.mkdir()
        (programs / "placet").symlink_to(BINARY)
        # `python3` of the page is the one that runs these tests.
        (programs / "python3").symlink_to(sys.executable)
        self.variables = folder.parent / "variables"
        self.variables.write_text("")
        path = f"{programs}:{environment()['PATH']}"
        self.environment = {name: value for name, value in environment().items() if name != "PLACET"} | {"PATH": path}
        self.server = self.url = None

    def at_our_port(self, text):
        return text.replace(ADDRESS, urlsplit(self.url).netloc if self.url else "127.0.0.1:0")

    def run(self, text, program="bash"):
        """Runs a block to its end; what it printed."""
        if program == "bash":
            script = f". {self.variables}\n{self.at_our_port(text)}\nexport -p > {self.variables}\n"
            command = ["bash", "-euo", "pipefail", "-c", script]
        else:
            (self.folder.parent / "block.py").write_text(self.at_our_port(text))
            own = shlex.join(["python3", str(self.folder.parent / "block.py")])
            command = ["bash", "-euc", f". {self.variables}\n{own}"]
        ran = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS,
        )  # fmt: skip
        assert ran.returncode == 0, f"{text}\nended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def serve(self, text):
        """Starts the gate of a block, and leaves it running."""
        out = self.folder.parent / "ready"
        with open(out, "wb") as stdout, open(self.folder.parent / "log", "wb") as stderr:
            self.server = subprocess.Popen(
                ["bash", "-c", f"exec {self.at_our_port(text)}"], cwd=self.folder, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
            )  # fmt: skip

        def ready():
            log = (self.folder.parent / "log").read_text()
            assert self.server.poll() is None, f"`{text}` ended with {self.server.returncode}: {log}"
            return re.search(r"^ready (http://\S+)\s", out.read_text(), re.MULTILINE)

        self.url = wait_until(ready, 20, "the gate's `ready` line").group(1)

    def close(self):
        if self.server is not None:
            self.server.terminate()
            try:
                assert self.server.wait(20) == 0, (self.folder.parent / "log").read_text()
            finally:
                if self.server.poll() is None:
                    self.server.kill()
                    self.server.wait(10)

    @contextmanager
    def bob(self):
        """Bob approves what he is sent from now on."""
        outbox = self.folder / "placet-data" / "outbox"
        seen, ended, failures = set(outbox.glob("*.bob.*.json")), threading.Event(), []
        parts = urlsplit(self.url)
        http = Http(parts.hostname, parts.port)

        def approve():
            while not ended.wait(0.05):
                for path in sorted(set(outbox.glob("*.bob.*.json")) - seen):
                    seen.add(path)
                    try:
                        Link(http, json.loads(path.read_text())["url"]).approve()
                    except (AssertionError, OSError) as failure:
                        failures.append(failure)

        thread = threading.Thread(target=approve)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join(20)
        assert not failures, failures


@pytest.fixture
def reader(tmp_path):
    folder = tmp_path / "reader"
    folder.mkdir()
    made = Reader(folder)
    yield made
    made.close()


def follow(page, reader):
    """Does what a page says, block by block."""
    for kind, text in blocks(page):
        if reason_to_skip(text):
            continue
        match kind:
            case "sh" if text.startswith("placet serve"):
                reader.serve(text)
            case "sh" if "--wait" in text:
                with reader.bob():
                    reader.run(text)
            case "sh":
                reader.run(text)
            case "python":
                with reader.bob():
                    printed = reader.run(text, program="python3")
                # A snippet that waits for nothing, or takes a no for an answer, prints nothing.
                assert printed.strip(), f"this block has printed nothing:\n{text}"
            case "toml":
                (reader.folder / "page.toml").write_text(text)
                said = reader.run("placet policy check page.toml")
                assert said.startswith("ok"), said
            case "":
                pass  # a drawing, or a list
            case _:
                pytest.fail(f"no test knows how to run a block of the kind `{kind}`")


def test_the_readme_leads_from_a_policy_to_a_token_that_is_used(reader):
    follow(ROOT / "README.md", reader)
    listed = json.loads(reader.run("placet list --json"))["requests"]
    waited = json.loads((reader.folder / "approval.json").read_text())["request_id"]
    assert {one["request_id"]: one["status"] for one in listed} == {
        "invoice-4711": "cancelled",
        waited: "approved",
        "invoice-4713": "approved",
    }
    assert [one["decided_by"] for one in listed if one["approved"]] == [["bob"], ["bob"]]


@pytest.mark.parametrize("page", PAGES[1:], ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_of_the_documents_runs_as_it_is_written(page, reader):
    follow(page, reader)


def test_what_is_skipped_is_there_once():
    texts = [text for page in PAGES for _, text in blocks(page)]
    for first in SKIPPED:
        assert sum(text.startswith(first) for text in texts) == 1, f"no block, or more than one, begins with `{first}`"


def test_the_first_command_does_what_the_page_says(reader):
    assert "approved" in reader.run("placet demo --decide approve")


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
    assert checked > 10
