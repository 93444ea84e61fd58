"""The gate's words: the title from the hashed payload, secrets that nobody sees, and what a reviewer may change."""

from placet_client import Form, bad_fields, check_problem, digest, wait_until

TITLED = {"amount": 5000, "currency": "EUR", "to": "ACME GmbH", "iban": "DE89370400440532013000"}


def paths(message):
    """What people read of a message."""
    return message["subject"] + "\n" + message["text"]


def test_the_title_is_the_same_wherever_people_read_it(gate, agent):
    asked = agent.asked("title.pay", payload=TITLED)
    assert asked["title"] == "Pay 5,000.00 EUR to ACME GmbH"
    for message in gate.messages(asked, "carol") or [gate.message(asked, "carol")]:
        assert asked["title"] in message["subject"], message
        assert message["text"].splitlines()[0] == asked["title"], message
    by_sms = gate.message(asked, "bob", "sms")
    assert by_sms["text"].splitlines()[0] == asked["title"] and by_sms["url"] in by_sms["text"], by_sms
    assert "5,000.00 EUR" in gate.link(asked, "bob").page().text


def test_without_a_title_the_gate_says_what_the_action_does(agent):
    asked = agent.asked("ask.email.send", payload={"to": "ann@example.com", "subject": "Hello", "body": "Dear Ann"})
    assert asked["title"] == "Send an email to ann@example[.]com: Hello"


def test_a_secret_is_seen_by_nobody_and_the_digest_is_of_what_was_asked(gate, agent):
    secrets = {
        "headers": {"Authorization": "Bearer a1b2c3d4e5f6g7"},
        "note": "use sk-proj-4fJ2kq81Lx0aBcDe",
        "pin": "81726354",
    }
    payload = TITLED | secrets
    asked = agent.asked("title.pay", payload=payload, summary="with ghp_16C7e42F292c6912E7710c838347Ae178B4a")
    assert asked["payload_sha256"] == digest(payload)
    link = gate.link(asked, "bob")
    seen = [link.page().text, link.http.send("GET", link.path, {"Accept": "application/json"}).text]
    seen += [paths(message) for message in gate.messages(asked)]
    for text in seen:
        for secret in ("a1b2c3d4e5f6g7", "4fJ2kq81Lx0aBcDe", "81726354", "16C7e42F292c6912E7710c838347Ae178B4a"):
            assert secret not in text, text
    assert "[hidden " in seen[0]
    ended = link.approve()
    assert ended["status"] == "approved"
    token = agent.state(asked["request_id"])["token"]
    assert agent.verify(token, payload=payload)["valid"]


def test_an_approval_that_must_be_confirmed_needs_the_end_of_the_digest(gate, agent):
    asked = agent.asked("title.confirm", payload=TITLED)
    link = gate.link(asked, "bob")
    for typed in (None, "", "zzzz", asked["payload_sha256"]):
        fields = {"decision": "approve", "nonce": link.nonce()} | ({} if typed is None else {"confirm": typed})
        assert bad_fields(check_problem(link.post_fields(fields), 422, "invalid_request")) == {"confirm"}
    assert agent.state(asked["request_id"])["status"] == "pending"
    fields = {"decision": "approve", "nonce": link.nonce(), "confirm": asked["payload_sha256"][-4:]}
    assert link.post_fields(fields).json()["status"] == "approved"


def test_a_reviewer_changes_what_the_rule_names_and_the_token_binds_that(gate, agent):
    asked = agent.asked("title.edit", payload=TITLED)
    link = gate.link(asked, "bob")
    changed = TITLED | {"amount": 4500}

    def post(decision, **edits):
        fields = {"decision": decision, "nonce": link.nonce()}
        return link.post_fields(fields | {f"edit:payload.{name}": value for name, value in edits.items()})

    assert bad_fields(check_problem(post("approve", to="Mallory"), 422, "invalid_request")) == {"edit:payload"}
    check_problem(post("approve", amount="999999"), 403, "forbidden")
    page = link.post_fields({"decision": "change", "nonce": link.nonce(), "edit:payload.amount": "4500"}, "text/html")
    assert page.status == 200 and "4,500.00 EUR" in page.text and digest(changed)[:4] in page.text
    assert agent.state(asked["request_id"])["status"] == "pending"

    ended = post("approve", amount="4500").json()
    assert (ended["status"], ended["payload_sha256"], ended["payload"]) == ("approved", digest(changed), changed)
    assert ended["title"] == "Pay 4,500.00 EUR to ACME GmbH"
    assert ended["changes"] == {"payload.amount": "5,000.00 EUR became 4,500.00 EUR, changed by bob"}
    token = agent.state(asked["request_id"])["token"]
    assert agent.verify(token, payload=changed)["valid"]
    assert agent.verify(token, payload=TITLED)["problem"] == "payload_mismatch"
    trail = wait_until(lambda: gate.audit_of(asked), what="the trail")
    (entry,) = [entry for entry in trail if entry["event"] == "payload.changed"]
    assert entry["actor"] == "bob" and "payload.amount" in entry["detail"] and digest(changed) in entry["detail"]
    # What was approved is what its entries name, as the token does; what was asked stays named where it was asked.
    of = {entry["event"]: entry["payload_sha256"] for entry in trail}
    assert (of["request.asked"], of["vote.cast"], of["request.approved"]) == (
        asked["payload_sha256"], digest(changed), digest(changed),
    )  # fmt: skip
    assert "4500" not in entry["detail"].replace(digest(changed), "").replace(asked["payload_sha256"], "")


def test_a_quorum_approves_one_payload(gate, agent):
    asked = agent.asked("title.pair", payload=TITLED)
    bob, carol = gate.link(asked, "bob"), gate.link(asked, "carol")
    before = carol.nonce()
    edit = {"decision": "approve", "nonce": bob.nonce(), "edit:payload.amount": "4500"}
    assert bob.post_fields(edit).json()["status"] == "pending"
    blind = carol.post("approve", before)
    assert bad_fields(check_problem(blind, 422, "invalid_request")) == {"payload_sha256"}
    other = {"decision": "approve", "nonce": carol.nonce(), "edit:payload.amount": "4000"}
    check_problem(carol.post_fields(other), 403, "forbidden")
    hidden = {}
    page = carol.page().text
    assert "changed what was asked" in page and "4,500.00 EUR" in page
    for part in page.split("<form")[1:]:
        found = Form("<form" + part).hidden
        hidden = found if "payload_sha256" in found else hidden
    ended = carol.post_fields({"decision": "approve", **hidden}).json()
    assert (ended["status"], sorted(ended["decided_by"])) == ("approved", ["bob", "carol"])
    assert ended["payload_sha256"] == digest(TITLED | {"amount": 4500})


def test_not_now_decides_nothing(gate, agent):
    asked = agent.asked()
    link = gate.link(asked, "bob")
    path = link.path
    link.path = path + "?later"
    answer = link.post_fields({"nonce": "any"}, "text/html")
    assert answer.status == 200 and "Not decided" in answer.text
    link.path = path
    assert link.approve()["status"] == "approved"


def test_a_tapped_reason_is_read_by_the_agent(gate, agent):
    asked = agent.asked()
    link = gate.link(asked, "bob")
    fields = {"decision": "reject", "nonce": link.nonce(), "because": "Wrong amount", "reason": "50, not 5000"}
    assert link.post_fields(fields).json()["reason"] == "Wrong amount: 50, not 5000"
