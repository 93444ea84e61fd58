"""The life of a request, from the ask to the token, as the asker and the reviewer see it."""

import threading
import time

from placet_client import (
    Form,
    check_approval,
    check_problem,
    digest,
    moment,
    new_id,
    wait_until,
    without_token,
)


def test_an_ask_is_reviewed_on_the_page_and_answered_with_a_token(gate, agent):
    payload = {"to": "ACME", "amount": 1250.5, "lines": [{"sku": "x", "n": 2}]}
    answer = agent.ask("ask.pay", payload, summary="pay ACME", metadata={"run": "17"})
    assert answer.status == 201 and answer.content_type == "application/json", answer
    asked = check_approval(answer.json(), at_ask=True)
    assert (asked["status"], asked["client"], asked["action"]) == ("pending", "agent", "ask.pay")
    assert (asked["summary"], asked["metadata"], asked["rule"]) == ("pay ACME", {"run": "17"}, "people")
    assert (asked["stage"], asked["votes"], asked["payload_sha256"]) == (1, [], digest(payload))
    assert abs(moment(asked["deadline"]) - moment(asked["created_at"]) - 3600) < 1

    link = gate.link(asked, "bob")
    page = link.page()
    assert page.status == 200 and page.content_type == "text/html", page
    form = Form(page.text)
    assert sorted(form.buttons) == [("decision", "approve"), ("decision", "reject")]
    assert form.areas == ["reason"] and list(form.hidden) == ["nonce"]
    assert "pay ACME" in page.text and "ACME" in page.text and asked["payload_sha256"][:8] in page.text

    thanks = link.vote("approve", accept="text/html")
    assert thanks.status == 200 and thanks.content_type == "text/html", thanks

    ended = check_approval(agent.state(asked["request_id"]))
    assert (ended["status"], ended["approved"], ended["decided_by"]) == ("approved", True, ["bob"])
    assert [(vote["reviewer"], vote["decision"]) for vote in ended["votes"]] == [("bob", "approve")]
    verified = agent.verify(ended["token"], payload=payload)
    assert verified["valid"] is True and verified["problem"] is None, verified
    assert verified["claims"]["sub"] == asked["request_id"]
    unchanging = (
        "request_id",
        "approval_id",
        "client",
        "action",
        "summary",
        "payload_sha256",
        "metadata",
        "rule",
        "created_at",
    )
    assert {name: ended[name] for name in unchanging} == {name: asked[name] for name in unchanging}


def test_a_reviewer_gets_the_approval_as_json_when_asking_for_json(gate, agent):
    asked = agent.asked()
    answer = gate.link(asked, "bob").vote("approve")
    assert answer.status == 200 and answer.content_type == "application/json", answer
    assert check_approval(answer.json(), of_asker=False)["status"] == "approved"


def test_a_link_opens_and_decides_with_what_a_mail_program_glues_to_it(gate, agent):
    asked = agent.asked()
    link = gate.link(asked, "bob")
    path = link.path
    for glued in (".", ")", "/", "/).", "/more/", "?utm_source=mail"):
        link.path = path + glued
        answer = link.page()
        assert (answer.status, answer.content_type) == (200, "text/html"), (glued, answer)
    link.path = path + "/"
    nonce = Form(link.page().text).hidden["nonce"]
    assert link.post("approve", nonce).status == 200
    assert agent.state(asked["request_id"])["decided_by"] == ["bob"]


def test_every_reviewer_of_the_stage_gets_a_link_of_their_own(gate, agent):
    asked = agent.asked()
    bob, carol = gate.link(asked, "bob"), gate.link(asked, "carol")
    assert bob.url != carol.url
    wait_until(lambda: gate.told(asked) == {"bob", "carol"}, what="both to be told")
    for message in gate.messages(asked):
        assert {"reviewer", "channel", "subject", "text", "url"} <= message.keys(), message
        assert message["url"] in message["text"] or message["channel"] != "sms", message
    by_sms = gate.message(asked, "bob", "sms")
    assert len(by_sms["text"]) <= 160, by_sms
    assert [message["channel"] for message in gate.messages(asked, "carol")] == ["email"]


def test_a_text_message_stays_within_160_characters_whatever_the_agent_writes(gate, agent):
    asked = agent.asked(summary="urgent " * 70, action="ask." + "a" * 60, payload={"to": "x" * 300, "amount": 1e6})
    by_sms = gate.message(asked, "bob", "sms")
    assert len(by_sms["text"]) <= 160 and by_sms["url"] in by_sms["text"], by_sms


def test_a_rejection_carries_its_reason(gate, agent):
    asked = agent.asked()
    ended = gate.link(asked, "carol").reject(reason="wrong IBAN, ask <b>Finance</b>")
    check_approval(ended, of_asker=False)
    assert (ended["status"], ended["approved"], ended["decided_by"]) == ("rejected", False, ["carol"])
    assert ended["reason"] == ended["votes"][0]["reason"] == "wrong IBAN, ask <b>Finance</b>"
    state = agent.state(asked["request_id"])
    assert without_token(state) == ended
    assert agent.verify(state["token"])["problem"] == "not_approved"


def test_a_client_withdraws_its_request(gate, agent):
    asked = agent.asked()
    link = gate.link(asked, "bob")
    nonce = link.nonce()
    answer = agent.cancel(asked["request_id"])
    assert answer.status == 200, answer
    ended = check_approval(answer.json())
    assert (ended["status"], ended["approved"], ended["decided_by"]) == ("cancelled", False, ["client:agent"])
    late = link.post("approve", nonce)
    assert check_problem(late, 409, "already_decided")["approval"] == without_token(ended)
    again = agent.cancel(asked["request_id"])
    assert check_problem(again, 409, "already_decided")["approval"] == ended


def test_a_request_expires_to_the_second_with_nobody_polling(gate, agent, receiver):
    url = receiver.address()
    asked = agent.asked("quick.pay", callback_url=url)
    deadline = moment(asked["deadline"])
    assert abs(deadline - moment(asked["created_at"]) - gate.pace.quick) < 0.5
    delivery = receiver.wait(url)[0]
    approval = check_approval(delivery.approval)
    assert -0.05 <= delivery.at - deadline < gate.pace.slack, delivery.at - deadline
    assert 0 <= moment(approval["decided_at"]) - deadline < gate.pace.slack
    assert (approval["status"], approval["approved"]) == ("expired", False)
    listed = agent.list(status="expired", limit=100).json()["requests"]
    assert approval in listed
    assert agent.state(asked["request_id"]) == approval


def test_reading_a_request_past_its_deadline_finds_it_settled(agent):
    asked = agent.asked(timeout_seconds=1)
    answer = agent.get(asked["request_id"], wait=10)
    assert answer.status == 200 and answer.json()["status"] == "expired", answer
    assert abs(moment(asked["deadline"]) - moment(asked["created_at"]) - 1) < 0.5


def test_a_request_climbs_its_stages_and_a_decider_answers_from_the_queue(gate, agent, jira, receiver):
    url = receiver.address()
    asked = agent.asked("ladder.pay", callback_url=url)
    assert asked["stage"] == 1
    first = gate.link(asked, "bob")
    wait_until(lambda: gate.told(asked) == {"bob", "carol"}, what="both of the first stage to be told")
    too_soon = jira.decision(asked["request_id"], "approve")
    check_problem(too_soon, {403, 404, 409})
    gate.link(asked, "olga")
    queued = gate.queued(asked)
    assert queued["approval"]["stage"] == 3 and queued["approval"]["status"] == "pending"
    check_approval(queued["approval"])
    assert queued["decision_url"].endswith(f"/v1/requests/{asked['request_id']}/decision?client=agent")
    assert agent.state(asked["request_id"])["stage"] == 3

    gone = first.page()
    assert gone.status in (200, 410), gone
    stale = first.post("approve", "whatever")
    assert stale.status in (410, 422), stale

    answer = jira.decision(asked["request_id"], "approve", client="agent", reason="CHG-1")
    assert answer.status == 200, answer
    ended = check_approval(answer.json(), of_asker=False)
    assert (ended["status"], ended["reason"], ended["decided_by"]) == ("approved", "CHG-1", ["client:jira"])
    state = agent.state(asked["request_id"])
    assert receiver.wait(url)[0].approval == state and without_token(state) == ended
    late = jira.decision(asked["request_id"], "reject")
    assert check_problem(late, 409, "already_decided")["approval"] == ended


def test_a_link_of_a_stage_that_is_over_is_gone(gate, agent):
    asked = agent.asked("ladder.pay")
    first = gate.link(asked, "bob")
    nonce = first.nonce()
    wait_until(lambda: agent.state(asked["request_id"])["stage"] > 1, what="the second stage")
    check_problem(first.post("approve", nonce), 410, "link_expired")
    state = agent.state(asked["request_id"])
    assert (state["status"], state["votes"]) == ("pending", [])


def test_a_decider_answers_a_queue_request_by_either_id(gate, agent, other, jira):
    first = agent.asked("queue.pay")
    second = other.asked("queue.pay")
    assert first["stage"] == 1 and gate.queued(first)["payload"].keys() == {"n"}
    assert jira.decision(first["request_id"], "reject", reason="no").json()["status"] == "rejected"
    assert jira.decision(second["request_id"], "approve").json()["status"] == "approved"


def test_one_request_id_of_two_clients_needs_the_client_named(agent, other, jira):
    shared = new_id()
    for client in (agent, other):
        client.asked("queue.pay", request_id=shared)
    unclear = jira.decision(shared, "approve")
    check_problem(unclear, {409, 422})
    assert jira.decision(shared, "approve", client="other").json()["client"] == "other"
    assert agent.state(shared)["status"] == "pending"
    assert other.state(shared)["status"] == "approved"


def test_a_quorum_takes_two_distinct_reviewers(gate, agent):
    asked = agent.asked("two.pay")
    bob = gate.link(asked, "bob")
    assert bob.approve()["status"] == "pending"
    once_more = bob.approve()
    assert (once_more["status"], len(once_more["votes"])) == ("pending", 1)
    ended = gate.link(asked, "carol").approve()
    assert ended["status"] == "approved" and sorted(ended["decided_by"]) == ["bob", "carol"]
    assert [vote["reviewer"] for vote in ended["votes"]] == ["bob", "carol"]


def test_one_rejection_ends_what_needs_a_quorum(gate, agent):
    asked = agent.asked("two.pay")
    gate.link(asked, "bob").approve()
    ended = gate.link(asked, "carol").reject(reason="too much")
    assert (ended["status"], ended["decided_by"], ended["reason"]) == ("rejected", ["carol"], "too much")


def test_a_reviewer_may_go_from_approve_to_reject_while_it_is_pending(gate, agent):
    asked = agent.asked("two.pay")
    bob = gate.link(asked, "bob")
    bob.approve()
    ended = bob.reject(reason="on second thoughts")
    assert (ended["status"], ended["decided_by"]) == ("rejected", ["bob"])


def test_votes_of_one_stage_count_in_the_next(gate, agent):
    asked = agent.asked("carry.pay")
    gate.link(asked, "bob").approve()
    olga = gate.link(asked, "olga")
    assert agent.state(asked["request_id"])["stage"] == 2
    ended = olga.approve()
    assert ended["status"] == "approved" and sorted(ended["decided_by"]) == ["bob", "olga"]


def test_a_backup_is_asked_for_a_reviewer_who_is_away(gate, agent):
    asked = agent.asked("away.help")
    ended = gate.link(asked, "erin").approve()
    assert gate.told(asked) == {"erin"}
    assert (ended["status"], ended["decided_by"]) == ("approved", ["erin"])


def test_the_owner_of_a_client_may_reject_but_not_approve_its_requests(gate, agent):
    asked = agent.asked("owned.pay")
    alice = gate.link(asked, "alice")
    form = alice.form()
    assert form.buttons == [("decision", "reject")]
    check_problem(alice.post("approve", form.hidden["nonce"]), 403, "forbidden")
    state = agent.state(asked["request_id"])
    assert (state["status"], state["votes"]) == ("pending", [])
    assert alice.reject()["decided_by"] == ["alice"]


def test_an_owner_may_approve_where_the_rule_says_so(gate, agent):
    asked = agent.asked("mine.pay")
    ended = gate.link(asked, "alice").approve()
    assert (ended["status"], ended["decided_by"]) == ("approved", ["alice"])


def test_nobody_is_the_owner_of_another_clients_requests(gate, other):
    asked = other.asked("owned.pay")
    assert gate.link(asked, "alice").approve()["decided_by"] == ["alice"]


def test_a_rule_decides_alone(agent, receiver):
    url = receiver.address()
    answer = agent.ask("auto.approve", {"a": 1}, callback_url=url)
    assert answer.status == 201, answer
    approved = check_approval(answer.json(), at_ask=True)
    assert (approved["status"], approved["decided_by"], approved["stage"]) == ("approved", ["policy:auto yes"], None)
    assert agent.verify(approved["token"], payload={"a": 1})["claims"]["decided_by"] == ["policy:auto yes"]
    assert receiver.wait(url)[0].approval == agent.state(approved["request_id"])
    rejected = check_approval(agent.asked("auto.reject"), at_ask=True)
    assert (rejected["status"], rejected["decided_by"]) == ("rejected", ["policy:auto no"])


def test_numbers_compare_whatever_their_kind(agent):
    for amount in (20, 20.0, 19.5, 0):
        assert agent.asked("refund.create", {"amount": amount})["status"] == "approved", amount
    for amount in (20.01, 21, 2**53 - 1):
        assert agent.asked("refund.create", {"amount": amount})["status"] == "rejected", amount


def test_what_no_rule_matches_is_rejected(agent):
    ended = check_approval(agent.asked("unheard.of"), at_ask=True)
    assert (ended["status"], ended["rule"], ended["stage"]) == ("rejected", None, None)


def test_an_action_left_out_is_unspecified(agent):
    answer = agent.call("POST", "/v1/requests", {"request_id": new_id(), "summary": "s", "payload": {}})
    assert answer.status == 201 and answer.json()["action"] == "unspecified", answer


def test_a_condition_that_cannot_be_evaluated_never_approves(gate, agent):
    alone = agent.asked("broken.alone", {"x": 1})
    assert (alone["status"], alone["approved"]) == ("rejected", False)
    wrong_type = agent.asked("refund.create", {"amount": "20"})
    assert (wrong_type["status"], wrong_type["approved"]) == ("rejected", False)
    asks = agent.asked("broken.asks", {"x": 1})
    assert asks["status"] == "pending"
    gate.link(asks, "bob")
    ended = agent.ended(asks["request_id"])
    assert (ended["status"], ended["approved"]) == ("expired", False)


def test_silence_never_approves_and_the_end_is_told(agent, receiver):
    url = receiver.address()
    asked = agent.asked("lapse.pay", timeout_seconds=600, callback_url=url)
    ended = check_approval(receiver.wait(url)[0].approval)
    assert (ended["status"], ended["approved"], ended["decided_by"]) == ("expired", False, ["timeout:lapse"])
    assert agent.state(asked["request_id"]) == ended


def test_the_callers_own_short_timeout_never_approves(agent, gate):
    asked = agent.asked("lapse.pay", timeout_seconds=1)
    ended = agent.ended(asked["request_id"])
    assert (ended["status"], ended["approved"]) == ("expired", False)


def test_the_rule_caps_the_callers_timeout(agent):
    asked = agent.asked("ask.pay", timeout_seconds=30 * 24 * 3600)
    assert abs(moment(asked["deadline"]) - moment(asked["created_at"]) - 3600) < 1


def test_a_long_poll_is_released_by_the_decision(gate, agent):
    asked = agent.asked()
    nonce = gate.link(asked, "bob").nonce()
    got = {}

    def poll():
        got["answer"] = agent.get(asked["request_id"], wait=25)
        got["at"] = time.monotonic()

    waiter = threading.Thread(target=poll)
    waiter.start()
    waiter.join(0.3)
    assert waiter.is_alive(), got
    assert gate.link(asked, "bob").post("approve", nonce).status == 200
    decided = time.monotonic()
    waiter.join(60)
    assert got["answer"].json()["status"] == "approved"
    assert got["at"] - decided < gate.pace.slack


def test_an_ask_that_waits_is_released_by_the_decision(gate, agent):
    request_id, got = new_id(), {}

    def ask():
        got["answer"] = agent.ask(request_id=request_id, wait_seconds=25)
        got["at"] = time.monotonic()

    asker = threading.Thread(target=ask)
    asker.start()
    asked = wait_until(lambda: (answer := agent.get(request_id)).status == 200 and answer.json(), what="the request")
    gate.link(asked, "bob").approve()
    decided = time.monotonic()
    asker.join(60)
    answer = got["answer"]
    assert answer.status == 201 and check_approval(answer.json(), at_ask=True)["status"] == "approved", answer
    assert got["at"] - decided < gate.pace.slack


def test_a_wait_that_runs_out_answers_the_pending_state(gate, agent):
    asked = agent.asked()
    started = time.monotonic()
    answer = agent.get(asked["request_id"], wait=1)
    assert answer.status == 200 and check_approval(answer.json())["status"] == "pending"
    assert 0.9 <= time.monotonic() - started < 2 + gate.pace.slack


def test_waiting_for_what_has_ended_answers_at_once(gate, agent):
    ended = agent.asked("auto.approve")
    started = time.monotonic()
    assert agent.get(ended["request_id"], wait=25).json()["status"] == "approved"
    assert time.monotonic() - started < 2 + gate.pace.slack


def test_asking_again_with_the_same_body_is_the_same_request(gate, agent):
    body = {"request_id": new_id(), "summary": "s", "action": "ask.pay", "payload": {"a": 1, "b": [1, 2]}}
    first = agent.call("POST", "/v1/requests", body)
    again = agent.call("POST", "/v1/requests", body)
    assert (first.status, again.status) == (201, 200)
    assert again.json()["approval_id"] == first.json()["approval_id"]
    gate.link(first.json(), "bob").approve()
    after = agent.call("POST", "/v1/requests", body)
    assert after.status == 200 and check_approval(after.json(), at_ask=True)["status"] == "approved"


def test_the_same_request_id_with_another_body_is_a_conflict(agent):
    asked = agent.asked(payload={"amount": 1})
    conflict = agent.ask(payload={"amount": 2}, request_id=asked["request_id"])
    check_problem(conflict, 409, "request_id_conflict")
    assert agent.state(asked["request_id"])["payload_sha256"] == digest({"amount": 1})


def test_request_ids_are_each_clients_own(agent, other):
    shared = new_id()
    mine, theirs = agent.asked(request_id=shared), other.asked(request_id=shared)
    assert mine["approval_id"] != theirs["approval_id"]
    assert other.cancel(shared).status == 200
    assert agent.state(shared)["status"] == "pending"


def test_a_twin_that_is_still_pending_is_named(agent, other):
    payload = {"to": new_id(), "amount": 7}
    first = agent.asked(payload=payload)
    assert first.get("pending_twin") is None
    second = agent.asked(payload=payload)
    assert second["pending_twin"] == first["request_id"]
    assert other.asked(payload=payload).get("pending_twin") is None
    assert agent.asked("ask.other", payload).get("pending_twin") is None


def test_requests_are_listed_newest_first_page_by_page(lister, other):
    """Of a client that no other test asks as."""
    ids = [lister.asked("auto.approve" if number % 3 == 0 else "ask.pay")["request_id"] for number in range(25)]
    other.asked()
    first = lister.list().json()
    assert first.keys() == {"requests", "next_cursor"} and len(first["requests"]) == 20
    seen, cursor, pages = [], None, 0
    while True:
        page = lister.list(limit=7, **({"cursor": cursor} if cursor else {})).json()
        seen += [check_approval(approval)["request_id"] for approval in page["requests"]]
        cursor, pages = page["next_cursor"], pages + 1
        if cursor is None:
            break
    assert seen == ids[::-1] and pages == 4
    approved = lister.list(status="approved", limit=100).json()["requests"]
    assert [approval["request_id"] for approval in approved] == ids[::3][::-1]
    assert all(approval["status"] == "pending" for approval in lister.list(status="pending").json()["requests"])
    assert lister.list(status="cancelled").json() == {"requests": [], "next_cursor": None}


def test_a_client_over_its_rate_is_told_when_to_come_back(slow):
    answers = [slow.ask("auto.approve") for _ in range(12)]
    assert answers[0].status == 201, answers[0]
    refused = [answer for answer in answers if answer.status != 201]
    assert len(refused) >= 2, answers  # two minutes may be touched, with 5 asks each
    for answer in refused:
        check_problem(answer, 429, "rate_limited")
        assert 1 <= int(answer.headers["retry-after"]) <= 60


def test_metadata_comes_back_as_it_went(agent):
    metadata = {"zap": "1", "empty": "", "ünïcode": "☃ 😀", 'quo"ted': "<script>\n"}
    asked = agent.asked(metadata=metadata)
    assert asked["metadata"] == metadata == agent.state(asked["request_id"])["metadata"]


def test_the_approval_has_one_shape_everywhere(gate, agent, auditor, jira, receiver):
    hooked, called = receiver.address(), receiver.address()
    gate.hook(auditor, hooked)
    asked = agent.asked("queue.pay", callback_url=called)
    # Others may have asked meanwhile, as the same client.
    (listed,) = [one for one in agent.list(limit=100).json()["requests"] if one["request_id"] == asked["request_id"]]
    shapes = [asked, agent.state(asked["request_id"]), listed, gate.queued(asked)["approval"]]
    decided = jira.decision(asked["request_id"], "approve").json()
    ended = agent.state(asked["request_id"])
    assert decided == without_token(ended)
    shapes += [ended, receiver.wait(called)[0].approval]

    def of_ours():
        found = [
            delivery
            for delivery in receiver.received(hooked)
            if delivery.approval["approval_id"] == asked["approval_id"]
        ]
        return found if len(found) == 2 else None

    for delivery in wait_until(of_ours, 15, "both events at the hook"):
        body = delivery.json()
        assert body.keys() == {"type", "timestamp", "data"}
        moment(body["timestamp"])
        # An auditor sees how it ended, but does not get what an executor would act on.
        assert body["data"]["token"] is None
        token = ended["token"] if body["data"]["status"] != "pending" else None
        shapes.append({**body["data"], "token": token})
    shapes.append(agent.cancel(asked["request_id"]).json()["approval"])
    for shape in shapes:
        check_approval(shape, at_ask=shape is asked)
    assert all(shape == ended for shape in shapes if shape["status"] != "pending")


def test_the_page_never_makes_the_agents_words_live(gate, agent):
    asked = agent.asked(
        summary='<script>alert(1)</script> see https://evil.example/phish <a href="https://evil.example">ok</a>',
        payload={"<img src=x onerror=alert(1)>": "javascript:alert(1)", "link": "https://evil.example/in-payload"},
    )
    page = gate.link(asked, "bob").page()
    text = page.text.lower()
    assert "<script>alert" not in text and "<img src=x" not in text and '<a href="https://evil' not in text
    assert 'href="https://evil.example' not in text and 'href="javascript:' not in text
    guard = page.headers["content-security-policy"]
    assert "default-src 'none'" in guard and "unsafe-inline" not in guard and "frame-ancestors 'none'" in guard
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "no-store" in page.headers["cache-control"]


def test_the_page_says_what_happened_after_the_end(gate, agent):
    asked = agent.asked()
    link = gate.link(asked, "bob")
    gate.link(asked, "carol").reject(reason="duplicate of 17")
    page = link.page()
    assert page.status == 200 and "Carol" in page.text and "duplicate of 17" in page.text, page
    assert 'name="decision"' not in page.text


def test_health_says_so(gate):
    assert gate.http.send("GET", "/healthz").status == 200
