"""Parameters that are wrong: one sentence with the item's number, and nobody is asked."""

import uuid

import pytest
from story import Story
from test_agent_rules import asked_by
from test_operations import approval, token
from workflows import gated, placet

ITEM = {"to": "acme@example.com", "amount": 5000}


def fields(*pairs):
    return {
        "payloadMode": "fields",
        "payloadFields": {"field": [{"name": name, "value": value} for name, value in pairs]},
    }


def metadata(*pairs):
    return {"options": {"metadata": {"entry": [{"name": name, "value": value} for name, value in pairs]}}}


def payload_json(text):
    return {"payloadMode": "json", "payloadJson": text}


WRONG = [
    ({"options": {"timeLimit": "soon"}}, 'The Time Limit must be a number of minutes from 0 to 43200, and is "soon"'),
    ({"options": {"timeLimit": -5}}, "The Time Limit must be a number of minutes from 0 to 43200, and is -5"),
    ({"options": {"timeLimit": "={{ $json.missing }}"}}, "The Time Limit must be a number of minutes from 0 to 43200, and is"),
    ({"options": {"timeLimit": "={{ $json.to }}"}}, "The Time Limit must be a number"),
    ({"options": {"timeLimit": 1e9}}, "The Time Limit must be a number of minutes from 0 to 43200"),
    (fields(), "The payload has no fields: reviewers would approve nothing"),
    ({"payloadMode": "fields"}, "The payload has no fields: reviewers would approve nothing"),
    (fields(("", "x")), "Field 1 of the payload has no name"),
    (fields(("a", "x"), ("  ", "y")), "Field 2 of the payload has no name"),
    (fields(("a", "x"), ("a", "y")), 'The payload has the field "a" twice'),
    (fields(("a", "={{ $json.missing }}")), 'The field "a" of the payload comes out empty'),
    (fields(("a", "={{ 12345678901234567890 }}")), 'The field "a" of the payload is a whole number beyond 9007199254740991'),
    (fields(("a", "={{ ({ b: [9007199254740993] }) }}")), 'The field "a.b.0" of the payload is a whole number beyond'),
    (fields(("a", "={{ -1E30 }}")), 'The field "a" of the payload is a whole number beyond'),
    (fields(("a", "={{ 0/0 }}")), 'The field "a" of the payload'),
    (payload_json("{}"), "The payload is empty: reviewers would approve nothing"),
    (payload_json("{"), "The payload is not valid JSON"),
    (payload_json('{"a": 1, "b": {"c": 1, "c": 2}}'), 'The payload has the field "c" twice'),
    (payload_json('{"a": 100000000000000000001}'), 'The field "a" of the payload is a whole number beyond'),
    (payload_json('{"a": 1E30}'), 'The field "a" of the payload is a whole number beyond'),
    (payload_json('{"a": 9007199254740991.5}'), 'The field "a" of the payload is a whole number beyond'),
    ({"payloadMode": "={{ 'everything' }}"}, 'The Payload must be "wholeItem", "fields" or "json", and is "everything"'),
    ({"action": "={{ $json.missing }}"}, "The Action comes out incomplete: an expression in it is empty"),
    ({"action": "=invoice.{{ $json.missing }}"}, "The Action comes out incomplete: an expression in it is empty"),
    ({"action": "={{ 'invoice.' + $json.missing }}"}, "The Action comes out incomplete: an expression in it is empty"),
    ({"action": "={{ ({ a: 1 }) }}"}, "The Action must be a text, and is an object"),
    ({"options": {"requestId": "=invoice-{{ $json.number }}"}}, "The Request ID comes out incomplete: an expression in it is empty"),
    ({"options": {"requestId": "={{ $json.number }}"}}, "The Request ID comes out incomplete: an expression in it is empty"),
    ({"options": {"requestId": "={{ `invoice-${$json.number}` }}"}}, "The Request ID comes out incomplete: an expression in it is empty"),
    ({"options": {"requestId": "={{ 'invoice-' + ($json.number ?? '') }}"}}, "The Request ID comes out incomplete: an expression in it is empty"),
    ({"options": {"requestId": "=i{{ $json.to }}-{{ null }}-x"}}, "The Request ID comes out incomplete: an expression in it is empty"),
    ({"message": "={{ $json }}"}, "The message for the reviewers has an object in it, not a text"),
    ({"message": "=Pay {{ $json }}"}, "The message for the reviewers has an object in it, not a text"),
    ({"message": "={{ $json.missing }}"}, "The message for the reviewers is empty"),
    (metadata(("team", "={{ $json }}")), 'The Metadata "team" must be a text, and is an object'),
    (metadata(("team", "=blue {{ $json }}")), 'The Metadata "team" has an object in it, not a text'),
    (metadata(("team", "={{ $json.missing }}")), 'The Metadata "team" comes out empty'),
    (metadata(("", "x")), "Entry 1 of the Metadata has no name"),
    (metadata(("a", "x"), ("a", "y")), 'The Metadata has the name "a" twice'),
    (metadata(("n8n_mode", "production")), 'The Metadata cannot set "n8n_mode", which n8n sets by itself'),
]  # fmt: skip


@pytest.mark.parametrize(("parameters", "sentence"), WRONG, ids=[f"{number}" for number in range(len(WRONG))])
def test_it_is_refused_in_a_sentence_and_nobody_is_asked(pair, parameters, sentence):
    story = Story.begin(pair, [ITEM], **parameters)
    run = story.ended()
    assert run.status == "error" and run.error.startswith(sentence) and run.error.endswith("(item 0)"), run.error
    assert run.data["resultData"]["error"]["context"]["itemIndex"] == 0
    assert not run.ran("Pay") and asked_by(pair, story.number) == []


def test_the_sentence_names_the_item_and_the_good_items_before_it_are_not_asked_about(pair):
    story = Story.begin(
        pair, [{"minutes": 5}, {"minutes": 6}, {"minutes": "soon"}], options={"timeLimit": "={{ $json.minutes }}"}
    )
    run = story.ended()
    assert run.error == 'The Time Limit must be a number of minutes from 0 to 43200, and is "soon" (item 2)'
    assert asked_by(pair, story.number) == []


def test_where_errors_are_items_the_good_ones_are_asked_about(pair):
    story = Story.begin(
        pair,
        [{"minutes": 5}, {"minutes": "soon"}],
        options={"timeLimit": "={{ $json.minutes }}"},
        on_error="continueErrorOutput",
    )
    (asked,) = story.asked()
    story.waiting()
    story.approve(asked)
    run = story.ended()
    assert run.item("Pay")["minutes"] == 5
    assert (
        "The Time Limit must be a number" in run.item("Refused")["error"] and run.item("Refused")["minutes"] == "soon"
    )


@pytest.mark.parametrize(
    "good",
    [
        {"options": {"timeLimit": "5"}},
        {"options": {"timeLimit": 0}},
        {"options": {"timeLimit": 0.5}},
        {"action": ""},
        {"options": {"requestId": "=order-{{ $json.amount }}-{{ $execution.id }}"}},
        fields(("a", "={{ null }}"), ("b", ""), ("c", "={{ 9007199254740991 }}"), ("d", "={{ 0.1 }}")),
        payload_json('{"a": -9007199254740991, "b": [{"c": 1}, {"c": 1}], "d": {"a": "x, \\"a\\": 1"}}'),
        metadata(("team", ""), ("number", "={{ 5 }}")),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_right_stays_right(pair, good):
    story = Story.begin(pair, [ITEM], **good)
    (asked,) = story.asked()
    story.waiting()
    story.approve(asked)
    assert story.ended().status == "success"


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        (lambda pair: approval(pair, "get", requestId="={{ $json.missing }}"), "The Request ID comes out incomplete"),
        (lambda pair: approval(pair, "cancel", requestId="=order-{{ $json.missing }}"), "The Request ID comes out incomplete"),
        (lambda pair: approval(pair, "get", requestId="={{ '  ' }}"), "The Request ID comes out incomplete"),
        (lambda pair: approval(pair, "get", requestId="x", options={"waitSeconds": 60}), "The wait must be a whole number of seconds"),
        (lambda pair: approval(pair, "getAll", returnAll=False, limit="={{ -1 }}"), "The Limit must be a whole number of results"),
        (lambda pair: token(pair, "verify", token="={{ $json.missing }}", checkPayload=False), "The Token comes out incomplete"),
        (
            lambda pair: token(pair, "redeem", token="e30.e30.e30", checkPayload=False, redeemedBy="=run-{{ $json.missing }}"),
            '"Redeemed By" comes out incomplete',
        ),
        (
            lambda pair: token(pair, "verify", token="e30.e30.e30", checkPayload=True, tokenPayload='{"a": 1, "a": 2}'),
            'The payload has the field "a" twice',
        ),
    ],
    ids=range(8),
)  # fmt: skip
def test_the_other_operations_refuse_too(pair, run, sentence):
    ended = run(pair)
    assert ended.status == "error" and ended.error.startswith(sentence), ended.error


def test_a_step_that_continues_on_errors_hands_on_no_input_when_it_is_wrong(pair):
    item = approval(
        pair, "get", requestId="={{ $json.missing }}", on_error="continueRegularOutput", body={"approved": True}
    )
    assert item == [{"error": "The Request ID comes out incomplete: an expression in it is empty (item 0)"}]


def test_always_output_data_lets_nothing_pass_that_was_refused(pair):
    """n8n puts an empty item into an empty output then."""
    for action in ("ask.pay", "auto.no"):
        path = uuid.uuid4().hex[:12]
        step = placet(pair.credential, action=action, message="Pay", on_error="continueErrorOutput") | {
            "alwaysOutputData": True
        }
        story = Story(pair, pair.n8n.workflow(gated(path, step)), path)
        story.number = pair.n8n.trigger(path, {"items": [ITEM]})
        (asked,) = story.asked()
        if action == "ask.pay":
            story.waiting()
            story.reject(asked)
        run = story.ended()
        assert not run.ran("Pay") and run.item("Refused")["amount"] == 5000
