"""The credential, and the operations that do not wait."""

import uuid

import pytest
from placet_client import check_approval, digest, new_id
from receiver import Receiver
from workflows import no_op, node, placet, webhook, wired, workflow

PAYLOAD = {"to": "acme@example.com", "amount": 5000}


def operate(pair, body=None, credential=None, on_error=None, **parameters):
    """One run of one operation; what it put out, or the run that failed."""
    path = uuid.uuid4().hex[:12]
    step = placet(credential or pair.credential, on_error=on_error, **parameters)
    pair.n8n.workflow(workflow([webhook(path), step, no_op("Next")], wired(("Webhook", "Placet"), ("Placet", "Next"))))
    run = pair.n8n.ended(pair.n8n.trigger(path, body or {}))
    return run.items("Next") if run.status == "success" else run


def approval(pair, operation, **parameters):
    return operate(pair, resource="approval", operation=operation, **parameters)


def token(pair, operation, **parameters):
    return operate(pair, resource="token", operation=operation, **parameters)


def test_the_credential_test_tells_right_from_wrong(pair):
    url, secret = pair.gate.url, pair.client.secret
    right = pair.n8n.test_credential(url, "n8n", secret)
    assert right["status"] == "OK", right
    assert pair.n8n.test_credential(f" {url}/ ", " n8n ", f" {secret} ")["status"] == "OK"
    wrong = pair.n8n.test_credential(url, "n8n", "whsec_" + "ab" * 32)
    assert wrong["status"] == "Error" and "does not accept this client ID and secret" in wrong["message"], wrong
    unknown = pair.n8n.test_credential(url, "nobody", secret)
    assert unknown["status"] == "Error" and "does not accept this client ID and secret" in unknown["message"]
    auditor = pair.n8n.test_credential(url, "auditor", pair.gate.secret("auditor"))
    assert auditor["status"] == "OK" or "role" in auditor["message"]
    assert pair.n8n.test_credential("http://127.0.0.1:9", "n8n", secret)["status"] == "Error"


def test_a_request_without_waiting_gives_back_the_open_approval(pair, client):
    name = new_id("order")
    (asked,) = approval(
        pair, "request", message="Pay it", action="ask.pay", payloadMode="json", payloadJson=PAYLOAD,
        options={"requestId": name, "metadata": {"entry": [{"name": "team", "value": "blue"}]}, "timeLimit": 5},
    )  # fmt: skip
    assert asked["request_id"] == name and asked["status"] == "pending" and asked["approved"] is False
    assert asked["payload_sha256"] == digest(PAYLOAD) and asked["metadata"]["team"] == "blue"
    assert client.state(name)["approval_id"] == asked["approval_id"]


def test_get_and_cancel(pair, client):
    made = client.asked()
    (found,) = approval(pair, "get", requestId=made["request_id"])
    assert check_approval(found) == client.state(made["request_id"])
    (gone,) = approval(pair, "cancel", requestId=made["request_id"])
    assert gone["status"] == "cancelled"
    again = approval(pair, "cancel", requestId=made["request_id"])
    assert again.status == "error" and again.error == "This request has ended already"
    missing = approval(pair, "get", requestId="no-such-request")
    assert missing.error == "The gate knows no such request"


def test_get_waits_for_an_outcome_when_told_to(pair, client):
    made = client.asked("quick.pay")
    (found,) = approval(pair, "get", requestId=made["request_id"], options={"waitSeconds": 25})
    assert found["status"] == "expired"


def test_get_many_pages_and_filters(pair, client):
    mine = [client.asked("auto.no")["request_id"] for _ in range(3)]
    newest = approval(pair, "getAll", returnAll=False, limit=3, filters={"status": "rejected"})
    assert [one["request_id"] for one in newest] == mine[::-1]
    everything = approval(pair, "getAll", returnAll=True)
    assert set(mine) <= {one["request_id"] for one in everything} and len(everything) > 3
    pending = approval(pair, "getAll", returnAll=True, filters={"status": "pending"})
    assert all(one["status"] == "pending" for one in pending)


def test_verify_and_redeem(pair, client):
    yes = client.asked("auto.yes", payload=PAYLOAD)["token"]
    (good,) = token(pair, "verify", token=yes, checkPayload=True, tokenPayload=PAYLOAD)
    assert good["valid"] is True and good["claims"]["payload_sha256"] == digest(PAYLOAD)
    (other,) = token(pair, "verify", token=yes, checkPayload=True, tokenPayload=PAYLOAD | {"amount": 1})
    assert other["valid"] is False and other["problem"] == "payload_mismatch"
    (unchecked,) = token(pair, "verify", token=yes, checkPayload=False)
    assert unchecked["valid"] is True

    mismatch = token(pair, "redeem", token=yes, checkPayload=True, tokenPayload={"amount": 1})
    assert mismatch.error == "The payload is not the one that was approved"
    (first,) = token(pair, "redeem", token=yes, checkPayload=True, tokenPayload=PAYLOAD, redeemedBy="run 1")
    assert first["first"] is True
    (same,) = token(pair, "redeem", token=yes, checkPayload=True, tokenPayload=PAYLOAD, redeemedBy="run 1")
    assert same["first"] is False
    # By default the execution is the one who redeems, so another run is refused.
    second = token(pair, "redeem", token=yes, checkPayload=True, tokenPayload=PAYLOAD)
    assert second.status == "error" and second.error == "This token has been redeemed already"

    no = client.asked("auto.no", payload=PAYLOAD)["token"]
    refused = token(pair, "redeem", token=no, checkPayload=True, tokenPayload=PAYLOAD)
    assert refused.error == "This was not approved"


@pytest.mark.parametrize("operation", ["get", "cancel"])
def test_a_failed_look_up_can_be_continued(pair, operation):
    (item,) = approval(pair, operation, requestId="no-such-request", on_error="continueRegularOutput")
    assert item == {"error": "The gate knows no such request"}


def test_a_name_of_the_builders_is_asked_once_and_for_one_thing_only(pair, client):
    name = new_id("invoice")
    same = {"message": "Pay", "action": "ask.pay", "payloadMode": "json", "options": {"requestId": name}}
    (first,) = approval(pair, "request", payloadJson=PAYLOAD, **same)
    other = approval(pair, "request", payloadJson={"amount": 1}, **same)
    assert other.status == "error" and other.error == "This request ID was used before, for another question"
    assert client.state(name)["payload_sha256"] == first["payload_sha256"]


def test_the_credential_signs_for_no_other_address(pair):
    """n8n's HTTP Request node can borrow the credential."""
    elsewhere = Receiver()
    try:
        address = elsewhere.address()

        def borrowed(url):
            parameters = {
                "method": "GET", "url": url, "authentication": "predefinedCredentialType", "nodeCredentialType": "placetApi", "options": {},
            }  # fmt: skip
            return node("Placet", "n8n-nodes-base.httpRequest", parameters, version=4.2, credentials=pair.credential)

        for url, works in ((f"{pair.gate.url}/v1/requests?limit=1&status=pending", True), (address, False)):
            path = uuid.uuid4().hex[:12]
            pair.n8n.workflow(
                workflow(
                    [webhook(path), borrowed(url), no_op("Next")], wired(("Webhook", "Placet"), ("Placet", "Next"))
                )
            )
            run = pair.n8n.ended(pair.n8n.trigger(path, {}))
            assert (run.status == "success") is works, (url, run.error)
        assert elsewhere.received(address) == []
    finally:
        elsewhere.close()
