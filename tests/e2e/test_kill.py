"""`kill -9` at random points under load: what was acknowledged is there, what was not is not half there."""

import http.client
import random
import threading
import time

from backend import is_ending
from placet_client import Link, check_approval, moment, new_id, wait_until, without_token
from receiver import free_port

SEED = 20261123
KILLS = 6
WORKERS = 4
REQUESTS_PER_LIFE = 100
GONE = (OSError, http.client.HTTPException)


class Ledger:
    """What the gate acknowledged with a 2xx, and so has to keep."""

    def __init__(self):
        self.lock = threading.Lock()
        self.asked, self.bodies, self.outcomes, self.redeemed, self.voted = {}, {}, {}, {}, {}
        self.refusals, self.quota = [], 0

    def random_asked(self, dice):
        with self.lock:
            return self.asked[dice.choice(sorted(self.asked))] if self.asked else None


def work(gate, agent, ledger, url, dice, stop):
    """One client and reviewer that never repeats a request: an answer that got lost stays unknown."""
    fresh = {"fresh": True, "timeout": 10}
    while not stop.is_set():
        try:
            turn = dice.random()
            if turn < 0.45 and len(ledger.asked) < ledger.quota:
                action = dice.choice(["ask.pay", "ask.pay", "two.pay", "quick.pay", "auto.approve"])
                body = {
                    "request_id": new_id("kill"), "summary": "under fire", "action": action,
                    "payload": {"n": dice.randrange(10**9)}, "callback_url": url,
                }  # fmt: skip
                with ledger.lock:
                    ledger.bodies[body["request_id"]] = body
                answer = agent.call("POST", "/v1/requests", body, **fresh)
                if answer.status == 201:
                    with ledger.lock:
                        ledger.asked[body["request_id"]] = answer.json()
                        if answer.json()["status"] != "pending":
                            ledger.outcomes[body["request_id"]] = answer.json()
                else:
                    ledger.refusals.append(answer)
                continue
            asked = ledger.random_asked(dice)
            if asked is None:
                continue
            request_id = asked["request_id"]
            if turn < 0.75:
                reviewer = dice.choice(["bob", "carol"])
                messages = gate.messages(asked, reviewer)
                if not messages:
                    continue
                answer = Link(gate.http, messages[0]["url"]).vote(
                    dice.choice(["approve", "approve", "reject"]), **fresh
                )
                if answer.status == 200:
                    with ledger.lock:
                        ledger.voted.setdefault(request_id, set()).add(reviewer)
            elif turn < 0.85:
                answer = agent.cancel(request_id, **fresh)
            else:
                with ledger.lock:
                    outcome = ledger.outcomes.get(request_id)
                if outcome is None or not outcome["approved"]:
                    continue
                token = agent.get(request_id, **fresh).json()["token"]
                answer = agent.redeem(token, f"executor-{request_id}", sending=fresh)
                if answer.status == 200:
                    with ledger.lock:
                        ledger.redeemed[request_id] = token
                continue
            if answer.status == 200 and answer.json()["status"] != "pending":
                with ledger.lock:
                    ledger.outcomes[request_id] = answer.json()
            elif answer.status >= 500:
                ledger.refusals.append(answer)
        except GONE:
            stop.wait(0.005)
        except AssertionError:
            pass  # a page without a form: the request had ended before this reviewer came


def test_kill_9_under_load_loses_nothing_and_leaves_nothing_half_done(local_gate, receiver):
    print(f"seed {SEED}")
    dice, url = random.Random(SEED), receiver.address()
    gate = local_gate(port=free_port()).start()
    agent, ledger, stop = gate.client("agent"), Ledger(), threading.Event()
    workers = [
        threading.Thread(target=work, args=(gate, agent, ledger, url, random.Random(SEED + number), stop), daemon=True)
        for number in range(WORKERS)
    ]
    for worker in workers:
        worker.start()
    last_quick = []
    try:
        for number in range(KILLS):
            with ledger.lock:
                ledger.quota = len(ledger.asked) + REQUESTS_PER_LIFE
                enough = len(ledger.asked) + dice.randrange(10, REQUESTS_PER_LIFE)
            wait_until(lambda enough=enough: len(ledger.asked) >= enough, 20, "load between two kills")
            stop.wait(dice.uniform(0.0, 0.3))  # the random point
            if number == KILLS - 1:
                # These are due after the restart and nobody will read them: a timer has to end them.
                last_quick = [agent.asked("quick.pay", callback_url=url) for _ in range(10)]
            gate.kill()
            gate.start()
            restarted_at = time.time()
    finally:
        stop.set()
        for worker in workers:
            worker.join(30)
    assert not ledger.refusals, ledger.refusals[:3]
    for asked in last_quick:
        ledger.asked[asked["request_id"]] = asked
    print(f"{len(ledger.asked)} asked, {len(ledger.outcomes)} ended by answer, {len(ledger.redeemed)} redeemed")
    assert len(ledger.asked) > 60 and len(ledger.outcomes) > 20 and len(ledger.redeemed) > 3

    # Deadlines fire though nobody asks: heard from the callbacks before any request is read.
    waiting = {asked["request_id"]: asked for asked in last_quick}
    wait_until(
        lambda: waiting.keys() <= {delivery.approval["request_id"] for delivery in receiver.received(url)},
        20, "the callbacks of requests that expired after the restart",
    )  # fmt: skip
    first_heard = {}
    for delivery in receiver.received(url):
        first_heard.setdefault(delivery.approval["request_id"], delivery)
    for request_id, asked in waiting.items():
        due = max(moment(asked["deadline"]), restarted_at)
        assert first_heard[request_id].at - due < 5, (request_id, first_heard[request_id].at - due)
        assert first_heard[request_id].approval["status"] == "expired"

    # Every acknowledged request and outcome is there, unchanged.
    now = {}
    for request_id, asked in ledger.asked.items():
        found = now[request_id] = check_approval(
            agent.ended(request_id, 10) if asked["rule"] == "quick" else agent.state(request_id)
        )
        for name in ("approval_id", "payload_sha256", "created_at", "rule", "action"):
            assert found[name] == asked[name]
        if request_id in ledger.outcomes:
            told = without_token(ledger.outcomes[request_id])
            assert without_token(found) == {name: told[name] for name in found}
        assert ledger.voted.get(request_id, set()) <= {vote["reviewer"] for vote in found["votes"]}
    for request_id, token in ledger.redeemed.items():
        again = agent.redeem(token, f"executor-{request_id}")
        assert again.status == 200 and again.json()["first"] is False, again

    # An ask whose answer was lost is there whole or not at all; asking again settles which.
    for request_id, body in ledger.bodies.items():
        if request_id not in ledger.asked:
            answer = agent.call("POST", "/v1/requests", body)
            assert answer.status in (200, 201), answer
            now[request_id] = answer.json()
            now[request_id].pop("pending_twin", None)

    # Reviewers of every pending request were told. Of one that has ended before its message went out, nobody need hear.
    for request_id, approval in now.items():
        if approval["status"] == "pending" and approval["stage"] is not None:
            wait_until(lambda: {"bob", "carol"} <= gate.told(approval), 20, f"messages about {request_id}")

    # Callbacks of everything that ended arrive, with one id per event and the recorded outcome.
    def missing():
        heard = {delivery.approval["request_id"] for delivery in receiver.received(url)}
        return [
            request_id
            for request_id, approval in now.items()
            if approval["status"] != "pending" and request_id not in heard
        ]

    for request_id, approval in list(now.items()):
        if approval["rule"] == "quick":
            now[request_id] = agent.ended(request_id, 10)
    wait_until(lambda: not missing(), 40, "the callback of every ended request")
    ids, heard = {}, {}
    for delivery in receiver.received(url):
        delivery.verified(agent.secret)
        approval = delivery.approval
        assert ids.setdefault((approval["approval_id"], delivery.json()["type"]), delivery.id) == delivery.id
        assert heard.setdefault(approval["request_id"], approval) == approval
    assert len(set(ids.values())) == len(ids)
    for request_id, approval in heard.items():
        assert approval == now[request_id]

    # Nothing is half done.
    endings = {}
    for entry in gate.audit():
        if is_ending(entry):
            endings[entry["subject"]] = endings.get(entry["subject"], 0) + 1
    for request_id, approval in now.items():
        count = endings.get(approval["approval_id"], 0)
        assert count == (0 if approval["status"] == "pending" else 1), (request_id, approval["status"], count)
    assert set(gate.integrity()) == {"ok"}
    assert "panicked" not in gate.logs()


def test_an_answer_is_on_disk_before_it_is_given(local_gate):
    """Each answer is followed at once by a kill: the narrowest gap between a 2xx and the disk."""
    gate = local_gate(port=free_port()).start()
    agent = gate.client("agent")
    for _ in range(4):
        asked = agent.asked()
        gate.kill()
        gate.start()
        link = gate.link(asked, "bob")
        decided = link.approve()
        gate.kill()
        gate.start()
        ended = agent.state(asked["request_id"])
        assert without_token(ended) == decided
        assert agent.redeem(ended["token"], "x").json()["first"] is True
        gate.kill()
        gate.start()
        assert agent.redeem(ended["token"], "x").json()["first"] is False
        assert len(gate.endings_of(asked)) == 1


def test_what_fell_due_while_the_gate_was_down_is_settled_when_it_is_back(local_gate, receiver):
    gate = local_gate(port=free_port()).start()
    agent, url = gate.client("agent"), receiver.address()
    asked = agent.asked("quick.pay", callback_url=url)
    gate.link(asked, "bob")
    gate.kill()
    wait_until(lambda: time.time() > moment(asked["deadline"]) + 0.2, what="the deadline")
    gate.start()
    approval = receiver.wait(url)[0].approval
    assert (approval["status"], approval["approved"]) == ("expired", False)
    assert agent.state(asked["request_id"]) == approval
