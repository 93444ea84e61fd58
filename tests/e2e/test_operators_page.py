"""The operator's page, the questions of `placet init` on a terminal, and the report of `placet doctor`."""

import json
import os
import pty
import re
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from local_gate import BINARY, environment, placet


def opened(url, method="GET"):
    """Status, headers and text of a page."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method=method), timeout=20) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read().decode()


def admin_link(gate, *options):
    ran = gate.cli("admin", "link", *options)
    assert ran.returncode == 0, ran
    (link,) = ran.stdout.split()
    # The gate's own address, since the policy's issuer is not this machine.
    return re.sub(r"^https?://[^/]+", gate.url, link)


def records(gate):
    """All that is stored, once everybody has been told and the log holds what was written."""
    return gate.settled_dump()


def test_it_shows_what_waits_and_what_has_ended(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    waits, ended = agent.asked(), agent.asked()
    gate.link(ended, "bob").approve()
    before = records(gate)
    status, headers, page = opened(admin_link(gate))
    assert status == 200 and "ready" in page
    assert waits["request_id"] in page and ended["request_id"] in page and "approved" in page and "Bob" in page
    assert (
        "script" not in page and headers["cache-control"] == "no-store" and headers["referrer-policy"] == "no-referrer"
    )
    # It shows no way to decide, and nothing has changed.
    assert "/r/" not in page and "<form" not in page
    assert records(gate) == before


def test_its_link_ends_by_itself_and_cannot_be_made_longer(local_gate):
    gate = local_gate().start()
    link = admin_link(gate, "--valid-for", "1s")
    until = time.monotonic() + 30
    while opened(link)[0] != 404:
        assert time.monotonic() < until, "the link has not ended"
        time.sleep(0.1)
    good = admin_link(gate)
    text = good.rsplit("/", 1)[1]
    for wrong in (text[:-1], text + "1", text[:22] + "zzzzzz" + text[28:], "x", text.swapcase()):
        status, _, page = opened(good.replace(text, wrong))
        assert status == 404 and "placet admin link" in page, wrong
    ran = gate.cli("admin", "link", "--valid-for", "25h")
    assert ran.returncode == 2 and "at most 24h" in ran.stderr, ran


def test_it_decides_nothing(local_gate):
    gate = local_gate().start()
    assert opened(admin_link(gate), method="POST")[0] == 405


def test_the_gates_address_says_what_it_is(local_gate):
    gate = local_gate().start()
    status, _, page = opened(gate.url + "/")
    assert status == 200 and "A Placet gate" in page and "ready" in page


def at_a_terminal(words, folder, answers):
    """Runs a command in a terminal, and types; its exit code and what was seen."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.execve(BINARY, [str(BINARY), *words], environment())
    seen = bytearray()
    waiting = [*answers]
    try:
        while data := os.read(terminal, 65536):
            seen += data
            # A question ends with a colon and a space.
            if waiting and seen.endswith(b": "):
                os.write(terminal, waiting.pop(0).encode())
    except OSError:
        pass  # Linux tells the end of a terminal by an error
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), seen.decode()


def test_init_asks_on_a_terminal_and_writes_a_policy_that_works(tmp_path):
    answers = ["ci\n", "Bob\n", "\n", "bob@example.com\n", "Carol\n", "\n", "\n", "\n", "carol\n"]
    code, seen = at_a_terminal(["init"], tmp_path, answers)
    assert code == 0 and "placet client secret ci" in seen, seen
    ran = placet("policy", "check", "placet.toml", cwd=tmp_path)
    assert ran.returncode == 0 and "warn" not in ran.stdout, ran
    assert 'owner = "carol"' in (tmp_path / "placet.toml").read_text()


@pytest.mark.parametrize("answers", [["\x04"], ["ci\n", "\x04"]], ids=["at once", "in between"])
def test_an_interview_that_ends_too_soon_writes_nothing(tmp_path, answers):
    code, seen = at_a_terminal(["init"], tmp_path, answers)
    assert code == 1 and "nothing is written" in seen, seen
    assert list(tmp_path.iterdir()) == []


def test_init_asks_nothing_elsewhere_and_with_sample(tmp_path):
    assert placet("init", "piped.toml", cwd=tmp_path).returncode == 0
    code, _ = at_a_terminal(["init", "--sample", "asked.toml"], tmp_path, [])
    assert code == 0
    assert (tmp_path / "asked.toml").read_text() == (tmp_path / "piped.toml").read_text()


def test_a_report_holds_what_helps_and_nothing_that_is_secret(local_gate):
    gate = local_gate().start()
    agent = gate.client("agent")
    asked = agent.asked(payload={"iban": "DE02120300000000202051"}, summary="planted words")
    link = gate.link(asked, "bob")
    link.approve()
    file = gate.folder / "report.json"
    mail = {
        "PLACET_SMTP_URL": "smtps://olga:hunter2-secret@127.0.0.1:1",
        "PLACET_MAIL_FROM": "Placet <gate@example.com>",
    }
    words = [str(BINARY), "doctor", "--data", str(gate.data), "--policy", str(gate.policy), "--report", str(file)]
    ran = subprocess.run(words, env=environment() | mail, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1 and "127.0.0.1" in ran.stdout, ran
    text = file.read_text()
    report = json.loads(text)
    assert (
        report["placet"] and report["policy"]["clients"] > 0 and report["checks"] and report["folder"]["a_gate_serves"]
    )
    assert file.stat().st_mode & 0o777 == 0o600
    keyring = json.loads((gate.data / "keyring.json").read_text())
    secrets = [agent.secret, "hunter2-secret", "gate@example.com", "DE0212", "planted words", "/r/", *strings(keyring)]
    for secret in secrets:
        assert secret not in text, secret


def strings(value):
    """Every long text in a document."""
    if isinstance(value, dict):
        return [text for inner in value.values() for text in strings(inner)]
    if isinstance(value, list):
        return [text for inner in value for text in strings(inner)]
    return [value] if isinstance(value, str) and len(value) > 30 else []
