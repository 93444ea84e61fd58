"""A gate that `placet testgate` runs, steered by JSON lines (README.md), and the policy that the suites share."""

import itertools
import json
import os
import re
import subprocess
import threading
from pathlib import Path

HERE = Path(__file__).resolve().parent
BINARY = Path(os.environ.get("PLACET", HERE / "../../target/debug/placet")).resolve()
BASE = (HERE / "../fixtures/policy.toml").read_text()


class GateProcess:
    """One process. `events` gets what it tells, and may be shared by those that follow each other."""

    def __init__(self, arguments, stderr, events=None, seconds=60, **options):
        self.events = [] if events is None else events
        self.answers, self.numbers, self.changed = {}, itertools.count(1), threading.Condition()
        self.process = subprocess.Popen(
            [str(BINARY), "testgate", *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
            **{"env": environment(), **options},
        )  # fmt: skip
        self.started = self.failure = None
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()
        with self.changed:
            self.changed.wait_for(lambda: self.started or self.failure, seconds)
        if self.started is None:
            self.kill()
            raise AssertionError(self.failure or f"the gate was not ready after {seconds} s")

    def read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            with self.changed:
                match said.get("event"):
                    case "ready":
                        self.started = said
                    case "failed":
                        self.failure = said["message"]
                    case None:
                        self.answers[said["id"]] = said
                    case _:
                        self.events.append(said)
                self.changed.notify_all()
        with self.changed:
            self.failure = self.failure or "the gate has ended"
            self.changed.notify_all()

    def ask(self, do, seconds=30, **fields):
        """The answer to a command."""
        number = next(self.numbers)
        self.process.stdin.write(json.dumps({"id": number, "do": do, **fields}).encode() + b"\n")
        self.process.stdin.flush()
        with self.changed:
            self.changed.wait_for(lambda: number in self.answers or self.failure, seconds)
            assert number in self.answers, f"{do}: {self.failure or 'no answer'}"
            answer = self.answers.pop(number)
        assert "error" not in answer, f"{do}: {answer['error']}"
        return answer

    def told(self, event):
        """What it told of that kind; a retry takes the place of the first try."""
        return list({said["message_id"]: said for said in list(self.events) if said["event"] == event}.values())

    def kill(self):
        """kill -9, by process id."""
        if self.process.poll() is None:
            self.process.kill()
        self.close()

    def stop(self, number=None, seconds=20):
        """Ends it cleanly, by that signal or by the end of its input; its exit code."""
        if self.process.poll() is None:
            if number is None:
                self.process.stdin.close()
            else:
                self.process.send_signal(number)
        try:
            return self.process.wait(seconds)
        finally:
            self.kill()

    def close(self):
        self.process.wait(10)
        self.reader.join(10)
        self.process.stdout.close()
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass


def environment():
    """The caller's environment without what would configure the gate from outside."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PLACET")}


def policy(own=""):
    """The shared policy with a suite's own tables; those of the same id or name take the place of the shared ones."""
    head, *shared = tables(BASE)
    own_head, *added = tables(own)
    replaced = {key(table): table for table in added}
    kept = [replaced.pop(key(table), table) for table in shared]
    return "".join([head, own_head, *replaced.values(), *kept])


def tables(text):
    """What is before the first table, and each table."""
    return [part.rstrip() + "\n\n" if part.strip() else "" for part in re.split(r"^(?=\[\[)", text, flags=re.MULTILINE)]


def key(table):
    """What a table is, and its id or name."""
    return re.match(r'\[\[(\w+)\]\]\s+(?:id|name) = "([^"]*)"', table).groups()
