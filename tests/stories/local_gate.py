"""The gate on one machine: the `placet` binary, its process and its data folder.

Nothing here knows how the gate works inside, with two exceptions that are marked: reading the audit rows and dumping
the database, which the promises are checked against.
"""

import atexit
import fnmatch
import json
import os
import re
import signal
import sqlite3
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import policy
from backend import Backend, Pace, kids
from placet_client import Http, wait_until

HERE = Path(__file__).resolve().parent
BINARY = Path(os.environ.get("PLACET", HERE / "../../target/debug/placet")).resolve()


class LocalGate(Backend):
    """One `placet serve`, stopped by its own process id whatever happens."""

    pace = Pace(
        patience=1, quick=2, rung=1, carry=3, shortest=1, crowd=32, rounds=40, scans=100, hooks=0, calm=0.5, slack=3
    )
    issuer = policy.ISSUER

    def __init__(self, folder, text, port=0, arguments=()):
        self.folder = Path(folder)
        self.data = self.folder / "data"
        self.policy = self.folder / "placet.toml"
        self.port, self.arguments, self.runs = port, tuple(arguments), 0
        self.process = self.http = self.url = None
        self.settings = {}
        if text is not None:
            self.policy.write_text(text)

    def start(self, seconds=20):
        self.runs += 1
        out = self.folder / f"stdout.{self.runs}"
        command = [str(BINARY), "serve", "--data", str(self.data), "--listen", f"127.0.0.1:{self.port}"]
        if self.policy.exists():
            command += ["--policy", str(self.policy)]
        with open(out, "wb") as stdout, open(self.folder / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(
                [*command, *self.arguments], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                cwd=self.folder, env=environment() | self.settings,
            )  # fmt: skip
        atexit.register(self.kill)

        def ready():
            assert self.process.poll() is None, f"the gate ended with {self.process.returncode}: {self.logs()[-2000:]}"
            return re.search(r"^ready (http://\S+)\s", out.read_text(), re.MULTILINE)

        try:
            self.url = wait_until(ready, seconds, "the gate's `ready` line").group(1).rstrip("/")
        except BaseException:
            self.kill()
            raise
        parts = urlsplit(self.url)
        if self.http is None:
            self.http = Http(parts.hostname, parts.port)
        self.http.host, self.http.port = parts.hostname, parts.port
        return self

    def kill(self):
        """kill -9, by process id."""
        atexit.unregister(self.kill)
        if self.process is not None:
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(10)

    def stop(self, number=signal.SIGTERM, seconds=10):
        """Asks the gate to end; its exit code."""
        if self.process is None or self.process.poll() is not None:
            return None if self.process is None else self.process.returncode
        self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.kill()

    def alive(self):
        return self.process.poll() is None and self.http.send("GET", "/healthz", fresh=True).status == 200

    def logs(self):
        return (self.folder / "stderr").read_text(errors="replace")

    def cli(self, *arguments, **options):
        """A `placet` command on this gate's folder and policy."""
        own = ["--data", str(self.data)] + (["--policy", str(self.policy)] if self.policy.exists() else [])
        return placet(*arguments, *own, cwd=options.pop("cwd", self.folder), **options)

    def secret(self, client_id):
        ran = self.cli("client", "secret", client_id)
        assert ran.returncode == 0, ran
        secret = ran.stdout.strip().splitlines()[-1]
        assert re.fullmatch(r"whsec_[0-9a-f]{64}", secret), secret
        return secret

    # -- messages

    def messages(self, approval=None, reviewer="*", channel="*"):
        """The outbox, oldest name first; a file another process reads is whole or not there."""
        approval_id = "*" if approval is None else approval["approval_id"]
        pattern = re.compile(fnmatch.translate(f"{approval_id}.*.{reviewer}.{channel}.json"))
        folder = self.data / "outbox"
        names = sorted(filter(pattern.match, os.listdir(folder))) if folder.exists() else []
        return [json.loads((folder / name).read_text()) for name in names]

    def queue_messages(self, queue="backup"):
        return [json.loads(path.read_text()) for path in (self.data / "queue" / queue).glob("*.json")]

    def push_policy(self, text):
        self.policy.write_text(text)

    def rotate(self):
        before = kids(self)
        ran = self.cli("keys", "rotate", "--force")
        assert ran.returncode == 0, ran
        wait_until(lambda: set(kids(self)) - set(before), 15, "the new signing key in the JWKS")

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
                for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
                    rows = connection.execute(f'SELECT * FROM "{table}"').fetchall()
                    contents[f"{path.name}:{table}"] = sorted(map(repr, rows))
            finally:
                connection.close()
        assert contents, f"no database in {self.data}"
        return contents

    def audit(self):
        """Every audit row as a dict; columns that hold a JSON object are spread over it."""
        entries = []
        for path in self.databases():
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
            connection.row_factory = sqlite3.Row
            try:
                tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (table,) in tables:
                    if "audit" in table:
                        entries += [spread(row) for row in connection.execute(f'SELECT * FROM "{table}"')]
            finally:
                connection.close()
        return entries

    def integrity(self):
        results = []
        for path in self.databases():
            connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
            results += [row[0] for row in connection.execute("PRAGMA integrity_check")]
            connection.close()
        return results


SHARED = policy.shared(LocalGate.pace)


def spread(row):
    entry = {}
    for name in row.keys():
        value = row[name]
        if isinstance(value, bytes):
            try:
                value = value.decode()
            except UnicodeDecodeError:
                pass
        if isinstance(value, str) and value[:1] == "{":
            try:
                entry.update(json.loads(value))
                continue
            except ValueError:
                pass
        entry[name] = value
    return entry


def environment():
    """The caller's environment without what would configure the gate from outside."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PLACET")}


def placet(*arguments, cwd=None, seconds=60, stdin=None):
    return subprocess.run(
        [str(BINARY), *map(str, arguments)], cwd=cwd, env=environment(), input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None, capture_output=True, text=True, timeout=seconds,
    )  # fmt: skip
