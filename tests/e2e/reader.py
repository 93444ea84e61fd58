"""A person who does what a page says: block by block, as it is written, in one folder.

Two things are put in place of what a page says: the port, since a test takes one that is free, and the reviewer, whose part
a thread plays while a block waits for a decision. `SKIPPED` names the blocks that are not run, and why.
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
# The rules of the recipes are no policies of their own: test_policy_reference.py puts them into one.
ELSEWHERE = {ROOT / "docs/policy-recipes.md"}
PAGES = [ROOT / "README.md", *sorted(set((ROOT / "docs").rglob("*.md")) - ELSEWHERE)]

ADDRESS = "127.0.0.1:8484"
SECONDS = 120

# What a page's part of a policy stands in.
FRAME = """
[[clients]]
id = "my-agent"
owner = "olga"
[[reviewers]]
id = "olga"
email = "olga@example.com"
roles = ["owners", "finance"]
[[reviewers]]
id = "otto"
email = "otto@example.com"
roles = ["owners", "finance"]
[[rules]]
name = "a rule of the frame"
when = 'action == "frame.only"'
stages = [{ ask = ["owners"], within = "1h" }]
"""

# By the first line of a block.
SKIPPED = {
    "cargo run -p placet -- demo": "builds with cargo, and runs every test; the demo is run by a test of its own",
    "cargo install --locked --path crates/placet": "a release build of some minutes; `tests/run packages` installs a debug build",
    "pip install aws-sam-cli cargo-lambda": "deploys to AWS; `tests/run aws` deploys the same template onto a local one",
    "sudo install -m 0755 placet /usr/bin/placet": "for a machine with systemd; `tests/run infra` looks at the units",
    "placet channel set slack --aws": "for a stack on AWS; `tests/aws/test_chats.py` does the same on a local one",
    "cd infra": "for a container engine with compose; `tests/run n8n` runs the same processes and settings",
    "docker compose exec placet placet backup": "likewise",
}


def blocks(page):
    """The kind and text of each fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def reason_to_skip(text):
    return next((why for first, why in SKIPPED.items() if text.startswith(first)), None)


def needs_a_package(kind, text):
    """Whether a block uses a client's package: the e2e tests have none, and tests/packages runs those."""
    return kind == "ts" or (kind == "python" and "from placet import" in text)


class Reader:
    """A person at a terminal: a folder, and variables that stay from one block to the next.

    `python` has the Python package where a page uses it, and `typescript` is a project that has the npm package, with the
    Node to run it.
    """

    def __init__(self, folder, python=sys.executable, typescript=None):
        self.folder, self.python, self.typescript = folder, python, typescript
        programs = folder.parent / "programs"
        programs.mkdir()
        (programs / "placet").symlink_to(BINARY)
        # `python3` of the page is the one that runs these tests.
        (programs / "python3").symlink_to(python)
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
            own = shlex.join(self.program(program, self.at_our_port(text)))
            command = ["bash", "-euc", f". {self.variables}\n{own}"]
        ran = subprocess.run(
            command, cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=SECONDS,
        )  # fmt: skip
        assert ran.returncode == 0, f"{text}\nended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def program(self, kind, text):
        """The words that run a block as a program."""
        if kind == "python":
            (self.folder.parent / "block.py").write_text(text)
            # By its own name: a venv is known by where its python lies.
            return [str(self.python), str(self.folder.parent / "block.py")]
        project, node = self.typescript
        (project / "block.ts").write_text(text)
        return [str(node), "--disable-warning=ExperimentalWarning", str(project / "block.ts")]

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


def follow(page, reader):
    """Does what a page says, block by block."""
    for kind, text in blocks(page):
        if reason_to_skip(text) or (needs_a_package(kind, text) and reader.typescript is None):
            continue
        match kind:
            case "sh" if text.startswith("placet serve"):
                reader.serve(text)
            case "sh" if "--wait" in text:
                with reader.bob():
                    reader.run(text)
            case "sh":
                reader.run(text)
            case "python" | "ts":
                with reader.bob():
                    printed = reader.run(text, program=kind)
                # A snippet that waits for nothing, or takes a no for an answer, prints nothing.
                assert printed.strip(), f"this block has printed nothing:\n{text}"
            case "toml":
                (reader.folder / "page.toml").write_text(text if "[[clients]]" in text else FRAME + text)
                said = reader.run("placet policy check page.toml")
                # A part of a policy may leave something to wonder at; a whole one may not.
                assert said.startswith("ok") or ("[[clients]]" not in text and "\nok" in said), said
            case "json":
                json.loads(text)
            case "":
                pass  # a drawing, or a list
            case _:
                pytest.fail(f"no test knows how to run a block of the kind `{kind}`")
