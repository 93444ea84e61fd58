"""Slack and Telegram on AWS: `timeout-sweep` sends, `decide` takes the presses, one secret holds what both need.

The far ends are the e2e tests' (`../stories/chats.py`); what a press may do is tested at length in `../e2e/test_chats.py`.
"""

import base64
import hashlib
import json
import time
from urllib.parse import urlencode

import pytest
from chats import (
    BOT_TOKEN,
    SIGNING_SECRET,
    TEAM,
    TELEGRAM_TOKEN,
    Played,
    about,
    send_press,
    send_update,
    set_slack,
    set_telegram,
    settled,
)
from placet_client import Link, at_once, check_problem, wait_until
from slack_sdk.signature import SignatureVerifier

BOB, CAROL, EVE = "U0BOB0001", "U0CAROL01", "U0EVE0001"
CAROLS, EVES = 700_000_000_002, 700_000_000_666

POLICY = f"""
issuer = "https://gate.example.com"

[[clients]]
id = "agent"
name = "Invoice flow"

[[reviewers]]
id = "bob"
name = "Bob"
slack = "{BOB}"
roles = ["finance", "careful"]

[[reviewers]]
id = "carol"
name = "Carol"
telegram = {CAROLS}
roles = ["finance"]

[[reviewers]]
id = "dan"
slack = "U0DAN0001"
email = "dan@example.com"
channels = ["slack", "email"]
roles = ["owners"]

[[rules]]
name = "two"
when = 'action == "two.pay"'
approvals = 2
stages = [{{ ask = ["finance"], within = "10m" }}]

[[rules]]
name = "typed"
when = 'action == "typed.pay"'
confirm = true
stages = [{{ ask = ["careful"], within = "10m" }}]

[[rules]]
name = "owners"
when = 'action == "owners.pay"'
stages = [{{ ask = ["owners"], within = "10m" }}]

[[rules]]
name = "payments"
stages = [{{ ask = ["finance"], within = "10m" }}]
"""


@pytest.fixture
def bare(own_gate):
    """A stack with reviewers in chats, and no chat set."""
    gate = own_gate()
    gate.pushed = gate.push_policy(POLICY)
    gate.agent = gate.client("agent")
    yield gate
    gate.proxy.clear()
    assert "panicked" not in gate.logs()


@pytest.fixture
def chats(bare, slack, telegram):
    """A stack whose Bob is in Slack and whose Carol is in Telegram."""
    set_slack(bare, slack)
    bare.slack, bare.telegram, bare.telegram_secret = slack, telegram, set_telegram(bare, telegram)
    return bare


def ask(gate, action="invoice.pay", **options):
    asked = gate.agent.asked(action, **options)
    return asked, gate.slack.wait(BOB)[-1], gate.telegram.wait(CAROLS)[-1]


def swept_until(gate, condition, what):
    """Runs the sweep, as the schedule does every minute, until that has come of it."""

    def come():
        gate.sweep()
        return condition()

    return wait_until(come, 30, what)


def button_of(asked, decision):
    """What a button of that request says, also where no message has one."""
    key = hashlib.sha256(f"placet-request-v1\nagent\n{asked['request_id']}".encode()).digest()[:16]
    return f"{decision}{base64.urlsafe_b64encode(key).rstrip(b'=').decode()}.{asked['approval_id']}"


def test_a_press_in_slack_decides_and_both_messages_say_so(chats):
    assert chats.telegram.webhook["url"] == f"{chats.url}/v1/telegram/updates"
    asked, bobs, carols = ask(chats, payload={"to": "ACME <!channel>", "amount": 5000, "currency": "EUR"})
    assert set(chats.slack.buttons(bobs)) == {"placet.approve", "placet.reject", "placet.open"}
    assert chats.slack.buttons(bobs)["placet.open"]["url"].startswith(f"{chats.url}/r/")
    answer = chats.slack.press(chats, bobs, "placet.approve", BOB, reason="looks right")
    assert (answer.status, answer.body) == (200, b"")
    state = chats.agent.state(asked["request_id"])
    assert (state["status"], state["decided_by"], state["reason"]) == ("approved", ["bob"], "looks right")
    settled(chats, bobs, carols, "Approved by Bob")
    vote = next(entry for entry in chats.audit_of(asked) if entry["event"] == "vote.cast")
    assert (vote["actor"], vote["channel"]) == ("bob", "slack")
    assert not chats.slack.whispers
    said = chats.logs() + json.dumps(chats.audit(), default=str)
    for secret in (BOT_TOKEN, SIGNING_SECRET, TELEGRAM_TOKEN, chats.telegram_secret, BOB, str(CAROLS)):
        assert secret not in said, secret


def test_a_press_in_telegram_is_the_second_approval_and_a_repeated_one_is_none(chats):
    asked, bobs, carols = ask(chats, "two.pay")
    update = chats.telegram.update(carols, "Approve", CAROLS, number=77)
    for _ in range(2):
        assert send_update(chats, update, chats.telegram_secret).status == 200
    wait_until(lambda: "1 of 2 approvals" in chats.slack.shows(bobs), 10, "the count in Slack")
    assert [vote["reviewer"] for vote in chats.agent.state(asked["request_id"])["votes"]] == ["carol"]
    press = chats.slack.payload(bobs, "placet.approve", BOB)
    assert send_press(chats, press).status == 200
    settled(chats, bobs, carols, "Approved by Carol and Bob")
    before = chats.audit_of(asked)
    assert send_press(chats, press).status == send_update(chats, update, chats.telegram_secret).status == 200
    assert chats.audit_of(asked) == before


def test_who_is_not_asked_or_comes_too_late_is_told_alone_and_decides_nothing(chats):
    asked, bobs, carols = ask(chats)
    for _ in range(2):
        assert chats.slack.press(chats, bobs, "placet.approve", EVE).status == 200
    answer = chats.telegram.press(chats, chats.telegram_secret, carols, "Approve", EVES)
    assert answer.status == 200 and "not yours" in answer.json()["text"]
    wait_until(lambda: len(chats.slack.whispers) == 2, 10, "the words to Eve")
    assert all(user == EVE and "not yours" in text for _, user, text in chats.slack.whispers)
    refused = [entry for entry in chats.audit_of(asked) if entry["event"] == "chat.refused"]
    assert sorted(entry["channel"] for entry in refused) == ["slack", "telegram"]
    assert chats.agent.state(asked["request_id"])["status"] == "pending"
    late = chats.slack.payload(bobs, "placet.reject", BOB)
    chats.agent.cancel(asked["request_id"])
    settled(chats, bobs, carols, "Withdrawn by Invoice flow")
    assert send_press(chats, late).status == 200
    wait_until(lambda: [text for _, user, text in chats.slack.whispers if user == BOB], 10, "the word to Bob")
    assert chats.agent.state(asked["request_id"])["status"] == "cancelled"


def test_a_rule_that_wants_more_than_a_button_is_decided_by_its_link_alone(chats):
    asked = chats.agent.asked("typed.pay")
    bobs = chats.slack.wait(BOB)[-1]
    assert set(chats.slack.buttons(bobs)) == {"placet.open"}
    forged = {"type": "button", "action_id": "placet.approve", "value": button_of(asked, "a")}
    payload = chats.slack.payload(bobs, "placet.open", BOB, actions=[forged])
    assert send_press(chats, payload).status == 200
    (_, user, text) = wait_until(lambda: chats.slack.whispers, 10, "the word to Bob")[0]
    assert user == BOB and "needs more than a button" in text
    assert chats.agent.state(asked["request_id"])["votes"] == []


def test_a_call_that_does_not_prove_whose_it_is_records_nothing(chats):
    asked, bobs, carols = ask(chats)
    payload = chats.slack.payload(bobs, "placet.approve", BOB)
    check_problem(send_press(chats, payload, secret="0" * 32), 401, "invalid_signature")
    check_problem(send_press(chats, payload, headers={"X-Slack-Signature": ""}), 401, "invalid_signature")
    check_problem(send_press(chats, payload, at=int(time.time()) - 310), 401, "clock_skew")
    other = {**payload, "team": {"id": "T0OTHER"}, "user": {"id": BOB, "team_id": "T0OTHER"}}
    check_problem(send_press(chats, other), 403, "forbidden")
    update = chats.telegram.update(carols, "Approve", CAROLS)
    for secret in (None, "", chats.telegram_secret[:-1]):
        check_problem(send_update(chats, update, secret), 401, "invalid_signature")
    assert chats.agent.state(asked["request_id"])["votes"] == []


@pytest.mark.parametrize("is_base64", [True, False])
def test_the_signature_is_over_the_body_as_slack_sent_it_in_either_form_of_the_api(chats, is_base64):
    """API Gateway hands on a form in base64, and a text as it is."""
    asked, bobs, _ = ask(chats, payload={"to": "Müller & Söhne"})
    body = urlencode({"payload": json.dumps(chats.slack.payload(bobs, "placet.approve", BOB, reason="für ä €"))})
    at = str(int(time.time()))
    signature = SignatureVerifier(SIGNING_SECRET).generate_signature(timestamp=at, body=body)
    path = "/v1/slack/interactions"
    event = {
        "version": "2.0", "routeKey": f"ANY {path}", "rawPath": path, "rawQueryString": "",
        "headers": {
            "host": "gate.example.com", "content-type": "application/x-www-form-urlencoded",
            "content-length": str(len(body)), "x-slack-request-timestamp": at, "x-slack-signature": signature,
        },
        "requestContext": {
            "accountId": "1", "apiId": "a", "domainName": "gate.example.com", "domainPrefix": "gate", "requestId": "r",
            "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "Slackbot 1.0"},
            "routeKey": f"ANY {path}", "stage": "$default", "time": "27/Nov/2026:13:00:00 +0000", "timeEpoch": 1,
        },
        "body": base64.b64encode(body.encode()).decode() if is_base64 else body, "isBase64Encoded": is_base64,
    }  # fmt: skip
    changed = {**event, "body": base64.b64encode((body + "&x=1").encode()).decode(), "isBase64Encoded": True}
    assert chats.invoke("decide", changed)[0]["statusCode"] == 401
    payload, error = chats.invoke("decide", event)
    assert (error, payload["statusCode"]) == (None, 200), payload
    state = chats.agent.state(asked["request_id"])
    assert (state["status"], state["reason"]) == ("approved", "für ä €")


def test_one_outcome_whoever_presses_where_and_both_messages_say_the_same(chats):
    asked, bobs, carols = ask(chats)
    page = Link(chats.http, chats.telegram.buttons(carols)["Open the page"]["url"])
    nonce = page.nonce()
    at_once([
        lambda: chats.slack.press(chats, bobs, "placet.approve", BOB),
        lambda: chats.slack.press(chats, bobs, "placet.reject", BOB),
        lambda: chats.telegram.press(chats, chats.telegram_secret, carols, "Reject", CAROLS),
        lambda: page.post("approve", nonce),
        lambda: chats.agent.cancel(asked["request_id"]),
    ])  # fmt: skip
    state = chats.agent.state(asked["request_id"])
    ended = {f"request.{how}" for how in ("approved", "rejected", "expired", "cancelled")}
    ends = [entry["event"] for entry in chats.audit_of(asked) if entry["event"] in ended]
    assert ends == [f"request.{state['status']}"]
    by = {"bob": "Bob", "carol": "Carol", "client:agent": "Invoice flow"}[state["decided_by"][0]]
    verb = {"approved": "Approved", "rejected": "Rejected", "cancelled": "Withdrawn"}[state["status"]]
    settled(chats, bobs, carols, f"{verb} by {by}")


def test_a_press_counts_though_nothing_can_be_handed_over_and_the_sweep_updates_the_messages(chats):
    asked, bobs, carols = ask(chats)
    wait_until(chats.idle, 30, "the messages to be done")
    rule = chats.proxy.fail("SendMessageBatch")
    assert chats.slack.press(chats, bobs, "placet.approve", BOB).status == 200
    assert rule.hit and chats.agent.state(asked["request_id"])["status"] == "approved"
    chats.proxy.clear()
    swept_until(chats, lambda: "Approved by Bob" in chats.slack.shows(bobs), "the message in Slack")
    settled(chats, bobs, carols, "Approved by Bob", 30)


def test_slack_that_asks_to_wait_or_fails_is_tried_again_and_told_once(chats):
    chats.slack.next(
        "chat.postMessage", (429, {"Retry-After": "1"}, {"ok": False, "error": "ratelimited"}), (503, {}, {})
    )
    chats.slack.next("chat.update", (429, {"Retry-After": "1"}, {"ok": False, "error": "ratelimited"}), (500, {}, {}))
    _, bobs, carols = ask(chats)
    assert len(chats.slack.to(BOB)) == len(chats.telegram.to(CAROLS)) == 1
    chats.slack.press(chats, bobs, "placet.approve", BOB)
    settled(chats, bobs, carols, "Approved by Bob", 40)


def test_what_is_known_of_the_secrets_counts_while_secrets_manager_is_away(chats):
    asked, bobs, carols = ask(chats)
    # `decide` reads the keys for a page, and the channels' secrets for a press.
    assert Link(chats.http, chats.telegram.buttons(carols)["Open the page"]["url"]).page().status == 200
    check_problem(send_update(chats, {}, "x"), 401, "invalid_signature")
    chats.proxy.fail("secretsmanager")
    assert chats.telegram.press(chats, chats.telegram_secret, carols, "Reject", CAROLS).status == 200
    assert chats.agent.state(asked["request_id"])["decided_by"] == ["carol"]
    settled(chats, bobs, carols, "Rejected by Carol")


# ---------------------------------------------------------------- the operator


def test_a_chat_that_is_not_set_is_named_by_every_command_and_the_next_channel_takes_over(bare):
    assert "`bob` can be reached by slack only" in bare.pushed.stderr
    path = bare.folder / "chats.toml"
    path.write_text(POLICY)
    checked = bare.cli("policy", "check", path)
    assert checked.returncode == 0, checked
    assert "`carol` can be reached by telegram only" in checked.stdout and "set telegram --aws" in checked.stdout
    assert "`dan` is not reached by slack" in checked.stdout
    said = bare.cli("doctor").stdout
    assert any(line.startswith("fail") and "`bob` can be reached by slack only" in line for line in said.splitlines())
    assert any(line.startswith("warn") and "`dan` is not reached by slack" in line for line in said.splitlines())
    asked = bare.agent.asked("owners.pay")
    wait_until(lambda: bare.messages(asked, "dan", "email"), 40, "the mail to Dan")
    failed = bare.cli("channel", "test", "slack", "--reviewer", "bob")
    assert failed.returncode == 1 and "not set up" in failed.stderr, failed


def test_what_is_set_is_listed_tried_checked_and_taken_away(bare, slack, telegram):
    listed = lambda: json.loads(bare.cli("channel", "list", "--json").stdout)["channels"]  # noqa: E731
    neither = [{"channel": "slack", "set": False, "is": None}, {"channel": "telegram", "set": False, "is": None}]
    assert listed() == neither
    ran = set_slack(bare, slack)
    assert f"{bare.url}/v1/slack/interactions" in ran.stdout and BOT_TOKEN not in ran.stdout + ran.stderr
    set_telegram(bare, telegram)
    assert listed() == [{"channel": "slack", "set": True, "is": TEAM}, {"channel": "telegram", "set": True, "is": None}]
    path = bare.folder / "chats.toml"
    path.write_text(POLICY)
    assert "reached" not in bare.cli("policy", "check", path).stdout
    tried = bare.cli("channel", "test", "slack", "--reviewer", "bob")
    assert tried.returncode == 0 and about(slack, BOB, "this gate reaches you"), tried
    tried = bare.cli("channel", "test", "telegram", "--reviewer", "carol")
    assert tried.returncode == 0 and about(telegram, CAROLS, "this gate reaches you"), tried
    assert bare.cli("channel", "test", "email", "--reviewer", "dan").returncode == 0
    assert bare.cli("channel", "test", "telegram", "--reviewer", "bob").returncode == 1
    said = bare.cli("doctor").stdout
    assert "Slack takes the app's token, for Acme" in said and "Telegram takes the bot's token" in said
    slack.next("auth.test", (200, {}, {"ok": False, "error": "token_revoked"}))
    assert "`token_revoked`; set it anew with `placet channel set slack --aws`" in bare.cli("doctor").stdout
    slack.next("auth.test", (200, {}, {"ok": False, "error": "invalid_auth"}))
    ran = bare.cli("channel", "set", "slack", "--api-url", f"{slack.url}/api", stdin=f"xoxb-new\n{SIGNING_SECRET}\n")
    assert ran.returncode == 1 and listed()[0]["set"], "a token that Slack does not take changes nothing"
    assert bare.cli("channel", "set", "smtp", stdin="smtps://x\na@b.example\n").returncode == 2
    for channel in ("slack", "telegram"):
        assert bare.cli("channel", "remove", channel).returncode == 0
    assert listed() == neither


def test_of_two_operators_who_set_channels_at_once_neither_is_lost(bare, slack, telegram):
    for _ in range(3):
        at_once([lambda: set_slack(bare, slack), lambda: set_telegram(bare, telegram)])
        assert all(one["set"] for one in json.loads(bare.cli("channel", "list", "--json").stdout)["channels"])
        at_once([lambda: bare.cli("channel", "remove", "slack"), lambda: bare.cli("channel", "remove", "telegram")])
        assert not any(one["set"] for one in json.loads(bare.cli("channel", "list", "--json").stdout)["channels"])


def test_a_way_of_alerts_has_its_secret_there_too(bare):
    played = Webhook()
    try:
        ways = '[[alerts]]\nname = "ops"\nway = "slack"\n'
        pushed = bare.push_policy(f"{POLICY}\n{ways}")
        assert "the way of alerts `ops` (slack) has no secret" in pushed.stderr
        assert "the way of alerts `ops` (slack) has no secret" in bare.cli("doctor").stdout
        ran = bare.cli("alert", "set", "ops", stdin=f"{played.url}/services/T0/B0/token\n")
        assert ran.returncode == 0 and "token" not in ran.stdout + ran.stderr, ran
        assert bare.cli("alert", "test", "ops").returncode == 0
        assert len(played.calls) == 1
        # The sweep reads the same secret: nobody has told Bob, who is in Slack alone.
        bare.agent.asked("typed.pay")
        wait_until(lambda: len(played.calls) > 1, 60, "the alert")
        assert bare.cli("alert", "remove", "ops").returncode == 0
        assert bare.cli("alert", "test", "ops").returncode == 1
        assert "token" not in bare.logs()
    finally:
        played.close()


class Webhook(Played):
    """An incoming webhook of Slack."""

    def answer(self, path, headers, body):
        self.calls.append((path, json.loads(body)))
        return 200, {}, "ok"
