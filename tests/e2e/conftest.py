"""Gates that a test may stop, kill and reconfigure."""

import pytest
from local_gate import SHARED
from served_gate import ServedGate
from smtp_server import Mailbox


@pytest.fixture
def local_gate(tmp_path):
    """Makes a gate that is yet to be started."""
    made = []

    def make(text=SHARED, **options):
        folder = tmp_path / f"gate{len(made)}"
        folder.mkdir()
        made.append(ServedGate(folder, text, **options))
        return made[-1]

    yield make
    for running in made:
        running.kill()


@pytest.fixture(scope="module")
def local_gate_of_module(tmp_path_factory):
    """Makes a gate that all tests of a file share."""
    made = []

    def make(text=SHARED, **options):
        made.append(ServedGate(tmp_path_factory.mktemp("gate"), text, **options))
        return made[-1]

    yield make
    for running in made:
        running.kill()


@pytest.fixture
def mailbox():
    box = Mailbox()
    yield box
    box.close()
