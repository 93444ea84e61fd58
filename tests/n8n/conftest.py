"""Fixtures: one gate and one real n8n for the tests that do not disturb each other, and another pair for those that kill."""

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent / "stories"))

from local_gate import BINARY, LocalGate  # noqa: E402
from n8n_policy import POLICY  # noqa: E402
from n8n_server import INSTALLED, N8n  # noqa: E402
from receiver import free_port  # noqa: E402


def pytest_sessionstart(session):
    if not BINARY.exists():
        pytest.exit(f"no gate at {BINARY}: `cargo build -p placet`, or set PLACET", returncode=3)
    if not (INSTALLED / "stamp").exists():
        pytest.exit(f"no n8n in {INSTALLED}: run `tests/run n8n`, which installs it", returncode=3)


class Pair:
    """A gate, and an n8n that holds the gate's credential."""

    def __init__(self, folder):
        (folder / "gate").mkdir(parents=True)
        self.gate = LocalGate(folder / "gate", POLICY, port=free_port())
        self.n8n = N8n(folder / "n8n")

    def start(self):
        self.gate.start()
        self.client = self.gate.client("n8n")
        self.n8n.start()
        self.n8n.set_up()
        self.credential = self.n8n.credential(self.gate.url, "n8n", self.client.secret)
        return self

    def revive(self):
        if not self.gate.alive():
            self.gate.start()
        if self.n8n.extra:
            self.n8n.extra = {}
            self.n8n.kill()
        if not self.n8n.alive():
            self.n8n.start()

    def close(self):
        self.n8n.kill()
        self.gate.kill()


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """The pair most tests share."""
    made = Pair(tmp_path_factory.mktemp("pair"))
    try:
        yield made.start()
        assert "panicked" not in made.gate.logs()
    finally:
        made.close()


@pytest.fixture(scope="session")
def spare_pair(tmp_path_factory):
    """Made once, because a new n8n takes much longer to start than one that knows its database."""
    made = Pair(tmp_path_factory.mktemp("spare"))
    try:
        yield made.start()
        assert "panicked" not in made.gate.logs()
    finally:
        made.close()


@pytest.fixture
def own_pair(spare_pair):
    """A pair that a test may kill. Whatever the test before has done to it, both run, with the settings of the start."""
    spare_pair.revive()
    return spare_pair


@pytest.fixture(scope="session")
def n8n(pair):
    return pair.n8n


@pytest.fixture(scope="session")
def gate(pair):
    return pair.gate


@pytest.fixture(scope="session")
def client(pair):
    return pair.client
