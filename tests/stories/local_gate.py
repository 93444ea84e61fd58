"""The gate on one machine: a `placet testgate`, its process and its data folder.

Nothing here knows how the gate works inside, with one exception that is marked: dumping the database, which the
promises are checked against.
"""

import ast
import fnmatch
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "testgate"))

import policy  # noqa: E402
from backend import Backend, Pace, kids  # noqa: E402
from placet_client import Http, Inbox, wait_until  # noqa: E402
from testgate import BINARY, GateProcess, environment  # noqa: E402


class LocalGate(Backend):
    """One gate, which ends with this process whatever happens."""

    pace = Pace(
        patience=1, quick=2, rung=1, carry=3, shortest=1, crowd=32, rounds=40, scans=100, hooks=0, calm=0.5, slack=3
    )
    issuer = policy.ISSUER

    def __init__(self, folder, text, port=0, arguments=()):
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.policy = self.folder / "placet.toml"
        self.port, self.arguments = port, tuple(arguments)
        self.gate = self.process = self.http = self.url = None
        self.events, self.settings = [], {}
        if text is not None:
            self.policy.write_text(text)

    def start(self, seconds=20):
        with open(self.folder / "stderr", "ab") as stderr:
            self.gate = GateProcess(
                self.command(), stderr, self.events, seconds, cwd=self.folder, env=environment() | self.settings
            )
        self.process = self.gate.process
        return self.reached_at(self.gate.started["url"])

    def command(self):
        """What both kinds of gate are started with."""
        own = ["--policy", str(self.policy)] if self.policy.exists() else []
        return ["--data", str(self.data), "--listen", f"127.0.0.1:{self.port}", *own, *self.arguments]

    def reached_at(self, url):
        self.url = url.rstrip("/")
        parts = urlsplit(self.url)
        if self.http is None:
            self.http = Http(parts.hostname, parts.port)
        self.http.host, self.http.port = parts.hostname, parts.port
        return self

    def kill(self):
        """kill -9, by process id."""
        if self.gate is not None:
            self.gate.kill()

    def stop(self, number=signal.SIGTERM, seconds=20):
        """Ends it by that signal; its exit code."""
        return None if self.gate is None else self.gate.stop(number, seconds)

    def alive(self):
        return self.process.poll() is None and self.http.send("GET", "/healthz", fresh=True).status == 200

    def logs(self):
        return (self.folder / "stderr").read_text(errors="replace")

    def cli(self, *arguments, **options):
        """A `placet` command on this gate's folder and policy."""
        own = ["--data", str(self.data)] + (["--policy", str(self.policy)] if self.policy.exists() else [])
        return placet(*arguments, *own, cwd=options.pop("cwd", self.folder), **options)

    def secret(self, client_id):
        return self.gate.ask("secret", client=client_id)["secret"]

    def messages(self, approval=None, reviewer="*", channel="*"):
        wanted = {
            "approval_id": "*" if approval is None else approval["approval_id"],
            "reviewer": reviewer, "channel": channel,
        }  # fmt: skip
        told = self.gate.told("notified")
        return [one for one in told if all(fnmatch.fnmatchcase(one[name], wanted[name]) for name in wanted)]

    def queue_messages(self, queue="backup"):
        return [one["body"] for one in self.gate.told("queued") if one["queue"] == queue]

    def inbox(self, reviewer):
        return Inbox(self.http, self.gate.ask("inbox_link", reviewer=reviewer)["inbox"])

    def practice(self, reviewer):
        return self.gate.ask("practice_link", reviewer=reviewer)["practice"]

    def push_policy(self, text):
        self.gate.ask("policy", text=text)

    def rotate(self):
        before = kids(self)
        self.gate.ask("rotate")
        wait_until(lambda: set(kids(self)) - set(before), 15, "the new signing key in the JWKS")

    def audit(self):
        return self.gate.ask("audit")["entries"]

    # -- the database: the one place that looks inside

    def databases(self):
        return sorted(path for pattern in ("*.db", "*.sqlite", "*.sqlite3") for path in self.data.glob(pattern))

    def dump(self):
        """Every row of every table, so that two dumps are equal exactly when nothing was written."""
        contents = {}
        for path in self.databases():
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
            try:
                connection.execute("BEGIN")
                names = "SELECT name FROM sqlite_master WHERE type = 'table'"
                for (table,) in connection.execute(names).fetchall():
                    rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
                    contents[f"{path.name}:{table}"] = sorted(map(repr, rows))
            finally:
                connection.close()
        assert contents, f"no database in {self.data}"
        return contents

    def is_sealed(self, dump):
        """A second after an entry was written the gate's own task seals it."""
        (head,) = dump["gate.db:log_head"]
        _, leaves, *_ = ast.literal_eval(head)
        return leaves == len(dump["gate.db:audit"])


SHARED = policy.shared(LocalGate.pace)


def placet(*arguments, cwd=None, seconds=60, stdin=None, env=None):
    return subprocess.run(
        [str(BINARY), *map(str, arguments)], cwd=cwd, env=environment() | (env or {}), input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip
