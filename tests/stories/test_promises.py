"""The eight promises, attacked: scanners, races, forgeries."""

import json
import random
import re
import threading
import time
from urllib.parse import urlencode, urlsplit

import policy
import pytest
from placet_client import (
    Form,
    Link,
    at_once,
    check_approval,
    check_problem,
    moment,
    path_of,
    wait_until,
    without_token,
)

URL = re.compile(r"https?://[^\s\"'<>\\)\]}]+")
SCANNER = {
    "Accept": "*/*",
    "User-Agent": "Mozilla/5.0 (compatible; MSOffice SafeLinks; Slackbot-LinkExpanding 1.0; GoogleImageProxy)",
    "Purpose": "prefetch",
    "Sec-Purpose": "prefetch;prerender",
}


def urls_in(value):
    return set(URL.findall(json.dumps(value, ensure_ascii=False)))


def test_a_scanner_that_opens_every_url_of_every_message_changes_nothing(own_gate, receiver):
    gate = own_gate()
    agent, auditor, jira = gate.client("agent"), gate.client("auditor"), gate.client("jira")
    called, hooked = receiver.address(), receiver.address()
    gate.hook(auditor, hooked)
    requests = [
        agent.asked("ask.pay", callback_url=called, summary="see https://evil.example/x"),
        agent.asked("two.pay", callback_url=called),
        agent.asked("owned.pay", callback_url=called),
        agent.asked("queue.pay", callback_url=called),
        agent.asked("queue.done", callback_url=called),
        agent.asked("ask.done", callback_url=called),
        agent.asked("ask.cancelled", callback_url=called),
        agent.asked("auto.approve", callback_url=called),
    ]
    links = [gate.link(requests[index], "bob") for index in (0, 1, 5, 6)] + [gate.link(requests[2], "alice")]
    links[1].approve()
    links[2].approve()
    agent.cancel(requests[6]["request_id"])
    gate.queued(requests[3])
    jira.decision(gate.queued(requests[4])["approval"]["request_id"], "reject")
    receiver.wait(called, 4)
    receiver.wait(hooked, 7 + 4)

    queue_files, messages = gate.queue_messages(), gate.messages()
    assert len(messages) >= 10 and len(queue_files) == 2
    bodies = [delivery.json() for url in (called, hooked) for delivery in receiver.received(url)]
    found = set().union(*map(urls_in, messages), *map(urls_in, queue_files), *map(urls_in, bodies))
    ours = {urlsplit(gate.url).netloc, urlsplit(gate.issuer).netloc}
    targets = {path_of(url) for url in found if urlsplit(url).netloc in ours}
    assert {link.path for link in links} <= targets
    assert any("/v1/requests/" in target for target in targets)
    # A preview also tries what it finds near a link: the inbox, and a link with its vote spelled out.
    targets |= {target.replace("/r/", "/inbox/") for target in targets if target.startswith("/r/")}
    targets |= {f"{link.path}?decision=approve" for link in links}
    targets |= {f"{link.path}?decision=reject&nonce={link.form().hidden['nonce']}" for link in (links[0], links[1])}

    def states():
        return [agent.state(request["request_id"]) for request in requests]

    before, stored = states(), gate.settled_dump()
    work = [(method, target) for target in sorted(targets) for method in ("GET", "HEAD", "OPTIONS")]

    def scan(share):
        for method, target in share:
            for _ in range(gate.pace.scans):
                answer = gate.http.send(method, target, SCANNER)
                assert answer.status < 500, (method, target, answer)
                assert method != "HEAD" or answer.body == b""

    at_once([lambda part=part: scan(work[part::4]) for part in range(4)])
    for target in sorted(targets):
        if target.startswith("/v1/requests/") and not target.endswith("/decision"):
            for _ in range(min(20, gate.pace.scans)):
                assert agent.call("GET", target).status in (200, 404, 405)
    assert states() == before
    assert gate.settled_dump() == stored


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_of_many_racing_deciders_one_wins_and_the_others_are_told(gate, agent, receiver, seed):
    url = receiver.address()
    asked = agent.asked("crowd.pay", callback_url=url)
    racers = policy.racers(gate.pace)
    links = [gate.link(asked, racer) for racer in racers]
    nonces = [link.nonce() for link in links]
    decisions = ["approve", "reject"] * (len(racers) // 2)
    random.Random(seed).shuffle(decisions)
    answers = at_once(
        [lambda link=link, nonce=nonce, decision=decision: link.post(decision, nonce)
         for link, nonce, decision in zip(links, nonces, decisions)]
    )  # fmt: skip
    winners = [index for index, answer in enumerate(answers) if answer.status == 200]
    assert len(winners) == 1, answers
    winner = winners[0]
    outcome = check_approval(agent.state(asked["request_id"]))
    assert answers[winner].json() == without_token(outcome)
    assert outcome["status"] == {"approve": "approved", "reject": "rejected"}[decisions[winner]]
    assert outcome["decided_by"] == [racers[winner]]
    for index, answer in enumerate(answers):
        if index != winner:
            assert check_problem(answer, 409, "already_decided")["approval"] == without_token(outcome)
    assert len(gate.endings_of(asked)) == 1, gate.audit_of(asked)
    assert receiver.wait(url)[0].approval == outcome


def test_a_quorum_of_five_is_reached_once_by_many_racing_approvers(gate, agent):
    asked = agent.asked("five.pay")
    racers = policy.racers(gate.pace)
    links = [gate.link(asked, racer) for racer in racers]
    nonces = [link.nonce() for link in links]
    answers = at_once(
        [lambda link=link, nonce=nonce: link.post("approve", nonce) for link, nonce in zip(links, nonces)]
    )
    accepted = [index for index, answer in enumerate(answers) if answer.status == 200]
    assert len(accepted) == 5, answers
    outcome = agent.state(asked["request_id"])
    assert sorted(outcome["decided_by"]) == sorted(racers[index] for index in accepted)
    for index, answer in enumerate(answers):
        if index not in accepted:
            assert check_problem(answer, 409, "already_decided")["approval"] == without_token(outcome)
    assert len(gate.endings_of(asked)) == 1


def test_a_decider_racing_the_cancel_leaves_one_outcome(gate, agent, receiver):
    url, seen = receiver.address(), set()
    for number in range(gate.pace.rounds):
        asked = agent.asked(callback_url=url)
        link = gate.link(asked, "bob")
        nonce = link.nonce()
        calls = [lambda: link.post("approve", nonce), lambda: agent.cancel(asked["request_id"])]
        vote, cancel = at_once(calls) if number % 2 else at_once(calls[::-1])[::-1]
        assert sorted((vote.status, cancel.status)) == [200, 409], (vote, cancel)
        won, lost = (vote, cancel) if vote.status == 200 else (cancel, vote)
        outcome = agent.state(asked["request_id"])
        assert outcome["status"] == ("approved" if won is vote else "cancelled")
        told = check_problem(lost, 409, "already_decided")["approval"]
        assert won.json() == (without_token(outcome) if won is vote else outcome)
        assert told == (without_token(outcome) if lost is vote else outcome)
        assert len(gate.endings_of(asked)) == 1
        seen.add((asked["request_id"], outcome["status"]))
    heard = {
        (delivery.approval["request_id"], delivery.approval["status"])
        for delivery in receiver.wait(url, gate.pace.rounds)
    }
    assert heard == seen


def test_a_decider_racing_the_deadline_leaves_one_outcome(gate, agent, receiver):
    """Votes are aimed at the deadline, some a little before it and some a little after it."""
    url, dice = receiver.address(), random.Random(8)
    rounds = []
    for _ in range(2):
        races = []
        for _ in range(gate.pace.crowd // 2):
            asked = agent.asked("quick.pay", callback_url=url)
            link = gate.link(asked, "bob")
            races.append((asked, link, link.nonce(), moment(asked["deadline"]) + dice.uniform(-0.06, 0.04)))

        def shoot(race):
            _, link, nonce, at = race
            time.sleep(max(0.0, at - time.time()))
            return link.post("approve", nonce)

        rounds += zip(races, at_once([lambda race=race: shoot(race) for race in races]))
    statuses = {}
    for (asked, *_), answer in rounds:
        outcome = agent.state(asked["request_id"])
        statuses[asked["request_id"]] = outcome["status"]
        if answer.status == 200:
            assert answer.json() == without_token(outcome) and outcome["status"] == "approved"
            assert moment(outcome["decided_at"]) <= moment(outcome["deadline"])
        else:
            assert check_problem(answer, 409, "already_decided")["approval"] == without_token(outcome)
            assert outcome["status"] == "expired" and outcome["votes"] == []
        assert len(gate.endings_of(asked)) == 1, gate.audit_of(asked)
    heard = {}
    for delivery in receiver.wait(url, len(rounds)):
        assert (
            heard.setdefault(delivery.approval["request_id"], delivery.approval["status"])
            == delivery.approval["status"]
        )
    assert heard == statuses
    print("outcomes of the races:", sorted(statuses.values()))


def test_a_vote_after_the_deadline_is_refused(gate, agent):
    asked = agent.asked(timeout_seconds=gate.pace.shortest)
    link = gate.link(asked, "bob")
    nonce = link.nonce()
    wait_until(lambda: time.time() > moment(asked["deadline"]), what="the deadline")
    problem = check_problem(link.post("approve", nonce), 409, "already_decided")
    assert problem["approval"]["status"] == "expired" and problem["approval"]["votes"] == []
    assert without_token(agent.state(asked["request_id"])) == problem["approval"]


def test_the_same_vote_again_is_answered_kindly(gate, agent):
    asked = agent.asked("two.pay")
    link = gate.link(asked, "bob")
    first, second = link.vote("approve"), link.vote("approve")
    assert (first.status, second.status) == (200, 200)
    assert second.json()["votes"] == first.json()["votes"]
    assert len(first.json()["votes"]) == 1
    gate.link(asked, "carol").approve()
    late = link.post("approve", "a nonce of long ago", accept="text/html")
    assert late.status == 409 and late.content_type == "text/html", late
    assert "approved" in late.text.lower()


def test_the_same_form_posted_twice_counts_once(gate, agent):
    asked = agent.asked("two.pay")
    link = gate.link(asked, "bob")
    nonce = link.nonce()
    answers = at_once([lambda: link.post("approve", nonce) for _ in range(8)])
    assert {answer.status for answer in answers} <= {200, 422}, answers
    assert 200 in {answer.status for answer in answers}
    state = agent.state(asked["request_id"])
    assert (state["status"], len(state["votes"])) == ("pending", 1)


def test_a_finished_request_never_changes(gate, agent, jira):
    asked = agent.asked()
    bob, carol = gate.link(asked, "bob"), gate.link(asked, "carol")
    nonces = {bob: bob.nonce(), carol: carol.nonce()}
    outcome = bob.reject(reason="no")
    endings = gate.endings_of(asked)
    for link, nonce in nonces.items():
        for decision in ("approve", "reject"):
            assert check_problem(link.post(decision, nonce), 409, "already_decided")["approval"] == outcome
    check_problem(agent.cancel(asked["request_id"]), 409, "already_decided")
    check_problem(jira.decision(asked["request_id"], "approve"), {403, 404, 409})
    assert without_token(agent.state(asked["request_id"])) == outcome
    assert gate.endings_of(asked) == endings and len(endings) == 1


def test_a_forged_link_opens_nothing(gate, agent):
    asked, second = agent.asked(), agent.asked()
    link, other_link = gate.link(asked, "bob"), gate.link(second, "bob")
    code = link.path.removeprefix("/r/")
    other_code = other_link.path.removeprefix("/r/")
    carols = gate.link(asked, "carol").path.removeprefix("/r/")
    alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
    dice = random.Random(5)
    forged = {code[:-1], code + "A", code[::-1], code.swapcase(), "", "A", "x" * 500}
    for index in range(len(code)):
        forged.add(code[:index] + dice.choice(alphabet) + code[index + 1 :])
    for half in range(1, len(code)):
        forged |= {code[:half] + other_code[half:], code[:half] + carols[half:]}
    forged -= {code, other_code, carols}
    nonce = link.nonce()
    before = agent.state(asked["request_id"]), agent.state(second["request_id"])
    for guess in sorted(forged):
        fake = Link(gate.http, f"{gate.url}/r/{guess}")
        assert fake.page().status == 404, guess
        check_problem(fake.post("approve", nonce), 404, "not_found")
    assert (agent.state(asked["request_id"]), agent.state(second["request_id"])) == before


def test_only_the_nonce_the_page_minted_for_this_link_decides(gate, agent):
    asked, second = agent.asked(), agent.asked()
    bob, carol, bobs_other = gate.link(asked, "bob"), gate.link(asked, "carol"), gate.link(second, "bob")
    good = bob.nonce()
    wrong = [None, "", "x", good[:-1], good + "A", good[::-1] + "!", carol.nonce(), bobs_other.nonce(), "0" * 4096, "☃"]
    for nonce in wrong:
        check_problem(bob.post("approve", nonce), 422, "invalid_request")
    page = bob.post("approve", "stale", accept="text/html")
    assert page.status == 422 and page.content_type == "text/html", page
    fresh = Form(page.text).hidden["nonce"]
    state = agent.state(asked["request_id"])
    assert (state["status"], state["votes"]) == ("pending", [])
    assert bob.post("approve", fresh).status == 200


def test_a_link_decides_its_own_request_only(gate, agent):
    asked, second = agent.asked(), agent.asked()
    link = gate.link(asked, "bob")
    fields = {
        "decision": "approve",
        "nonce": link.nonce(),
        "request_id": second["request_id"],
        "approval_id": second["approval_id"],
    }
    link.post_fields(fields)
    assert agent.state(second["request_id"])["status"] == "pending"
    voters = {vote["reviewer"] for vote in agent.state(asked["request_id"])["votes"]}
    assert voters <= {"bob"}


def test_of_many_racing_redeemers_one_is_first(gate, agent):
    crowd = gate.pace.crowd
    token = agent.asked("auto.approve")["token"]
    same = at_once([lambda: agent.redeem(token, "executor-1") for _ in range(crowd)])
    assert all(answer.status == 200 for answer in same), same
    assert sorted(answer.json()["first"] for answer in same) == [False] * (crowd - 1) + [True]
    token = agent.asked("auto.approve")["token"]
    differing = at_once([lambda number=number: agent.redeem(token, f"executor-{number}") for number in range(crowd)])
    won = [number for number, answer in enumerate(differing) if answer.status == 200]
    assert len(won) == 1 and differing[won[0]].json()["first"] is True, differing
    for number, answer in enumerate(differing):
        if number != won[0]:
            problem = check_problem(answer, 409, "already_redeemed")
            assert problem["redeemed_by"] == f"executor-{won[0]}"
            moment(problem["redeemed_at"])
    assert agent.redeem(token, f"executor-{won[0]}").json()["first"] is False


def test_many_racing_asks_of_one_request_make_one(gate, agent):
    crowd = gate.pace.crowd
    body = {"request_id": f"race-{time.time_ns()}", "summary": "s", "action": "ask.pay", "payload": {"a": 1}}
    answers = at_once([lambda: agent.call("POST", "/v1/requests", body) for _ in range(crowd)])
    assert sorted(answer.status for answer in answers) == [200] * (crowd - 1) + [201], answers
    assert len({answer.json()["approval_id"] for answer in answers}) == 1
    asked = answers[0].json()
    gate.link(asked, "carol")
    assert len(gate.messages(asked, "carol")) == 1


def test_every_waiter_is_released_by_the_one_decision(gate, agent):
    asked = agent.asked()
    link = gate.link(asked, "bob")
    nonce = link.nonce()
    waiting = min(12, gate.pace.crowd)
    started = threading.Barrier(waiting + 1)
    got = []

    def wait():
        started.wait()
        got.append(agent.get(asked["request_id"], wait=25).json())

    waiters = [threading.Thread(target=wait, daemon=True) for _ in range(waiting)]
    for waiter in waiters:
        waiter.start()
    started.wait()
    outcome = link.post("approve", nonce).json()
    for waiter in waiters:
        waiter.join(30)
    assert got == [agent.state(asked["request_id"])] * waiting
    assert without_token(got[0]) == outcome


def test_every_change_leaves_one_record(gate, agent):
    asked = agent.asked("two.pay")
    first = len(gate.audit_of(asked))
    assert first >= 1, "the ask itself is recorded"
    gate.link(asked, "bob").approve()
    assert len(gate.audit_of(asked)) > first
    assert gate.endings_of(asked) == []
    gate.link(asked, "carol").approve()
    ended = agent.state(asked["request_id"])
    entries = gate.endings_of(asked)
    assert len(entries) == 1
    entry = entries[0]
    assert {"request_id", "timestamp", "event", "actor", "approved", "token_hash", "rule", "channel"} <= entry.keys()
    assert ended["token"] not in json.dumps(gate.audit_of(asked), default=str)


def test_that_a_page_was_touched_is_noted_and_decides_nothing(gate, agent):
    asked = agent.asked()
    page, inbox = gate.link(asked, "bob"), gate.inbox("bob")
    form = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}

    def seen(of, nonce, *rows):
        body = urlencode([("nonce", nonce), *(("row", row) for row in rows), ("decision", "approve")]).encode()
        return of.http.send("POST", f"{of.path}?seen", form, body)

    for of, rows in ((page, ()), (inbox, (asked["approval_id"], "nobody's"))):
        assert seen(of, of.nonce(), *rows).status == 204
        assert seen(of, of.nonce(), *rows).status == 204
        refused = seen(of, "1-0", *rows)
        assert (refused.status, refused.json()["code"]) == (422, "invalid_request"), refused
    state = agent.state(asked["request_id"])
    assert (state["status"], state["votes"]) == ("pending", [])
    assert page.approve()["decided_by"] == ["bob"]
