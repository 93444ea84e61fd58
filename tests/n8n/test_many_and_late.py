"""Many items, a gate that says "later", runs that end while they ask: few calls, and nobody is asked in vain."""

import json
import uuid

import pytest
from flaky import Flaky
from placet_client import wait_until
from story import Story
from test_agent_rules import asked_by
from workflows import gated, placet


class Through:
    """A pair whose n8n reaches the gate through a wire."""

    def __init__(self, pair, client_id="n8n"):
        self.n8n, self.gate = pair.n8n, pair.gate
        self.client = pair.gate.client(client_id)
        self.wire = Flaky(pair.gate)
        name = f"wire {uuid.uuid4().hex[:6]}"
        self.credential = pair.n8n.credential(self.wire.url, client_id, self.client.secret, name)


@pytest.fixture
def wired_pair(pair):
    made = Through(pair)
    yield made
    made.wire.close()


@pytest.fixture
def slow_pair(pair):
    """The gate takes three questions a minute of this client."""
    made = Through(pair, "slow")
    yield made
    made.wire.close()


def test_two_hundred_items_that_end_at_one_deadline_are_read_once_each(wired_pair):
    count = 200
    story = Story.begin(
        wired_pair, [{"n": number} for number in range(count)], action="last.pay", ifNotApproved="handOn"
    )
    run = wired_pair.n8n.ended(story.number, seconds=240)
    assert run.status == "success" and [item["n"] for item in run.items("Pay")] == list(range(count))
    assert {item["placet"]["status"] for item in run.items("Pay")} == {"expired"}
    assert len(wired_pair.wire.requests) <= 2 * count, len(wired_pair.wire.requests)


def test_sixty_approvals_one_after_the_other_cost_two_calls_each(wired_pair):
    count = 60
    story = Story.begin(wired_pair, [{"n": number} for number in range(count)])
    asked = story.asked(count)
    story.waiting()
    before = len(wired_pair.wire.requests)
    assert before == count
    for one in asked:
        story.approve(one)
    run = story.ended()
    assert run.status == "success" and len(run.items("Pay")) == count
    assert len(wired_pair.wire.requests) - before <= 2 * count, wired_pair.wire.requests[before:]


def test_a_restart_of_n8n_in_between_costs_no_answer(own_pair):
    """What a process remembers of a wait is only a shortcut."""
    story = Story.begin(own_pair, [{"n": number} for number in range(4)])
    asked = story.asked(4)
    story.waiting()
    story.approve(asked[0])
    own_pair.n8n.kill()
    own_pair.n8n.start()
    for one in asked[1:]:
        story.approve(one)
    run = own_pair.n8n.ended(story.number, seconds=240)
    assert run.status == "success" and [item["approved"] for item in run.items("Pay")] == [True] * 4


def test_a_client_that_may_ask_three_times_a_minute_asks_seven_times_and_waits(slow_pair):
    # Seven take more than one whole minute, whenever it begins.
    story = Story.begin(slow_pair, [{"n": number} for number in range(7)])
    # One is decided while others are not even asked: its callback finds a run that does not wait yet.
    early = story.asked(1, seconds=130)[0]
    story.approve(early)
    asked = [one for one in story.asked(7, seconds=210) if one["approval_id"] != early["approval_id"]]
    assert {one["status"] for one in asked} == {"pending"}
    assert slow_pair.wire.seen("POST", "/v1/requests") < 7 + 7
    story.waiting()
    # The next try of that callback may be minutes away, so the step has looked before it waits.
    assert slow_pair.wire.seen("GET", "/v1/requests?limit=100") == 1
    for one in asked:
        story.approve(one)
    assert story.ended().status == "success"


def test_a_run_that_is_stopped_while_it_asks_takes_its_questions_back(slow_pair):
    story = Story.begin(slow_pair, [{"n": number} for number in range(12)])
    story.asked(1, seconds=130)
    # The gate has refused one by now, and the step waits for its minute to be over.
    wait_until(
        lambda: slow_pair.wire.seen("POST", "/v1/requests") > len(asked_by(slow_pair, story.number)), 130, "a refusal"
    )
    slow_pair.n8n.rest("POST", f"/executions/{story.number}/stop")
    wait_until(
        lambda: {one["status"] for one in asked_by(slow_pair, story.number)} == {"cancelled"},
        60,
        "the questions to be taken back",
    )


def test_the_last_of_several_tries_takes_the_questions_back(pair):
    """The gate refuses the second item's action, at each try."""
    story = Story.begin(pair, [{"act": "ask.pay"}, {"act": "not an action!"}], action="={{ $json.act }}", retry=2)
    run = story.ended()
    assert run.status == "error" and run.error == "The gate cannot take this request"
    (asked,) = asked_by(pair, story.number)
    assert asked["status"] == "cancelled" and asked["created_at"] < asked["decided_at"]


def test_a_try_before_the_last_leaves_the_questions_to_the_next(wired_pair):
    path = uuid.uuid4().hex[:12]
    step = placet(wired_pair.credential, message="Pay", action="ask.pay", retry=3)
    made = wired_pair.n8n.workflow(gated(path, step))
    story = Story(wired_pair, made, path)
    wired_pair.wire.swallow("POST", "/v1/requests", 1)
    story.number = wired_pair.n8n.trigger(path, {"items": [{"n": 0}, {"n": 1}]})
    asked = story.asked(2)
    story.waiting()
    assert {one["status"] for one in story.asked(2)} == {"pending"}
    assert not [request for request in wired_pair.wire.requests if request[1].endswith("/cancel")]
    for one in asked:
        story.approve(one)
    assert story.ended().status == "success"


def test_the_builder_is_told_how_many_are_asked(pair):
    """n8n's own editor says that a step that waits runs for the first item alone."""
    story = Story.begin(pair, [{"n": number} for number in range(3)])
    story.asked(3)
    run = story.waiting()
    assert "3 approvals are requested, one for each of 3 items" in json.dumps(run.runs["Placet"][0]["hints"])
    for one in story.asked(3):
        story.reject(one)
    story.ended()


def test_a_run_says_that_it_is_not_a_test(pair):
    (asked,) = Story.begin(pair, [{"n": 1}], action="auto.yes").asked()
    assert asked["metadata"]["n8n_mode"] == "production"
