"""Slack, Telegram and reviewers' webhooks, against servers that play their documented part."""

import json
import re
import time
from urllib.parse import urlsplit

import pytest
from chats import (
    BOT_TOKEN,
    SIGNING_SECRET,
    TELEGRAM_TOKEN,
    about,
    send_press,
    send_update,
    set_slack,
    set_telegram,
    settled,
)
from placet_client import Link, at_once, check_problem, moment, new_id, wait_until
from receiver import Receiver

BOB, CAROL, EVE = "U0BOB0001", "U0CAROL01", "U0EVE0001"
BOBS, CAROLS, EVES = 700_000_000_001, 700_000_000_002, 700_000_000_666

POLICY = f"""
issuer = "https://gate.example.com"

[[clients]]
id = "agent"
name = "Invoice flow"
owner = "olga"
callback_hosts = ["127.0.0.1"]
rate_per_minute = 6000

[[reviewers]]
id = "bob"
name = "Bob"
slack = "{BOB}"
roles = ["finance"]

[[reviewers]]
id = "carol"
name = "Carol"
telegram = {CAROLS}
roles = ["finance"]

[[reviewers]]
id = "olga"
slack = "U0OLGA001"
roles = ["owners"]

[[reviewers]]
id = "dan"
slack = "U0DAN0001"
roles = ["owners"]

[[rules]]
name = "two"
when = 'action == "two.pay"'
approvals = 2
stages = [{{ ask = ["finance"], within = "10m" }}]

[[rules]]
name = "short"
when = 'action == "short.pay"'
stages = [{{ ask = ["finance"], within = "2s" }}]

[[rules]]
name = "relay"
when = 'action == "relay.pay"'
stages = [{{ ask = ["finance"], within = "2s" }}, {{ ask = ["owners"], within = "10m" }}]

[[rules]]
name = "payments"
stages = [{{ ask = ["finance"], within = "10m" }}]
"""


@pytest.fixture
def chats(local_gate, slack, telegram):
    """A serving gate whose Bob is in Slack and whose Carol is in Telegram."""
    gate = local_gate(POLICY).start()
    set_slack(gate, slack)
    gate.slack, gate.telegram, gate.telegram_secret = slack, telegram, set_telegram(gate, telegram)
    gate.agent = gate.client("agent")
    return gate


def ask(gate, action="invoice.pay", **options):
    asked = gate.agent.asked(action, **options)
    return asked, gate.slack.wait(BOB)[-1], gate.telegram.wait(CAROLS)[-1]


def entries(gate, asked):
    return [entry for entry in gate.audit() if entry["subject"] == asked["approval_id"]]


def test_a_reviewer_approves_in_slack_and_every_copy_says_so(chats):
    asked, bobs, carols = ask(chats, payload={"to": "ACME <!channel> & @here", "amount": 5000, "currency": "EUR"})
    message = chats.slack.messages[bobs]
    assert (message["unfurl_links"], message["unfurl_media"]) == (False, False)
    assert set(chats.slack.buttons(bobs)) == {"placet.approve", "placet.reject", "placet.open"}
    assert "<!channel>" not in json.dumps([block for block in message["blocks"] if "mrkdwn" in json.dumps(block)])
    assert "Invoice flow" in chats.slack.shows(bobs) and "5,000" in chats.slack.shows(bobs).replace("5000", "5,000")
    answer = chats.slack.press(chats, bobs, "placet.approve", BOB, reason=" looks right ")
    assert (answer.status, answer.body) == (200, b"")
    state = chats.agent.state(asked["request_id"])
    assert (state["status"], state["decided_by"], state["reason"]) == ("approved", ["bob"], "looks right")
    settled(chats, bobs, carols, "Approved by Bob")
    assert "looks right" in chats.telegram.shows(carols)
    vote = next(entry for entry in entries(chats, asked) if entry["event"] == "vote.cast")
    assert (vote["actor"], vote["channel"]) == ("bob", "slack")
    assert not chats.slack.whispers


def test_a_reviewer_rejects_in_telegram_and_every_copy_says_so(chats):
    asked, bobs, carols = ask(chats, payload={"to": "<b>&amp;</b>", "amount": 5})
    assert set(chats.telegram.buttons(carols)) == {"Approve", "Reject", "Open the page"}
    answer = chats.telegram.press(chats, chats.telegram_secret, carols, "Reject", CAROLS)
    assert (answer.status, answer.json()["method"]) == (200, "answerCallbackQuery")
    state = chats.agent.state(asked["request_id"])
    assert (state["status"], state["decided_by"]) == ("rejected", ["carol"])
    settled(chats, bobs, carols, "Rejected by Carol")
    assert next(entry for entry in entries(chats, asked) if entry["event"] == "vote.cast")["channel"] == "telegram"


def test_of_two_approvals_the_first_is_seen_by_the_second(chats):
    asked, bobs, carols = ask(chats, "two.pay")
    assert "0 of 2 approvals" in chats.slack.shows(bobs)
    chats.slack.press(chats, bobs, "placet.approve", BOB)
    wait_until(lambda: "1 of 2 approvals" in chats.telegram.shows(carols), 10, "the count in Telegram")
    wait_until(lambda: "You approved this" in chats.slack.shows(bobs), 10, "Bob's own approval")
    assert not chats.slack.buttons(bobs) and chats.telegram.buttons(carols)
    chats.telegram.press(chats, chats.telegram_secret, carols, "Approve", CAROLS)
    assert chats.agent.state(asked["request_id"])["decided_by"] == ["bob", "carol"]
    settled(chats, bobs, carols, "Approved by Bob and Carol")


def test_a_decision_on_the_page_a_withdrawal_and_a_deadline_reach_the_chats_too(chats):
    asked, bobs, carols = ask(chats)
    chats.link(asked, "bob").approve()
    settled(chats, bobs, carols, "Approved by Bob")
    asked = chats.agent.asked()
    bobs, carols = chats.slack.wait(BOB, 2)[-1], chats.telegram.wait(CAROLS, 2)[-1]
    chats.agent.cancel(asked["request_id"])
    settled(chats, bobs, carols, "Withdrawn by Invoice flow")
    chats.agent.asked("short.pay")
    bobs, carols = chats.slack.wait(BOB, 3)[-1], chats.telegram.wait(CAROLS, 3)[-1]
    settled(chats, bobs, carols, "Expired: nobody answered")


def test_whose_stage_is_over_is_told_that_others_are_asked(chats):
    _, bobs, carols = ask(chats, "relay.pay")
    chats.slack.wait("U0DAN0001")
    settled(chats, bobs, carols, "Others are asked by now")


def test_a_press_that_comes_too_late_is_told_to_its_user_alone(chats):
    asked, bobs, carols = ask(chats)
    press = chats.slack.payload(bobs, "placet.reject", BOB)
    update = chats.telegram.update(carols, "Approve", CAROLS)
    chats.link(asked, "carol").approve()
    settled(chats, bobs, carols, "Approved by Carol")
    assert send_press(chats, press).status == 200
    whisper = wait_until(lambda: chats.slack.whispers, 10, "the word to Bob")[0]
    assert whisper[:2] == (bobs[0], BOB) and "approved before" in whisper[2]
    answer = send_update(chats, update, chats.telegram_secret)
    assert answer.status == 200 and "approved before" in answer.json()["text"]
    assert chats.agent.state(asked["request_id"])["decided_by"] == ["carol"]


def test_a_foreign_user_is_refused_once_in_the_trail_and_every_time_in_words(chats):
    asked, bobs, carols = ask(chats)
    for _ in range(3):
        assert chats.slack.press(chats, bobs, "placet.approve", EVE).status == 200
    answer = chats.telegram.press(chats, chats.telegram_secret, carols, "Approve", EVES)
    assert answer.status == 200 and "not yours" in answer.json()["text"]
    wait_until(lambda: len(chats.slack.whispers) == 3, 10, "the words to Eve")
    assert all(user == EVE and "not yours" in text for _, user, text in chats.slack.whispers)
    refused = [entry for entry in entries(chats, asked) if entry["event"] == "chat.refused"]
    assert sorted(entry["channel"] for entry in refused) == ["slack", "telegram"]
    assert (
        not any(entry["approved"] for entry in refused)
        and EVE not in json.dumps(refused)
        and str(EVES) not in json.dumps(refused)
    )
    assert chats.agent.state(asked["request_id"])["status"] == "pending"


def test_another_reviewer_of_another_role_decides_nothing(chats):
    asked, bobs, _ = ask(chats)
    chats.slack.press(chats, bobs, "placet.approve", "U0OLGA001")
    wait_until(lambda: chats.slack.whispers, 10, "the word to Olga")
    assert chats.agent.state(asked["request_id"])["status"] == "pending"


def test_a_press_must_be_signed_by_slack_just_now_over_these_bytes(chats):
    asked, bobs, _ = ask(chats)
    payload = chats.slack.payload(bobs, "placet.approve", BOB)
    now = int(time.time())
    check_problem(send_press(chats, payload, secret="0" * 32), 401, "invalid_signature")
    check_problem(send_press(chats, payload, headers={"X-Slack-Signature": "v0=" + "0" * 64}), 401, "invalid_signature")
    check_problem(
        send_press(chats, payload, headers={"X-Slack-Request-Timestamp": str(now + 1)}), 401, "invalid_signature"
    )
    for off in (-310, 310):
        check_problem(send_press(chats, payload, at=now + off), 401, "clock_skew")
    for name in ("X-Slack-Signature", "X-Slack-Request-Timestamp"):
        check_problem(send_press(chats, payload, headers={name: ""}), 401, "invalid_signature")
    other = chats.slack.payload(
        bobs, "placet.approve", BOB, team={"id": "T0OTHER"}, user={"id": BOB, "team_id": "T0OTHER"}
    )
    check_problem(send_press(chats, other), 403, "forbidden")
    assert chats.agent.state(asked["request_id"])["status"] == "pending"


def test_an_update_must_carry_the_secret_token(chats):
    asked, _, carols = ask(chats)
    update = chats.telegram.update(carols, "Approve", CAROLS)
    for secret in (None, "", "x", chats.telegram_secret.upper(), chats.telegram_secret + "x"):
        check_problem(send_update(chats, update, secret), 401, "invalid_signature")
    assert chats.agent.state(asked["request_id"])["status"] == "pending"


def test_a_replayed_press_changes_nothing(chats):
    asked, bobs, carols = ask(chats, "two.pay")
    press = chats.slack.payload(bobs, "placet.approve", BOB)
    update = chats.telegram.update(carols, "Approve", CAROLS, number=77)
    for _ in range(3):
        assert send_press(chats, press).status == 200
    assert [vote["reviewer"] for vote in chats.agent.state(asked["request_id"])["votes"]] == ["bob"]
    for _ in range(3):
        assert send_update(chats, update, chats.telegram_secret).status == 200
    before = entries(chats, asked)
    assert [entry["event"] for entry in before].count("vote.cast") == 2
    send_press(chats, press)
    send_update(chats, update, chats.telegram_secret)
    assert entries(chats, asked) == before


def test_what_is_no_press_of_ours_is_taken_and_ignored(chats):
    asked, bobs, _ = ask(chats)
    for changes in (
        {"type": "view_submission"}, {"actions": []}, {"actions": None}, {"user": None},
        {"actions": [{"type": "button", "action_id": "other", "value": "x"}]},
        {"actions": [{"type": "button", "action_id": "placet.open", "url": "https://x"}]},
        {"actions": [{"type": "button", "action_id": "placet.approve", "value": "a" * 2000}]},
        {"actions": [{"type": "button", "action_id": "placet.approve", "value": None}]},
    ):  # fmt: skip
        assert chats.slack.press(chats, bobs, "placet.approve", BOB, **changes).status == 200, changes
    for update in (
        {},
        {"update_id": 1},
        {"message": {}},
        {"callback_query": {"id": "1"}},
        {"callback_query": {"id": "1", "data": 7}},
    ):
        assert send_update(chats, update, chats.telegram_secret).status == 200, update
    assert chats.agent.state(asked["request_id"])["status"] == "pending"


def test_a_deleted_message_holds_nothing_up(chats):
    asked, bobs, carols = ask(chats)
    with chats.slack.lock:
        chats.slack.messages.pop(bobs)
        chats.slack.order.remove(bobs)
    chats.link(asked, "bob").approve()
    wait_until(lambda: "Approved by Bob" in chats.telegram.shows(carols), 10, "the other message")


def test_slack_that_asks_to_wait_or_fails_is_tried_again(chats):
    chats.slack.next(
        "chat.postMessage",
        (429, {"Retry-After": "1"}, {"ok": False, "error": "ratelimited"}),
        (503, {}, {}),
        (200, {}, {"ok": False, "error": "internal_error"}),
    )
    chats.slack.next("chat.update", (429, {"Retry-After": "1"}, {"ok": False, "error": "ratelimited"}), (500, {}, {}))
    chats.telegram.next(
        "sendMessage",
        (429, {}, {"ok": False, "error_code": 429, "parameters": {"retry_after": 1}}),
        (502, {}, {"ok": False, "error_code": 502, "description": "Bad Gateway"}),
    )
    chats.agent.asked()
    carols = chats.telegram.wait(CAROLS, seconds=30)[-1]
    bobs = chats.slack.wait(BOB, seconds=30)[-1]
    assert len(chats.slack.to(BOB)) == len(chats.telegram.to(CAROLS)) == 1
    chats.slack.press(chats, bobs, "placet.approve", BOB)
    settled(chats, bobs, carols, "Approved by Bob", 30)


def test_blocks_that_slack_refuses_become_a_plain_message_with_the_link(chats):
    chats.slack.next("chat.postMessage", (200, {}, {"ok": False, "error": "msg_blocks_too_long"}))
    asked = chats.agent.asked()
    bobs = chats.slack.wait(BOB)[-1]
    assert set(chats.slack.buttons(bobs)) == {"placet.open"}
    assert chats.slack.buttons(bobs)["placet.open"]["url"] == chats.link(asked, "bob").url


def test_the_longest_payload_fits_both_chats(chats):
    lines = {f"line {number}": "W" * 200 + " <&> *x* @here" for number in range(150)}
    asked, bobs, carols = ask(chats, payload=lines, summary="s" * 500)
    assert "not all of it" in chats.slack.shows(bobs) and "not all of it" in chats.telegram.shows(carols)
    assert chats.slack.count("chat.postMessage") == chats.telegram.count("sendMessage") == 1
    chats.slack.press(chats, bobs, "placet.approve", BOB, reason="r" * 501)
    wait_until(lambda: chats.slack.whispers, 10, "the word to Bob")
    assert chats.agent.state(asked["request_id"])["status"] == "pending"


def test_a_payload_of_emoji_fits_telegram_which_counts_them_twice(chats):
    asked, _, carols = ask(chats, payload={f"line {number}": "🦀" * 200 for number in range(40)}, summary="🦀" * 500)
    assert "not all of it" in chats.telegram.shows(carols) and chats.telegram.count("sendMessage") == 1
    assert set(chats.telegram.buttons(carols)) == {"Approve", "Reject", "Open the page"}
    assert chats.link(asked, "bob").vote("reject", reason="🦀" * 500).status == 200
    wait_until(lambda: "Rejected by Bob" in chats.telegram.shows(carols), 10, "the end in Telegram")


def test_what_telegram_refuses_becomes_a_plain_message_with_the_link(chats):
    refused = (400, {}, {"ok": False, "error_code": 400, "description": "Bad Request: can't parse entities"})
    chats.telegram.next("sendMessage", refused)
    asked, _, carols = ask(chats)
    assert chats.telegram.buttons(carols)["Open the page"]["url"] == chats.link(asked, "carol").url
    assert set(chats.telegram.buttons(carols)) == {"Open the page"}
    chats.telegram.next("editMessageText", refused)
    chats.agent.cancel(asked["request_id"])
    wait_until(lambda: "Withdrawn" in chats.telegram.shows(carols), 10, "the end in Telegram")


def test_one_outcome_whoever_presses_where_and_all_messages_say_the_same(chats):
    for round in range(5):
        asked, bobs, carols = ask(chats)
        bobs, carols = chats.slack.wait(BOB, round + 1)[-1], chats.telegram.wait(CAROLS, round + 1)[-1]
        page = chats.link(asked, "carol")
        nonce = page.nonce()
        at_once([
            lambda bobs=bobs: chats.slack.press(chats, bobs, "placet.approve", BOB),
            lambda bobs=bobs: chats.slack.press(chats, bobs, "placet.reject", BOB),
            lambda carols=carols: chats.telegram.press(chats, chats.telegram_secret, carols, "Reject", CAROLS),
            lambda page=page, nonce=nonce: page.post("approve", nonce),
            lambda asked=asked: chats.agent.cancel(asked["request_id"]),
        ])  # fmt: skip
        state = chats.agent.state(asked["request_id"])
        ends = [entry["event"] for entry in entries(chats, asked) if entry["event"] in ENDS]
        assert ends == [f"request.{state['status']}"]
        by = {"bob": "Bob", "carol": "Carol", "client:agent": "Invoice flow"}[state["decided_by"][0]]
        verb = {"approved": "Approved", "rejected": "Rejected", "cancelled": "Withdrawn"}[state["status"]]
        settled(chats, bobs, carols, f"{verb} by {by}")


ENDS = {"request.approved", "request.rejected", "request.expired", "request.cancelled"}


def test_a_press_at_the_deadline_itself_has_one_outcome(chats):
    asked, bobs, carols = ask(chats, "short.pay")
    # Taken while the buttons are there: both are pressed, whatever the messages show by then.
    press = chats.slack.payload(bobs, "placet.approve", BOB)
    update = chats.telegram.update(carols, "Approve", CAROLS)
    time.sleep(max(0.0, 1.95 - (time.time() - moment(asked["created_at"]))))
    answers = at_once([
        lambda: send_press(chats, press),
        lambda: send_update(chats, update, chats.telegram_secret),
    ])  # fmt: skip
    assert [answer.status for answer in answers] == [200, 200]
    state = wait_until(
        lambda: (s := chats.agent.state(asked["request_id"]))["status"] != "pending" and s, 10, "the end"
    )
    words = "Expired" if state["status"] == "expired" else "Approved by"
    settled(chats, bobs, carols, words)


def test_messages_are_brought_up_to_date_though_the_gate_is_killed(chats):
    asked, bobs, carols = ask(chats)
    chats.slack.next("chat.update", *[(503, {}, {})] * 3)
    chats.slack.press(chats, bobs, "placet.approve", BOB)
    chats.kill()
    chats.start()
    settled(chats, bobs, carols, "Approved by Bob", 60)
    assert chats.client("agent").state(asked["request_id"])["status"] == "approved"


def test_a_message_is_sent_once_though_the_gate_is_killed_while_slack_is_away(chats):
    chats.slack.next("chat.postMessage", *[(503, {}, {})] * 2)
    asked = chats.agent.asked(payload={"to": "Earlier AG"})
    wait_until(lambda: chats.slack.count("chat.postMessage") >= 1, 10, "the first try")
    chats.kill()
    chats.start()
    bobs = chats.slack.wait(BOB, seconds=60)[-1]
    # Its row has gone, and what was asked later has arrived: a second one would have come before.
    row = f"SELECT id FROM outbox WHERE id LIKE 'msg_{asked['approval_id']}_notify_%_slack_%'"
    wait_until(lambda: not chats.query(row), 10, "the message to be done")
    chats.client("agent").asked(payload={"to": "Later AG"})
    wait_until(lambda: about(chats.slack, BOB, "Later AG"), 10, "the later message")
    assert about(chats.slack, BOB, "Earlier AG") == [bobs]
    assert len(about(chats.slack, BOB, "Later AG")) == 1 and len(chats.slack.to(BOB)) == 2
    chats.slack.press(chats, bobs, "placet.approve", BOB)
    assert chats.client("agent").state(asked["request_id"])["status"] == "approved"


def test_a_get_of_every_url_of_every_message_changes_nothing(chats):
    _, bobs, carols = ask(chats)
    urls = {chats.slack.buttons(bobs)["placet.open"]["url"], chats.telegram.buttons(carols)["Open the page"]["url"]}
    urls |= set(
        re.findall(
            r"https?://[^\s\"\\>]+",
            json.dumps([list(chats.slack.messages.values()), list(chats.telegram.messages.values())]),
        )
    )
    assert all(url.startswith("https://gate.example.com/r/") for url in urls), urls
    wait_until(lambda: not chats.query("SELECT id FROM outbox"), 10, "an empty outbox")
    before = chats.settled_dump()
    for _ in range(3):
        for url in urls:
            for method in ("GET", "HEAD"):
                assert chats.http.send(method, urlsplit(url).path).status == 200
    for path in ("/v1/slack/interactions", "/v1/telegram/updates"):
        for method in ("GET", "HEAD"):
            assert chats.http.send(method, path).status == 405
    assert chats.settled_dump() == before


def test_no_secret_and_no_address_is_in_the_log_or_the_trail(chats):
    _, bobs, carols = ask(chats)
    chats.slack.next("chat.update", (200, {}, {"ok": False, "error": "invalid_auth"}))
    chats.slack.press(chats, bobs, "placet.approve", BOB)
    wait_until(lambda: "Approved by Bob" in chats.telegram.shows(carols), 10, "Telegram's message")
    told = chats.logs() + json.dumps(chats.audit())
    for secret in (BOT_TOKEN, SIGNING_SECRET, TELEGRAM_TOKEN, chats.telegram_secret, BOB, str(CAROLS)):
        assert secret not in told, secret


# ---------------------------------------------------------------- order, failover, nudges, quiet hours, pace


def people(text, hours=""):
    """A policy with one reviewer, whose entry is this text."""
    return f"""
issuer = "https://gate.example.com"
{hours}
[[clients]]
id = "agent"
rate_per_minute = 6000

[[reviewers]]
id = "bob"
roles = ["finance"]
slack = "{BOB}"
telegram = {BOBS}
email = "bob@example.com"
{text}

[[rules]]
name = "urgent"
when = 'action == "urgent.pay"'
urgent = true
stages = [{{ ask = ["finance"], within = "10m" }}]

[[rules]]
name = "all"
stages = [{{ ask = ["finance"], within = "10m" }}]
"""


@pytest.fixture
def bobs_gate(local_gate, slack, telegram):
    def make(text):
        gate = local_gate(people(text)).start()
        set_slack(gate, slack)
        gate.slack, gate.telegram, gate.telegram_secret = slack, telegram, set_telegram(gate, telegram)
        gate.agent = gate.client("agent")
        return gate

    return make


def test_the_first_channel_is_enough(bobs_gate):
    gate = bobs_gate('channels = ["telegram", "slack"]')
    asked = gate.agent.asked()
    gate.telegram.wait(BOBS)
    wait_until(lambda: gate.messages(asked, "bob", "telegram"), 10, "the outbox file")
    assert not gate.slack.to(BOB) and not gate.messages(asked, "bob", "email")


def test_the_next_channel_takes_over_from_one_that_refuses(bobs_gate):
    gate = bobs_gate('channels = ["slack", "telegram", "email"]')
    gate.slack.gone.add(BOB)
    gate.telegram.blocked.add(BOBS)
    asked = gate.agent.asked()
    wait_until(lambda: gate.messages(asked, "bob", "email"), 20, "the mail")
    assert gate.slack.count("chat.postMessage") == gate.telegram.count("sendMessage") == 1
    assert gate.logs().count("takes over") == 2


def test_the_next_channel_takes_over_from_one_that_fails_again_and_again(bobs_gate):
    gate = bobs_gate('channels = ["slack", "telegram"]')
    gate.slack.next("chat.postMessage", *[(503, {}, {})] * 9)
    gate.agent.asked()
    gate.telegram.wait(BOBS, seconds=30)
    assert gate.slack.count("chat.postMessage") == 3 and not gate.slack.to(BOB)


def test_a_nudge_tries_the_next_channel_and_both_are_settled(bobs_gate):
    gate = bobs_gate('channels = ["slack", "telegram"]\nnudge = "1s"')
    asked = gate.agent.asked()
    first, second = gate.slack.wait(BOB)[-1], gate.telegram.wait(BOBS, seconds=15)[-1]
    gate.telegram.press(gate, gate.telegram_secret, second, "Approve", BOBS)
    assert gate.agent.state(asked["request_id"])["decided_by"] == ["bob"]
    settled(gate, first, second, "Approved by")


def test_who_has_decided_is_not_nudged_even_by_a_gate_that_was_killed(bobs_gate):
    gate = bobs_gate('channels = ["slack", "telegram"]\nnudge = "2s"')
    gate.agent.asked(payload={"to": "First AG"})
    gate.slack.press(gate, gate.slack.wait(BOB)[-1], "placet.approve", BOB)
    gate.agent.asked(payload={"to": "Other AG"})
    wait_until(lambda: about(gate.slack, BOB, "Other AG"), 10, "the message about the other")
    gate.kill()
    gate.start()
    wait_until(lambda: about(gate.telegram, BOBS, "Other AG"), 40, "the nudge about the other")
    # The nudge of a third is due after that of the first would have been.
    gate.client("agent").asked(payload={"to": "Third AG"})
    wait_until(lambda: about(gate.telegram, BOBS, "Third AG"), 40, "the nudge about the third")
    nudged = {to: len(about(gate.telegram, BOBS, to)) for to in ("First AG", "Other AG", "Third AG")}
    assert nudged == {"First AG": 0, "Other AG": 1, "Third AG": 1}


def test_who_has_pressed_is_not_nudged_though_nothing_was_recorded(bobs_gate):
    gate = bobs_gate('channels = ["slack", "telegram"]\nnudge = "2s"')
    asked = gate.agent.asked(payload={"to": "First AG"})
    gate.slack.press(gate, gate.slack.wait(BOB)[-1], "placet.reject", BOB, reason="x" * 501)
    gate.agent.asked(payload={"to": "Other AG"})
    wait_until(lambda: about(gate.telegram, BOBS, "Other AG"), 20, "the nudge about the other")
    # The nudge about the first was due before it.
    assert not about(gate.telegram, BOBS, "First AG")
    state = gate.agent.state(asked["request_id"])
    assert (state["status"], state["votes"]) == ("pending", [])


def test_quiet_hours_hold_a_message_back_unless_the_rule_is_urgent(bobs_gate):
    now = time.gmtime()
    hours = f"{(now.tm_hour - 1) % 24:02d}:00-{(now.tm_hour + 2) % 24:02d}:00 UTC"
    gate = bobs_gate(f'channels = ["slack"]\nquiet = "{hours}"')
    gate.agent.asked()
    gate.agent.asked("urgent.pay")
    gate.slack.wait(BOB)
    due = wait_until(
        lambda: gate.query("SELECT due_at, attempt FROM outbox WHERE payload LIKE '%notify%'"), 10, "the row"
    )
    assert len(gate.slack.to(BOB)) == 1 and due[0][1] == 0 and due[0][0] / 1000 - time.time() > 1800


def test_a_flood_becomes_one_digest_with_the_inbox(bobs_gate):
    gate = bobs_gate('channels = ["slack"]')
    wait_until(lambda: time.time() % 60 < 40, 30, "room in this minute")
    for _ in range(26):
        gate.agent.asked(payload={"n": new_id()})
    digests = wait_until(lambda: gate.query("SELECT id FROM outbox WHERE id LIKE '%digest%'"), 20, "the digest")
    wait_until(lambda: not gate.query("SELECT id FROM outbox WHERE payload LIKE '%notify%'"), 20, "the messages")
    assert len(digests) == 1 and len(gate.slack.to(BOB)) == 20
    digest = gate.slack.wait(BOB, 21, 75)[-1]
    assert "26 requests wait for you" in gate.slack.shows(digest)
    url = gate.slack.buttons(digest)["placet.open"]["url"]
    assert gate.http.send("GET", urlsplit(url).path).status == 200


# ---------------------------------------------------------------- webhooks of reviewers


def test_a_reviewers_webhook_is_signed_guarded_and_told_the_end(local_gate, receiver: Receiver):
    url = receiver.address()
    text = people(f'webhook = "{url}"\ncallback_hosts = ["127.0.0.1"]\nchannels = ["webhook"]')
    gate = local_gate(text).start()
    agent = gate.client("agent")
    asked = agent.asked(payload={"to": "ACME", "amount": 5})
    first = receiver.wait(url)[0]
    ran = gate.cli("channel", "secret", "bob")
    first.verified(ran.stdout.strip().splitlines()[-1])
    event = first.json()
    assert event["type"] == "reviewer.asked" and event["data"]["reviewer"] == "bob"
    assert event["data"]["approval_id"] == asked["approval_id"] and "ACME" in event["data"]["title"]
    path = urlsplit(event["data"]["url"]).path
    Link(gate.http, path).approve()
    second = receiver.wait(url, 2)[1].json()
    assert (second["type"], second["data"]["status"]) == ("reviewer.settled", "approved")
    assert "Approved by bob" in second["data"]["text"]


def test_a_reviewers_webhook_goes_to_no_private_address(local_gate):
    gate = local_gate(people('webhook = "https://169.254.169.254/x"\nchannels = ["webhook", "email"]')).start()
    asked = gate.client("agent").asked()
    wait_until(lambda: gate.messages(asked, "bob", "email"), 20, "the mail instead")


# ---------------------------------------------------------------- the command


def test_secrets_are_set_from_standard_input_kept_private_and_backed_up(local_gate, slack, tmp_path):
    gate = local_gate(POLICY).start()
    ran = set_slack(gate, slack)
    assert BOT_TOKEN not in ran.stdout + ran.stderr and "/v1/slack/interactions" in ran.stdout
    kept = gate.data / "channels.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    listed = gate.cli("channel", "list", "--json")
    assert {"channel": "slack", "set": True, "is": "T012AB3CD"} in json.loads(listed.stdout)["channels"]
    assert BOT_TOKEN not in listed.stdout and SIGNING_SECRET not in listed.stdout
    backup = tmp_path / "backup.tar"
    assert gate.cli("backup", str(backup)).returncode == 0
    other = local_gate(None)
    assert other.cli("restore", str(backup)).returncode == 0
    assert json.loads((other.data / "channels.json").read_text()) == json.loads(kept.read_text())
    assert gate.cli("channel", "remove", "slack").returncode == 0
    assert json.loads(kept.read_text()) == {}


@pytest.mark.parametrize(
    "stdin",
    [
        "",
        "xoxb-1\n",
        "xoxp-1-2-abc\n" + SIGNING_SECRET,
        f"{BOT_TOKEN}\nnot a secret\n",
        f"{BOT_TOKEN}\n{SIGNING_SECRET}\nmore\n",
    ],
)
def test_what_is_no_secret_of_slacks_is_refused_and_not_repeated(local_gate, stdin):
    ran = local_gate(POLICY).cli("channel", "set", "slack", "--unchecked", stdin=stdin)
    assert (
        ran.returncode in (1, 2)
        and "xoxp-1-2-abc" not in ran.stderr
        and "not a secret" not in ran.stderr.replace("not a signing secret", "")
    )


def test_a_token_that_slack_does_not_take_changes_nothing(local_gate, slack):
    gate = local_gate(POLICY)
    slack.next("auth.test", (200, {}, {"ok": False, "error": "invalid_auth"}))
    ran = gate.cli("channel", "set", "slack", "--api-url", f"{slack.url}/api", stdin=f"{BOT_TOKEN}\n{SIGNING_SECRET}\n")
    assert ran.returncode == 1 and "invalid_auth" in ran.stderr and not (gate.data / "channels.json").exists()


def test_a_test_message_is_a_real_one(chats):
    ran = chats.cli("channel", "test", "slack", "--reviewer", "bob")
    assert ran.returncode == 0, ran
    assert "this gate reaches you" in chats.slack.shows(chats.slack.wait(BOB)[-1])
    assert chats.cli("channel", "test", "telegram", "--reviewer", "carol").returncode == 0
    assert chats.cli("channel", "test", "telegram", "--reviewer", "bob").returncode == 1
    assert chats.cli("channel", "test", "fax", "--reviewer", "bob").returncode == 2
    chats.slack.gone.add(BOB)
    failed = chats.cli("channel", "test", "slack", "--reviewer", "bob")
    assert failed.returncode == 1 and "channel_not_found" in failed.stderr


def test_check_and_doctor_know_which_channels_this_gate_has(local_gate, slack):
    gate = local_gate(POLICY).start()
    checked = gate.cli("policy", "check")
    assert checked.returncode == 0 and "`bob` can be reached by slack only" in checked.stdout
    assert "`carol` can be reached by telegram only" in gate.cli("doctor").stdout
    set_slack(gate, slack)
    assert "`bob`" not in gate.cli("policy", "check").stdout
    assert "Slack takes the app's token, for Acme" in gate.cli("doctor").stdout
    slack.next("auth.test", (200, {}, {"ok": False, "error": "token_revoked"}))
    assert "Slack does not take the app's token: Slack says `token_revoked`" in gate.cli("doctor").stdout


def test_who_writes_to_the_bot_learns_the_number_for_the_policy(chats):
    start = {"update_id": 1, "message": {"text": "/start", "chat": {"id": 42}, "from": {"id": 42, "is_bot": False}}}
    answer = send_update(chats, start, chats.telegram_secret).json()
    assert (answer["method"], answer["chat_id"]) == ("sendMessage", 42) and "telegram = 42" in answer["text"]


FAULTS = {
    'slack = "bob"': "is not a user id of Slack",
    'telegram = "bob"': "expected a whole number",
    "telegram = 0": "expected a whole number from 1 to",
    'webhook = "ftp://x/"': "cannot be called",
    'webhook = "http://hooks.example.com/"': "plain http is only for hosts named",
    'channels = ["slack"]': "has no `slack`",
    'channels = ["fax"]': "is not a channel",
    "channels = []": "at least one channel",
    'email = "b@example.com"\nchannels = ["email", "email"]': "named twice",
    'nudge = "5m"': "name at least two",
    "settled_mail = true": "is for reviewers with an `email`",
    'email = "b@example.com"\nsettled_mail = "yes"': "expected true or false",
    'quiet = "22:00-07:00"': "no time zone",
}


@pytest.mark.parametrize("entry", FAULTS, ids=list(FAULTS.values()))
def test_a_wrong_entry_is_named(local_gate, entry):
    text = f"""
[[clients]]
id = "agent"
[[reviewers]]
id = "bob"
roles = ["finance"]
{entry}
[[rules]]
name = "all"
stages = [{{ ask = ["finance"], within = "10m" }}]
"""
    ran = local_gate(text).cli("policy", "check")
    assert ran.returncode == 1 and FAULTS[entry] in ran.stdout, ran.stdout
