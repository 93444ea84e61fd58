"""Processes that die while a run waits, and while the decision is on its way."""

import pytest
from placet_client import wait_until
from story import Story
from test_callbacks import log_lines

ITEM = {"to": "acme@example.com", "amount": 5000}


def test_n8n_killed_while_waiting_gets_its_decision_when_it_is_back(own_pair):
    story = Story.begin(own_pair, [ITEM])
    (asked,) = story.asked()
    story.waiting()
    own_pair.n8n.kill()
    story.approve(asked)
    own_pair.n8n.start()
    run = own_pair.n8n.ended(story.number, seconds=240)
    assert run.status == "success" and run.item("Pay")["approved"] is True and len(run.runs["Pay"]) == 1


def test_the_gate_killed_while_waiting_and_with_the_decision_on_its_way(own_pair):
    first, second = Story.begin(own_pair, [ITEM]), Story.begin(own_pair, [ITEM])
    (one,), (two,) = first.asked(), second.asked()
    first.waiting(), second.waiting()
    # While waiting: the same port, the same folder, and the decision after that.
    own_pair.gate.kill()
    own_pair.gate.start()
    first.approve(one)
    assert first.ended().status == "success"
    # On its way: n8n is down, so the callback of this decision cannot have arrived when the gate dies.
    own_pair.n8n.kill()
    second.reject(two)
    wait_until(lambda: any("it will be retried" in line for line in log_lines(own_pair, two)), 30, "a try that failed")
    own_pair.gate.kill()
    own_pair.n8n.start()
    assert own_pair.n8n.execution(second.number).status == "waiting"
    own_pair.gate.start()
    run = own_pair.n8n.ended(second.number, seconds=240)
    assert run.status == "error" and "rejected by bob" in run.error and not run.ran("Pay")


@pytest.mark.parametrize(
    ("parameters", "check"),
    [
        ({}, lambda run: run.status == "error" and "no answer of the gate" in run.error and not run.ran("Pay")),
        (
            {"on_error": "continueErrorOutput"},
            lambda run: not run.ran("Pay") and "no answer of the gate" in run.items("Refused")[0]["error"],
        ),
        ({"ifNotApproved": "handOn"}, lambda run: [item["approved"] for item in run.items("Pay")] == [False, False]),
    ],
    ids=["stop", "error output", "hand on"],
)
def test_n8ns_own_wait_limit_is_never_an_approval(own_pair, parameters, check):
    """n8n hands on the input of a wait that runs out. Its limit lies a day past ours, so its database is put forward.

    Not to the moment of n8n's start: what has begun by then it takes for a run that crashed.
    """
    story = Story.begin(own_pair, [{"approved": True, "n": 0}, {"approved": True, "n": 1}], **parameters)
    one, _ = story.asked(2)
    run = story.waiting()
    assert run.wait_till[:19] > one["deadline"][:19]
    own_pair.n8n.kill()
    own_pair.gate.kill()
    own_pair.n8n.database(
        "UPDATE execution_entity SET waitTill = datetime('now', '+15 seconds') WHERE id = ?", story.number
    )
    own_pair.n8n.start()
    run = own_pair.n8n.ended(story.number, seconds=150)
    assert check(run), (run.status, run.error, run.runs.keys())
