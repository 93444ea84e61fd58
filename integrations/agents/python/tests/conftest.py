"""A real gate for the tests, started as tests/stories does, and its reviewer. Its policy: tests/testgate/README.md."""

import os
import sys
import threading
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
sys.path[:0] = [str(ROOT / "tests/stories"), str(HERE.parents[1] / "examples")]

from local_gate import BINARY, LocalGate  # noqa: E402
from placet import AsyncPlacet, Placet  # noqa: E402
from placet_client import wait_until  # noqa: E402
from receiver import free_port  # noqa: E402
from testgate import policy  # noqa: E402

ISSUER = "https://gate.example.test"
OWN = """
[[clients]]
id = "signed"
roles = ["requester"]
token = "EdDSA"
rate_per_minute = 60000

[[clients]]
id = "signed2"
roles = ["requester"]
token = "EdDSA"
rate_per_minute = 60000

[[clients]]
id = "mcp"
roles = ["requester"]
token = "HS256"
bearer = true
rate_per_minute = 60000

[[reviewers]]
id = "alice"
name = "Alice"
roles = ["finance"]

[[rules]]
name = "auto tool"
when = 'action.startsWith("claude.Auto")'
decide = "approve"
"""
POLICY = policy(OWN)


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"no gate at {BINARY}: `cargo build -p placet`, or set PLACET", returncode=3)
    for name in [name for name in os.environ if name.startswith("PLACET_")]:
        del os.environ[name]


class Desk:
    """The reviewer: answers what comes in, by the review page's form."""

    def __init__(self, gate):
        self.gate = gate
        self.answering = []

    def waiting(self, client, action, count=1, is_over=lambda: False):
        """A client's pending requests for an action, once there are so many."""

        def found():
            assert not is_over(), "the test has ended"
            rows = [
                row for row in client.list(status="pending", limit=100).json()["requests"] if row["action"] == action
            ]
            return rows if len(rows) >= count else None

        return wait_until(found, 60, f"{count} pending requests for {action}")

    def decide(self, approval, decision="approve", reviewer="bob", reason=None):
        answer = self.gate.link(approval, reviewer, seconds=60).vote(decision, reason=reason)
        assert answer.status == 200, answer.body
        return answer.json()

    def answers(self, client, action, *decisions, reviewer="bob", reason=None):
        """Answers the next requests for the action, one a decision, from a thread; `done()` returns what was asked."""
        self.answering.append(Answering(self, client, action, decisions, reviewer, reason))
        return self.answering[-1]

    def leave(self):
        """Nobody answers any more: what another test asks is none of this one's."""
        for answering in self.answering:
            answering.is_over.set()
        for answering in self.answering:
            answering.join(60)


class Answering(threading.Thread):
    def __init__(self, desk, client, action, decisions, reviewer, reason):
        super().__init__(daemon=True)
        self.desk, self.client, self.action, self.decisions = desk, client, action, decisions
        self.reviewer, self.reason = reviewer, reason
        self.asked, self.error, self.is_over = [], None, threading.Event()
        self.start()

    def run(self):
        try:
            for decision in self.decisions:
                approval = self.desk.waiting(self.client, self.action, is_over=self.is_over.is_set)[0]
                self.asked.append(self.desk.decide(approval, decision, self.reviewer, self.reason))
        except BaseException as error:  # handed to the test
            self.error = error

    def done(self):
        self.join(120)
        assert not self.is_alive(), "the reviewer was never asked"
        if self.error is not None:
            raise self.error
        return self.asked


@pytest.fixture(scope="session")
def running(tmp_path_factory):
    gate = LocalGate(tmp_path_factory.mktemp("gate"), POLICY)
    try:
        yield gate.start(seconds=60)
        assert "panicked" not in gate.logs()
    finally:
        gate.kill()


@pytest.fixture
def desk(running):
    desk = Desk(running)
    yield desk
    desk.leave()


@pytest.fixture(scope="session")
def raw(running):
    """Clients of the end-to-end suite, which share no code with the package under test."""
    known = {}

    def of(client_id):
        if client_id not in known:
            known[client_id] = running.client(client_id)
        return known[client_id]

    return of


@pytest.fixture(scope="session")
def connect(running, raw):
    """Makes clients of the package under test."""

    def make(client_id="agent", kind=Placet, **options):
        options.setdefault("algorithm", "EdDSA" if client_id.startswith("signed") else "HS256")
        options.setdefault("issuer", ISSUER)
        return kind(running.url, client_id, raw(client_id).secret, **options)

    return make


@pytest.fixture
def gate(connect):
    with connect() as client:
        yield client


@pytest.fixture
async def agate(connect):
    async with connect(kind=AsyncPlacet) as client:
        yield client


@pytest.fixture
def own_gate(tmp_path):
    """A gate that a test may kill and rotate, and the client `agent` of it."""
    gate = LocalGate(tmp_path, POLICY)
    try:
        gate.start(seconds=60)
        with Placet(gate.url, "agent", gate.secret("agent"), algorithm="HS256") as client:
            yield gate, client
    finally:
        gate.kill()


@pytest.fixture
def free_url():
    """An address that nobody answers at."""
    return f"http://127.0.0.1:{free_port()}"
