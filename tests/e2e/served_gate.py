"""A gate as the operator runs it, `placet serve`: what these suites kill, signal and look at from outside."""

import atexit
import fnmatch
import json
import os
import re
import signal
import sqlite3
import subprocess

from backend import kids
from local_gate import BINARY, LocalGate, environment
from placet_client import wait_until


class ServedGate(LocalGate):
    """One `placet serve`, stopped by its own process id whatever happens."""

    runs = 0

    def start(self, seconds=20):
        self.runs += 1
        out = self.folder / f"stdout.{self.runs}"
        with open(out, "wb") as stdout, open(self.folder / "stderr", "ab") as stderr:
            self.process = subprocess.Popen(
                [str(BINARY), "serve", *self.command()], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr,
                cwd=self.folder, env=environment() | self.settings,
            )  # fmt: skip
        atexit.register(self.kill)

        def ready():
            assert self.process.poll() is None, f"the gate ended with {self.process.returncode}: {self.logs()[-2000:]}"
            return re.search(r"^ready (http://\S+)\s", out.read_text(), re.MULTILINE)

        try:
            return self.reached_at(wait_until(ready, seconds, "the gate's `ready` line").group(1))
        except BaseException:
            self.kill()
            raise

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

    def secret(self, client_id):
        ran = self.cli("client", "secret", client_id)
        assert ran.returncode == 0, ran
        secret = ran.stdout.strip().splitlines()[-1]
        assert re.fullmatch(r"whsec_[0-9a-f]{64}", secret), secret
        return secret

    def messages(self, approval=None, reviewer="*", channel="*"):
        """The outbox, oldest name first; a file another process reads is whole or not there."""
        approval_id = "*" if approval is None else approval["approval_id"]
        pattern = re.compile(fnmatch.translate(f"{approval_id}.*.{reviewer}.{channel}.json"))
        folder = self.data / "outbox"
        names = sorted(filter(pattern.match, os.listdir(folder))) if folder.exists() else []
        return [json.loads((folder / name).read_text()) for name in names]

    def queue_messages(self, queue="backup"):
        return [json.loads(path.read_text()) for path in (self.data / "queue" / queue).glob("*.json")]

    def practice(self, reviewer):
        ran = self.cli("practice", reviewer, "--json")
        assert ran.returncode == 0, ran
        return json.loads(ran.stdout)["link"]

    def push_policy(self, text):
        self.policy.write_text(text)

    def rotate(self):
        before = kids(self)
        ran = self.cli("keys", "rotate", "--force")
        assert ran.returncode == 0, ran
        wait_until(lambda: set(kids(self)) - set(before), 15, "the new signing key in the JWKS")

    def audit(self):
        """Every audit row as it lies in the database, whether a gate serves or not."""
        return [json.loads(entry) for (entry,) in self.query("SELECT entry FROM audit ORDER BY position")]

    def integrity(self):
        return [row[0] for row in self.query("PRAGMA integrity_check")]

    def query(self, sql):
        connection = sqlite3.connect(f"file:{self.data / 'gate.db'}?mode=ro", uri=True, timeout=10)
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()
