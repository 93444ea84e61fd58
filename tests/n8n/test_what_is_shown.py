"""What reviewers see of an item, and what they never do: keys, a webhook's headers, the token of an earlier approval."""

import json
import uuid

import pytest
from placet_client import digest, new_id, wait_until
from story import Story
from test_operations import approval, operate
from workflows import each, no_op, placet, webhook, wired, workflow

HEADERS = {"Authorization": "Bearer very-secret", "Cookie": "session=1", "X-Api-Key": "k-123"}


def shown(pair, item, **parameters):
    """The digest of what reviewers see of one item, and the text of everything that was sent to them."""
    story = Story.begin(pair, [item], action="ask.pay", ifNotApproved="handOn", **parameters)
    (asked,) = story.asked()
    text = json.dumps(pair.gate.messages(asked)) + pair.gate.link(asked, "bob").page().text
    story.waiting()
    story.reject(asked)
    story.ended()
    return asked["payload_sha256"], text


def approved_item(pair, item=None, **parameters):
    """An item as a Placet step has put it out."""
    run = Story.begin(pair, [item or {"amount": 7}], action="auto.yes", **parameters).ended()
    return run.item("Pay")


def test_a_webhooks_item_gives_its_body_only(pair):
    path = uuid.uuid4().hex[:12]
    step = placet(pair.credential, message="Pay", action="ask.pay")
    made = pair.n8n.workflow(
        workflow([webhook(path), step, no_op("Pay")], wired(("Webhook", "Placet"), ("Placet", "Pay")))
    )
    story = Story(pair, made, path)

    def posted():
        status, _, text = pair.n8n.send("POST", f"/webhook/{path}?api_key=k-456", {"to": "acme", "amount": 5}, HEADERS)
        return json.loads(text)["execution"] if status == 200 else None

    story.number = wait_until(posted, 60, "the webhook")
    (asked,) = story.asked()
    assert asked["payload_sha256"] == digest({"to": "acme", "amount": 5})
    text = json.dumps(pair.gate.messages(asked)) + pair.gate.link(asked, "bob").page().text
    for secret in ("very-secret", "session=1", "k-123", "k-456", "authorization"):
        assert secret not in text.lower()
    # The builder is told, beside the step's output.
    assert "Reviewers are not shown: headers, query" in json.dumps(story.waiting().runs["Placet"][0]["hints"])
    story.approve(asked)
    # The workflow still has all of it.
    assert story.ended().item("Pay")["headers"]["authorization"] == "Bearer very-secret"


WEBHOOK = {
    "headers": {"authorization": "very-secret"}, "params": {}, "query": {"api_key": "very-secret"}, "webhookUrl": "u",
    "executionMode": "production",
}  # fmt: skip


HARMLESS = {"tokens": 3, "secretary": "Ann", "author": "Bob", "cookie_type": "oat"}


@pytest.mark.parametrize(
    ("item", "payload"),
    [
        (WEBHOOK | {"body": {"n": 1}, "total": 3}, {"body": {"n": 1}, "total": 3}),
        (WEBHOOK | {"body": [1, 2]}, {"body": [1, 2]}),
        ({"first": WEBHOOK | {"body": {"n": 1}}}, {"first": {"n": 1}}),
        ({"list": [WEBHOOK | {"body": {"n": 1}}]}, {"list": [{"n": 1}]}),
        (
            {"to": "acme", "Authorization": "very-secret", "x-api-key": "very-secret", "Set-Cookie": ["very-secret"]},
            {"to": "acme"},
        ),
        (
            {"to": "acme", "account": {"password": "very-secret", "clientSecret": "very-secret", "id": 4}},
            {"to": "acme", "account": {"id": 4}},
        ),
        (
            {"statusCode": 200, "headers": {"set-cookie": "very-secret", "etag": "x"}, "body": {"n": 1}},
            {"statusCode": 200, "headers": {"etag": "x"}, "body": {"n": 1}},
        ),
        ({"n": 1, "stripe_api_key": "very-secret", "refresh_token": "very-secret"}, {"n": 1}),
        # Names that only look a little like it are kept.
        (HARMLESS, HARMLESS),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)  # fmt: skip
def test_keys_and_headers_are_left_out_of_a_whole_item(pair, item, payload):
    sha256, text = shown(pair, item)
    assert sha256 == digest(payload) and "very-secret" not in text


def test_two_placet_steps_in_a_row_show_the_second_reviewer_the_same_payload(pair):
    """Nor the first approval's token, nor `approved: true` near the top."""
    path = uuid.uuid4().hex[:12]
    first = placet(pair.credential, name="First", message="Pay", action="auto.yes")
    second = placet(pair.credential, name="Second", message="Pay", action="ask.pay")
    made = pair.n8n.workflow(
        workflow(
            [webhook(path), each(), first, second, no_op("Pay")],
            wired(("Webhook", "Each"), ("Each", "First"), ("First", "Second"), ("Second", "Pay")),
        )
    )
    story = Story(pair, made, path)
    story.number = pair.n8n.trigger(path, {"items": [{"to": "acme", "amount": 5}]})
    asked = next(one for one in story.asked(2) if one["metadata"]["node"] == "Second")
    assert asked["payload_sha256"] == digest({"to": "acme", "amount": 5})
    page = pair.gate.link(asked, "bob").page().text
    assert "eyJ" not in page and "approval_id" not in page
    story.waiting()
    story.approve(asked)
    assert story.ended().item("Pay")["amount"] == 5


def test_what_a_placet_step_added_is_left_out_under_any_name(pair):
    item = approved_item(pair)
    slim = approved_item(pair, options={"simplify": True})
    token = item["placet"]["token"]
    payload = digest({"amount": 7})
    for changed in (
        item,
        slim,
        {"amount": 7, "first": item["placet"]},
        {"amount": 7, "deep": item["placet"], "list": [item["placet"]]},
        {"amount": 7, "proof": token},
        {"amount": 7, "link": f"https://x.example.com/?token={token}"},
        {"amount": 7, "text": json.dumps(item["placet"])},
        {"amount": 7, "claims": pair.client.verify(token)["claims"]},
        {"amount": 7, "error": "Not approved: rejected", "details": item["placet"]},
    ):
        found, text = shown(pair, changed)
        expected = digest({"amount": 7, "list": []}) if "list" in changed else payload
        assert found == expected, changed
        assert token not in text
    assert shown(pair, {"order": item, "n": 1})[0] == digest({"order": {"amount": 7}, "n": 1})
    # An `approved` of the builder's own is a field like any other.
    assert shown(pair, {"amount": 7, "approved": True})[0] == digest({"amount": 7, "approved": True})


def test_an_item_that_is_an_approval_and_nothing_else_is_no_payload(pair):
    item = approved_item(pair)["placet"]
    run = Story.begin(pair, [item], action="ask.pay").ended()
    assert run.error == "The item holds nothing but an earlier approval, which reviewers are not shown (item 0)"


@pytest.mark.parametrize(
    "parameters",
    [
        {
            "payloadMode": "fields",
            "payloadFields": {"field": [{"name": "proof", "value": "={{ $json.placet.token }}"}]},
        },
        {"payloadMode": "fields", "payloadFields": {"field": [{"name": "all", "value": "={{ $json }}"}]}},
        {"payloadMode": "json", "payloadJson": "={{ JSON.stringify($json) }}"},
        {"message": "=Pay with {{ $json.placet.token }}"},
        {"options": {"metadata": {"entry": [{"name": "proof", "value": "={{ $json.placet.token }}"}]}}},
    ],
    ids=lambda parameters: "-".join(parameters),
)
def test_a_token_that_the_builder_picked_is_refused(pair, parameters):
    before = len(pair.client.list(limit=100).json()["requests"])
    item = approved_item(pair)
    run = Story.begin(pair, [item], action="ask.pay", **parameters).ended()
    assert run.status == "error" and "token of an earlier approval" in run.error and not run.ran("Pay")
    assert len(pair.client.list(limit=100).json()["requests"]) in (before + 1, 100)


def test_a_token_can_still_be_checked_against_a_payload_that_holds_one(pair, client):
    inner = client.asked("auto.yes")["token"]
    payload = {"proof": inner}
    outer = client.asked("auto.yes", payload=payload)["token"]
    (verdict,) = operate(
        pair, resource="token", operation="verify", token=outer, checkPayload=True, tokenPayload=payload
    )
    assert verdict["valid"] is True


def test_simplified_outputs_have_the_fields_that_most_need(pair, client):
    name = new_id("slim")
    wanted = {
        "request_id",
        "approval_id",
        "status",
        "approved",
        "action",
        "summary",
        "decided_at",
        "decided_by",
        "reason",
        "token",
    }
    (asked,) = approval(
        pair, "request", message="Pay", action="auto.yes", payloadMode="json", payloadJson={"n": 1},
        options={"requestId": name, "simplify": True},
    )  # fmt: skip
    assert asked.keys() == wanted and asked["approved"] is True
    (found,) = approval(pair, "get", requestId=name, options={"simplify": True})
    assert found == asked
    many = approval(pair, "getAll", returnAll=False, limit=2, options={"simplify": True})
    assert [one.keys() for one in many] == [wanted, wanted]
    item = approved_item(pair, options={"simplify": True})
    assert item["placet"].keys() == wanted | {"explanation"}
