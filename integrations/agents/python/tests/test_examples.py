"""The examples, run as a person runs them: a real gate, a real mail server, a played model."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from receiver import free_port

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
AGENTS = ["openai_invoice.py", "claude_invoice.py"]


class Mailbox:
    def __init__(self):
        self.letters = []

    async def handle_DATA(self, _server, _session, envelope):
        self.letters.append((envelope.rcpt_tos, envelope.content.decode()))
        return "250 OK"


@pytest.fixture
def mailbox():
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=free_port(), server_hostname="localhost")
    controller.start()
    box.address = f"127.0.0.1:{controller.port}"
    yield box
    controller.stop()


def run(example, running, raw, mailbox):
    environment = {
        "PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", "PLACET_URL": running.url, "PLACET_CLIENT": "agent",
        "PLACET_SECRET": raw("agent").secret, "PLACET_TOKEN_ALG": "HS256", "SMTP": mailbox.address,
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, EXAMPLES / example], env=environment, capture_output=True, text=True, timeout=180
    )


@pytest.mark.parametrize("example", AGENTS)
def test_an_agent_mails_the_invoice_once_a_person_has_approved(example, running, raw, desk, mailbox):
    answering = desk.answers(raw("agent"), "invoice.send", "approve")
    ran = run(example, running, raw, mailbox)
    assert ran.returncode == 0, ran
    (approval,) = answering.done()
    assert approval["summary"] == "Mail invoice 4711 to acme@example.com"
    ((to, letter),) = mailbox.letters
    assert to == ["acme@example.com"] and "Please pay EUR 5000.00 for invoice 4711." in letter
    assert "invoice 4711" in ran.stdout
    # Whoever looks at the terminal is told what is waited for.
    assert "rule 'people' was asked (stage 1): Mail invoice 4711 to acme@example.com" in ran.stderr


@pytest.mark.parametrize("example", AGENTS)
def test_an_agent_mails_nothing_that_a_person_has_rejected(example, running, raw, desk, mailbox):
    answering = desk.answers(raw("agent"), "invoice.send", "reject")
    ran = run(example, running, raw, mailbox)
    answering.done()
    assert ran.returncode == 0 and mailbox.letters == [], ran


@pytest.mark.parametrize("example", AGENTS)
def test_an_example_fits_on_a_page(example):
    assert len((EXAMPLES / example).read_text().splitlines()) < 65
