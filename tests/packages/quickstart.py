#!/usr/bin/env python3
"""Times the README's quickstart as a newcomer does it: from the packages of a folder to a decision.

    python3 integrations/packages/build.py --out packages --binary x86_64-unknown-linux-gnu=target/release/placet …
    tests/packages/quickstart.py packages/wheels

It makes an environment, installs the wheel into it, and runs the blocks of the README as they are written. Two things differ
from what a person does: the gate takes a port that is free, and Bob opens his link and presses Approve at once. Nothing is
downloaded. It prints the seconds of each step, and fails unless the request is approved.
"""

import os
import pty
import re
import select
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode

ROOT = Path(__file__).resolve().parents[2]
ADDRESS = "127.0.0.1:8484"
SECONDS = 120


def quickstart():
    """The three blocks of the README's quickstart: the policy, the gate, the request."""
    section = re.search(r"^## Quickstart.*?\n(.*?)^## ", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)[1]
    return re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


class Terminal:
    """What is written to a terminal, read from its other side."""

    def __init__(self, terminal):
        self.terminal, self.text = terminal, ""

    def wait_for(self, pattern):
        """The first text that matches."""
        until = time.monotonic() + SECONDS
        while not (found := re.search(pattern, self.text)):
            if time.monotonic() > until or not select.select([self.terminal], [], [], SECONDS)[0]:
                sys.exit(f"`{pattern}` was not written:\n{self.text}")
            try:
                self.text += os.read(self.terminal, 65536).decode(errors="replace")
            except OSError:  # Linux tells the end of a terminal by an error
                sys.exit(f"it has ended before `{pattern}` was written:\n{self.text}")
        return found[0]


def approve(link):
    """Opens the page, and presses its button."""
    page = urllib.request.urlopen(link, timeout=SECONDS).read().decode()
    nonce = re.search(r'name="nonce" value="([^"]+)"', page)[1]
    form = urlencode({"nonce": nonce, "decision": "approve", "reason": ""}).encode()
    urllib.request.urlopen(link, form, timeout=SECONDS).close()


def main(wheels):
    policy, serve, request = quickstart()
    steps = {}

    @contextmanager
    def timed(step):
        begun = time.monotonic()
        yield
        steps[step] = time.monotonic() - begun

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PLACET", "PYTHON"))}
        env = clean | {"PATH": f"{folder / 'venv/bin'}:{clean['PATH']}", "HOME": str(folder)}

        def words(block):
            return ["bash", "-euo", "pipefail", "-c", block]

        with timed("install it from the wheel, in a new environment"):
            subprocess.run([sys.executable, "-m", "venv", folder / "venv"], env=clean, check=True)
            subprocess.run(
                [folder / "venv/bin/pip", "install", "--quiet", "--no-deps", "--no-index", "--find-links", wheels, "placet"],
                env=clean, check=True,
            )  # fmt: skip
        with timed("placet init"):
            subprocess.run(
                words(policy), cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=True
            )
        with timed("placet serve, until it is ready"):
            block = f"exec {serve.strip()}".replace(ADDRESS, "127.0.0.1:0")
            # In a terminal: Bob's link is written to nothing else.
            terminal, theirs = pty.openpty()
            gate = subprocess.Popen(
                words(block), cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
            )
            os.close(theirs)
            output = Terminal(terminal)
            output.wait_for(r"ready")
        try:
            with timed("placet request, Bob approves, it ends"):
                asking = subprocess.Popen(
                    words(request), cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
                )
                approve(output.wait_for(r"http://[\w.:]+/r/\w+"))
                if asking.wait(SECONDS) != 0:
                    sys.exit("the request was not approved")
        finally:
            gate.terminate()
            gate.wait(SECONDS)
    for step, seconds in steps.items():
        print(f"{seconds:8.2f} s  {step}")
    print(f"{sum(steps.values()):8.2f} s  from the package to a decision")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]).resolve())
