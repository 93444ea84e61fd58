"""The operator's page, the questions of `placet init` on a terminal, and the report of `placet doctor`."""

import json
import os
import pty
import re
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode, urljoin

import pytest
from chats import BOT_TOKEN, SIGNING_SECRET
from local_gate import BINARY, environment, placet
from placet_client import wait_until

BOB = "U0BOB"
POLICY = f"""
issuer = "https://placet.example.com"

[[clients]]
id = "agent"
roles = ["requester"]
owner = "carol"

[[reviewers]]
id = "bob"
name = "Bob"
slack = "{BOB}"
roles = ["finance"]

[[reviewers]]
id = "carol"
name = "Carol"
email = "carol@example.com"
roles = ["owners"]

[[alerts]]
name = "pager"
way = "pagerduty"

[[rules]]
name = "payments"
alert_after = "1s"
stages = [{{ ask = ["finance"], within = "10m" }}]
"""


@pytest.fixture
def gate(local_gate, slack):
    """A serving gate whose Bob is in Slack."""
    gate = local_gate(POLICY).start()
    secrets = f"{BOT_TOKEN}\n{SIGNING_SECRET}\n"
    ran = gate.cli("channel", "set", "slack", "--api-url", f"{slack.url}/api", stdin=secrets)
    assert ran.returncode == 0, ran
    return gate


def opened(url, method="GET", body=None):
    """Status, headers and text of a page."""
    data = None if body is None else urlencode(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method=method), timeout=40) as answer:
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
    assert "/r/" not in page and "decision" not in page and "/inbox/" not in page
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


def words(page):
    """What a person reads on it."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.split("</style>")[-1]))


def form(page, **wanted):
    """The fields of the form that has these."""
    for text in re.findall(r"<form.*?</form>", page, flags=re.DOTALL):
        fields = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', text))
        if wanted.items() <= fields.items():
            return fields
    raise AssertionError(f"no form for {wanted}: {page}")


def test_it_shows_how_each_channel_has_gone_and_why_not(gate, slack):
    agent, link = gate.client("agent"), admin_link(gate)
    page = words(opened(link)[2])
    assert "Bob by slack nothing was sent yet" in page
    assert "Carol by email no mail server is set: `placet channel set smtp`" in page
    agent.asked("payment.send")
    slack.wait(BOB)
    wait_until(lambda: "Bob by slack last sent" in words(opened(link)[2]), 10, "when Bob was told")
    # What was sent is known to the next process too.
    gate.stop()
    gate.start()
    link = admin_link(gate)
    assert "Bob by slack last sent" in words(opened(link)[2])

    slack.gone.add(BOB)
    agent.asked("payment.send")
    fails = "Bob by slack a message has failed"
    wait_until(lambda: fails in words(opened(link)[2]), 10, "that Bob is not told")
    page = words(opened(link)[2])
    assert "last failed" in page and "Slack says `channel_not_found`" in page, page


def test_it_shows_the_alerts_that_stand_and_those_that_do_not(gate):
    agent, link = gate.client("agent"), admin_link(gate)
    page = words(opened(link)[2])
    assert "Alerts that stand None." in page and "None since this gate started" in page
    asked = agent.asked("payment.send")
    waits = f"The request {asked['request_id']} of agent has waited for an answer since"
    stands = re.compile(r"Alerts that stand \( ?1 ?\) A request waits too long .*" + re.escape(waits) + ".*Waiting")
    wait_until(lambda: stands.search(words(opened(link)[2])), 20, "an alert that stands")
    wait_until(lambda: "open_too_long" in gate.logs(), 20, "the alert in the log")
    gate.link(asked, "bob").approve()
    page = words(opened(link)[2])
    assert "Alerts that stand None." in page, page
    assert re.search(r"Alerts of before A request waits too long .*" + re.escape(waits), page), page


def test_an_alert_that_goes_on_stands_for_the_next_process_too(gate):
    link = admin_link(gate)
    for _ in range(30):
        headers = {
            "x-placet-client": "agent",
            "x-placet-timestamp": str(int(time.time())),
            "x-signature": "v1=" + "0" * 64,
        }
        gate.http.send("GET", "/v1/requests/x", headers=headers)
    wait_until(lambda: "Wrong signatures" in opened(link)[2], 20, "an alert about signatures")
    gate.stop()
    gate.start()
    page = words(opened(admin_link(gate))[2])
    assert re.search(r"Alerts that stand \( ?1 ?\) Wrong signatures", page), page
    assert "Alerts of before None since this gate started" in page


def test_it_leads_to_the_report(gate):
    link = admin_link(gate)
    (report,) = re.findall(r'href="(\.\./report/[^"]+)"', opened(link)[2])
    status, _, page = opened(urljoin(link, report))
    assert status == 200 and "Approvals, 7 days" in page


def test_a_button_sends_one_test_and_says_what_came_of_it(gate, slack):
    link = admin_link(gate)
    bobs = form(opened(link)[2], reviewer="bob")
    before = records(gate)
    assert slack.count("chat.postMessage") == 0, "looking sends nothing"
    with ThreadPoolExecutor(4) as pool:
        pressed = [*pool.map(lambda _: opened(link, "POST", bobs), range(4))]
    assert sorted(status for status, _, _ in pressed) == [200, 429, 429, 429]
    for status, headers, page in pressed:
        if status == 200:
            assert "A test went to Bob by slack. Ask them whether it has come." in words(page)
            assert "script-src 'none'" in headers["content-security-policy"]
        else:
            assert 1 <= int(headers["retry-after"]) <= 11 and "nothing was sent" in page
    assert slack.count("chat.postMessage") == 1
    assert "this gate reaches you" in slack.shows(slack.wait(BOB)[-1])
    page = words(opened(link)[2])
    assert "Bob by slack last sent" in page
    # Nothing is recorded of it.
    assert records(gate) == before


def test_a_test_that_is_not_taken_says_why_without_a_secret(gate, slack):
    link = admin_link(gate)
    slack.gone.add(BOB)
    status, _, page = opened(link, "POST", form(opened(link)[2], reviewer="bob"))
    assert status == 200
    assert "The test for Bob by slack was not taken: Slack says `channel_not_found`." in words(page)
    assert "last failed" in words(page)
    status, _, page = opened(link, "POST", form(page, reviewer="carol", channel="email"))
    assert status == 200 and "The test for Carol by email was not taken: no mail server is set." in words(page)
    status, _, page = opened(link, "POST", form(page, way="pager"))
    assert status == 200
    assert "did not take a test: its secret is not set: `placet alert set pager`." in words(page)
    for secret in (BOT_TOKEN, SIGNING_SECRET, "carol@example.com", BOB):
        assert secret not in page, secret


def test_only_a_form_of_this_very_page_sends_anything(gate, slack):
    link, other = admin_link(gate), admin_link(gate, "--valid-for", "20m")
    bobs = form(opened(link)[2], reviewer="bob")
    foreign = form(opened(other)[2], reviewer="bob")["nonce"]
    for nonce in ("", "x", foreign, bobs["nonce"][:-1], "0-" + bobs["nonce"].split("-")[1]):
        status, _, page = opened(link, "POST", bobs | {"nonce": nonce})
        assert status == 422 and "too old" in page, nonce
    for wrong in (
        {"reviewer": "mallory"},
        {"channel": "email"},
        {"channel": "terminal"},
        {"way": "ops", "reviewer": ""},
    ):
        status, _, page = opened(link, "POST", bobs | wrong)
        assert status == 422 and "nothing was sent" in page, wrong
    status, _, page = opened(link, "POST", bobs | {"long": "x" * 5000})
    assert status == 422 and "nothing was sent" in page
    text = link.rsplit("/", 1)[1]
    for wrong in (text[:-1], text[:22] + "zzzzzz" + text[28:], "x"):
        status, _, page = opened(link.replace(text, wrong), "POST", bobs)
        assert status == 404 and "placet admin link" in page, wrong
    assert opened(link, "PUT")[0] == 405
    ends = admin_link(gate, "--valid-for", "3s")
    soon = form(opened(ends)[2], reviewer="bob")
    wait_until(lambda: opened(ends)[0] == 404, 30, "the link to end")
    assert opened(ends, "POST", soon)[0] == 404
    assert slack.count("chat.postMessage") == 0


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
