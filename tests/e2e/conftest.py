"""Fixtures: one gate and one receiver for the tests that do not disturb each other, and gates of their own for the rest."""

import pytest

import policy
from placet_client import BINARY, Client, Gate, Receiver


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"no gate at {BINARY}: `cargo build -p placet`, or set PLACET", returncode=3)


@pytest.fixture(scope="session")
def gate(tmp_path_factory):
    """The gate most tests share, with the shared policy."""
    running = Gate(tmp_path_factory.mktemp("gate"), policy.SHARED)
    try:
        yield running.start()
        assert "panicked" not in running.stderr()
    finally:
        running.kill()


@pytest.fixture
def own_gate(tmp_path):
    """Makes gates that a test may stop, kill and reconfigure."""
    made = []

    def make(text=policy.SHARED, **options):
        folder = tmp_path / f"gate{len(made)}"
        folder.mkdir()
        made.append(Gate(folder, text, **options))
        return made[-1]

    yield make
    for running in made:
        running.kill()


@pytest.fixture(scope="session")
def receiver():
    listening = Receiver()
    yield listening
    listening.close()


@pytest.fixture(scope="session")
def secrets(gate):
    """The clients' secrets, as `placet client secret` prints them, fetched once."""
    known = {}

    def secret(client_id):
        if client_id not in known:
            known[client_id] = gate.secret(client_id)
        return known[client_id]

    return secret


def shared_client(client_id):
    @pytest.fixture(scope="session", name=client_id)
    def one(gate, secrets):
        return Client(gate.http, client_id, secrets(client_id))

    return one


agent = shared_client("agent")
other = shared_client("other")
closed = shared_client("closed")
slow = shared_client("slow")
executor = shared_client("executor")
executor2 = shared_client("executor2")
zap = shared_client("zap")
jira = shared_client("jira")
auditor = shared_client("auditor")
