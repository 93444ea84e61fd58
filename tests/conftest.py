"""Fixtures of both suites: `stories`, which run on either backend, and `e2e`, which are of the local gate alone.

In this folder:

    pytest stories e2e                     the gate on one machine
    pytest stories aws --backend aws       the gate deployed to a local AWS
"""

import pytest
from chats import Slack, Telegram
from local_gate import BINARY, SHARED, LocalGate
from placet_client import Patience
from receiver import Receiver


def pytest_addoption(parser):
    parser.addoption("--backend", choices=("local", "aws"), default="local", help="what the gate runs on")


def pytest_configure(config):
    if config.getoption("--backend") == "aws":
        import aws_session

        Patience.factor = aws_session.PACE.patience
        config.pluginmanager.register(aws_session.Session(config), "aws-session")


def pytest_sessionstart(session):
    if session.config.getoption("--backend") == "local" and not BINARY.exists():
        pytest.exit(f"no gate at {BINARY}: `cargo build -p placet`, or set PLACET", returncode=3)


@pytest.fixture(scope="session")
def backend(request):
    return request.config.getoption("--backend")


@pytest.fixture(scope="session")
def gate(backend, request, tmp_path_factory):
    """The gate most tests share, with the shared policy."""
    if backend == "aws":
        with request.config.pluginmanager.get_plugin("aws-session").shared_gate() as running:
            yield running
            assert "panicked" not in running.logs()
        return
    running = LocalGate(tmp_path_factory.mktemp("gate"), SHARED)
    try:
        yield running.start()
        assert "panicked" not in running.logs()
    finally:
        running.kill()


@pytest.fixture
def own_gate(backend, request, tmp_path):
    """Makes a gate with the shared policy that a test has for itself: it serves, on either backend.

    On AWS with those parameters of the template.
    """
    made = []

    def make(**parameters):
        if backend == "aws":
            made.append(request.config.pluginmanager.get_plugin("aws-session").own_gate(**parameters))
        else:
            folder = tmp_path / f"own{len(made)}"
            folder.mkdir()
            made.append(LocalGate(folder, SHARED))
            made[-1].start()
        return made[-1]

    yield make
    for running in made:
        running.kill()


@pytest.fixture(scope="session")
def receiver():
    listening = Receiver()
    yield listening
    listening.close()


@pytest.fixture
def slack():
    played = Slack()
    yield played
    played.close()


@pytest.fixture
def telegram():
    played = Telegram()
    yield played
    played.close()


@pytest.fixture(scope="session")
def secrets(gate):
    """The clients' secrets, as `placet client secret` prints them, fetched once."""
    known = {}

    def secret(client_id):
        if client_id not in known:
            known[client_id] = gate.client(client_id)
        return known[client_id].secret

    secret.client = lambda client_id: (secret(client_id), known[client_id])[1]
    return secret


def shared_client(client_id):
    @pytest.fixture(scope="session", name=client_id)
    def one(secrets):
        return secrets.client(client_id)

    return one


agent = shared_client("agent")
other = shared_client("other")
lister = shared_client("lister")
closed = shared_client("closed")
newcomer = shared_client("newcomer")
often = shared_client("often")
slow = shared_client("slow")
executor = shared_client("executor")
executor2 = shared_client("executor2")
zap = shared_client("zap")
jira = shared_client("jira")
auditor = shared_client("auditor")
