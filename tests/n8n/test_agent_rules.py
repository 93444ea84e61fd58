"""A model never picks the rule: whatever it writes, an agent's payment needs the person that the policy names.

The policy approves `auto.yes` alone. Each test lets the model write that into whatever the builder has left open.
"""

import uuid

import pytest
from model import Model
from placet_client import digest
from receiver import Receiver
from story import Story
from test_agent import PAY, Reviewed, agent
from workflows import placet

# What the model writes. n8n spreads `hitlParameters` over the item of the review.
WISH = {"Action": "auto.yes", "tool": "auto.yes", "name": "auto.yes", "minutes": 1, "query": {"Action": "auto.yes"}}
CALL = {"toolParameters": PAY | {"to": "auto.yes"}, "hitlParameters": WISH}


@pytest.fixture(scope="module")
def model():
    running = Model()
    yield running
    running.close()


@pytest.fixture(scope="module")
def bank():
    running = Receiver()
    yield running
    running.close()


def asked_by(pair, number):
    return [
        one for one in pair.client.list(limit=100).json()["requests"] if one["metadata"].get("execution_id") == number
    ]


FROM_AI = [
    "={{ $fromAI('Action') }}",
    "={{ $fromAi('Action') }}",
    "={{ $fromai('Action') }}",
    "={{ /*n8n-auto-generated-fromAI-override*/ $fromAI('Action', ``, 'string') }}",
    "=auto.{{ $fromAI('Action').split('.')[1] }}",
    "={{ (() => $fromAI('Action'))() }}",
    "={{ $from\\u0041I('Action') }}",
    "={{ $f\\u{72}omAI('Action') }}",
]


@pytest.mark.parametrize("written", FROM_AI)
def test_an_action_from_the_model_is_refused_and_the_payment_does_not_run(pair, model, bank, written):
    story = Reviewed.begin(pair, model, bank, CALL, action=written)
    run = story.ended()
    assert story.paid() == [] and asked_by(pair, story.number) == []
    told = str(run.runs["Placet"][0])
    assert "In the review of a tool, the Action cannot be filled in by the model" in told, told


@pytest.mark.parametrize(
    ("parameters", "title"),
    [
        ({"options": {"requestId": "={{ $fromAI('Action') }}"}}, "the Request ID"),
        ({"options": {"timeLimit": "={{ $fromAI('minutes', '', 'number') }}"}}, "the Time Limit"),
        ({"options": {"metadata": {"entry": [{"name": "team", "value": "={{ $fromAI('Action') }}"}]}}}, "the Metadata"),
        ({"options": {"metadata": {"entry": [{"name": "={{ $fromAI('name') }}", "value": "x"}]}}}, "the Metadata"),
        ({"action": {"__rl": True, "mode": "id", "value": "={{ $fromAI('Action') }}"}}, "the Action"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_nothing_but_the_message_is_the_models(pair, model, bank, parameters, title):
    story = Reviewed.begin(pair, model, bank, CALL, **({"action": "ask.pay"} | parameters))
    run = story.ended()
    assert story.paid() == [] and asked_by(pair, story.number) == []
    assert f"{title} cannot be filled in by the model" in str(run.runs["Placet"][0]).replace('\\"', '"')


@pytest.mark.parametrize(
    "parameters",
    [
        {"payloadMode": "={{ $fromAI('Action') }}"},
        {"payloadMode": "fields", "payloadFields": {"field": [{"name": "to", "value": "={{ $fromAI('to') }}"}]}},
        {"ifNotApproved": "={{ $fromAI('Action') }}"},
        {"options": {"added": {"later": ["={{ $fromAI('Action') }}"]}}},
    ],
    ids=str,
)
def test_what_a_review_has_no_use_for_changes_nothing(pair, model, bank, parameters):
    """n8n itself leaves parameters out that the panel of a review does not show."""
    story = Reviewed.begin(pair, model, bank, CALL, **({"action": "ask.pay"} | parameters))
    (asked,) = story.asked()
    assert asked["action"] == "ask.pay"
    assert asked["payload_sha256"] == digest({"tool": "Pay_Invoice", "parameters": CALL["toolParameters"]})
    story.reject(asked)
    story.said()
    assert story.paid() == []


@pytest.mark.parametrize(
    "written",
    [
        "={{ $json.Action }}",
        "={{ $json.tool }}",
        "={{ $tool.name }}",
        "={{ $input.item.json.Action }}",
        "={{ $input.first().json.Action }}",
        "={{ $input.all()[0].json.Action }}",
        "={{ $json.query.Action }}",
        "={{ $json.toolParameters.to }}",
        "={{ $tool.parameters.to }}",
        "={{ $data.Action }}",
        "={{ this['$from' + 'AI']('Action') }}",
        "={{ $json['Act' + 'ion'] ?? 'ask.pay' }}",
    ],
)
def test_an_action_never_sees_what_the_model_wrote(pair, model, bank, written):
    """Expressions find the model's words in many places; while the action is evaluated they are in none."""
    story = Reviewed.begin(pair, model, bank, CALL, action=written)
    pair.n8n.when(story.number, "waiting", "success", "error")
    asked = asked_by(pair, story.number)
    assert story.paid() == [] and [one["action"] for one in asked if one["action"] == "auto.yes"] == []
    for one in asked:
        story.reject(one)
    story.ended()
    assert story.paid() == []


def test_the_true_name_of_the_tool_can_be_part_of_the_action(pair, model, bank):
    story = Reviewed.begin(pair, model, bank, CALL, action="=agent.{{ $json.tool }}")
    (asked,) = story.asked()
    assert asked["action"] == "agent.Pay_Invoice"
    story.reject(asked)
    story.said()
    assert story.paid() == []


def test_the_model_may_word_the_message_of_a_review(pair, model, bank):
    arguments = {"toolParameters": PAY, "hitlParameters": {"why": "ACME has sent a reminder"}}
    story = Reviewed.begin(pair, model, bank, arguments, action="ask.pay", message="=Pay? {{ $fromAI('why') }}")
    (asked,) = story.asked()
    assert asked["summary"] == "Pay? ACME has sent a reminder"
    story.waiting()
    story.approve(asked)
    story.said()
    assert story.paid() == [PAY]


def test_the_same_call_twice_needs_two_approvals_though_the_builder_has_named_the_request(pair, model, bank):
    """One approval is one call: the second run finds the answer of the first, and that it is used."""
    name = f"review-{uuid.uuid4().hex[:8]}"
    arguments = {"toolParameters": PAY, "hitlParameters": {}}
    first = Reviewed.begin(pair, model, bank, arguments, action="ask.pay", options={"requestId": name})
    (asked,) = first.asked()
    first.waiting()
    first.approve(asked)
    first.said()
    assert first.paid() == [PAY]
    second = Reviewed.begin(pair, model, bank, arguments, action="ask.pay", options={"requestId": name})
    second.ended()
    assert second.paid() == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"action": "={{ $fromAI('Action') }}"},
        {"action": "={{ $json.Action }}"},
        {"action": "={{ $json.query.Action }}"},
        {"action": "={{ $input.first().json.Action }}"},
        {"options": {"requestId": "={{ $fromai('Action') }}"}},
        {"options": {"metadata": {"entry": [{"name": "team", "value": "={{ $fromAi('Action') }}"}]}}},
        {"options": {"timeLimit": "={{ $fromAI('minutes', '', 'number') }}"}},
        {"payloadMode": "={{ $fromAI('Action') }}"},
        {"ifNotApproved": "={{ $fromAI('Action') }}"},
        {"payloadFields": {"field": [{"name": "={{ $fromAI('name') }}", "value": "x"}]}},
    ],
    ids=str,
)
def test_an_agent_that_asks_a_person_by_itself_does_not_pick_the_rule_either(pair, model, parameters):
    path = uuid.uuid4().hex[:12]
    asking = placet(
        pair.credential, name="Ask a Person", kind="placetTool", descriptionType="manual",
        toolDescription="Asks a person whether something may be done", resource="approval", operation="sendAndWait",
        message="={{ $fromAI('what') }}", **(
            {
                "action": "ask.agent", "payloadMode": "fields",
                "payloadFields": {"field": [{"name": "what", "value": "={{ $fromAI('what') }}"}]},
            }
            | parameters
        ),
    )  # fmt: skip
    made = pair.n8n.workflow(agent(pair, model, [asking], [("Ask a Person", "AI Agent", 0, "ai_tool")], path))
    story = Story(pair, made, path)
    ask = model.plan("Ask_a_Person", {"what": "Delete the backups", "Action": "auto.yes", "minutes": 1})
    story.number = pair.n8n.trigger(path, {"items": [{"ask": ask}]})
    story.ended()
    assert asked_by(pair, story.number) == []
