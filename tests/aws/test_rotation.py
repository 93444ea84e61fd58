"""The four steps of a rotation, as Secrets Manager calls them: each may come twice, none out of its order does harm."""

import uuid

import jwt
import pytest
from aws_gate import STEPS
from placet_client import wait_until


@pytest.fixture
def rotating(own_gate):
    gate = own_gate()
    gate.before = gate.client("agent")
    return gate


def versions(gate):
    described = gate.aws.client("secretsmanager").describe_secret(SecretId=gate.outputs["KeyringSecretArn"])
    return {version: set(stages) for version, stages in described["VersionIdsToStages"].items()}


def current(gate):
    return next(version for version, stages in versions(gate).items() if "AWSCURRENT" in stages)


def done(gate, step, token):
    payload, error = gate.rotation_step(step, token)
    assert error is None, (step, payload)


def refused(gate, step, token):
    before = versions(gate)
    payload, error = gate.rotation_step(step, token)
    assert error is not None, (step, payload)
    assert versions(gate) == before
    return payload


def kind(alert):
    return alert["MessageAttributes"]["alert"]["Value"]


def rotation_alerts(gate):
    return [alert for alert in gate.alerts() if kind(alert) in ("keys_rotated", "rotation_failed")]


def test_each_step_twice_makes_one_rotation(rotating):
    gate = rotating
    first = current(gate)
    token = gate.announce_rotation()
    value = None
    for step in STEPS:
        for _ in range(2):
            done(gate, step, token)
            found = gate.aws.client("secretsmanager").get_secret_value(
                SecretId=gate.outputs["KeyringSecretArn"], VersionId=token
            )
            assert value in (None, found["SecretString"]), "the second `createSecret` must not make other keys"
            value = found["SecretString"]
        assert (current(gate) == token) == (step == "finishSecret")
    assert versions(gate)[first] == {"AWSPREVIOUS"}
    after = gate.client("agent")
    assert after.secret != gate.before.secret
    assert after.list().status == 200 and gate.before.list().status == 200
    # What is recorded and told is `timeout-sweep`'s, which hears of it through the queue: twice here, as of each step.
    told = wait_until(lambda: rotation_alerts(gate), what="the alert of the rotation")
    wait_until(gate.idle, what="everything to be told")
    assert [entry["event"] for entry in gate.audit()].count("keys.rotated") == 1
    assert [kind(alert) for alert in rotation_alerts(gate)] == ["keys_rotated"]
    assert "epoch 2 is current" in told[0]["Message"] and after.secret not in told[0]["Message"]


def test_no_step_before_its_turn(rotating):
    gate = rotating
    for step in STEPS:
        refused(gate, step, str(uuid.uuid4()))  # a version that was never announced
    token = gate.announce_rotation()
    for step in ("setSecret", "testSecret", "finishSecret"):
        refused(gate, step, token)
    refused(gate, "destroySecret", token)
    assert gate.client("agent").secret == gate.before.secret
    done(gate, "createSecret", token)
    assert current(gate) != token
    done(gate, "finishSecret", token)  # what is made and follows the current keys may become current
    assert current(gate) == token
    failed = wait_until(
        lambda: [alert for alert in rotation_alerts(gate) if kind(alert) == "rotation_failed"],
        what="an alert of a refused step",
    )
    assert "The keys from before stay in force." in failed[0]["Message"]


def test_a_step_of_a_rotation_that_was_overtaken_is_refused(rotating):
    gate = rotating
    abandoned, token = gate.announce_rotation(), None
    done(gate, "createSecret", abandoned)
    token = gate.announce_rotation()
    for step in STEPS:
        done(gate, step, token)
    # It was made from keys that are no longer the current ones: made current, it would void what is in flight.
    refused(gate, "testSecret", abandoned)
    refused(gate, "finishSecret", abandoned)
    assert current(gate) == token and gate.before.list().status == 200


def test_a_rotation_goes_on_after_each_call_that_failed_or_lost_its_answer(rotating):
    gate = rotating
    token = gate.announce_rotation()
    for step, operation in (("createSecret", "PutSecretValue"), ("finishSecret", "UpdateSecretVersionStage")):
        for fault in (gate.proxy.fail, gate.proxy.swallow):
            rule = fault(operation)
            payload, error = gate.rotation_step(step, token)
            gate.proxy.clear()
            assert rule.hit and (error is not None or step == "finishSecret"), (step, payload)
        done(gate, step, token)
        if step == "createSecret":
            done(gate, "setSecret", token)
            done(gate, "testSecret", token)
    assert current(gate) == token
    assert gate.client("agent").list().status == 200 and gate.before.list().status == 200


def test_what_is_under_way_ends_well_in_the_middle_of_a_rotation(rotating, receiver):
    """Between any two steps, both the links and the tokens that are out there are good."""
    gate = rotating
    client, token = gate.before, gate.announce_rotation()
    for step in STEPS:
        asked = client.asked(callback_url=(url := receiver.address()))
        link = gate.link(asked, "bob")
        nonce = link.nonce()
        done(gate, step, token)
        assert link.post("approve", nonce).status == 200, step
        ended = client.state(asked["request_id"])
        jwt.decode(ended["token"], client.secret, algorithms=["HS256"], audience="agent", issuer=gate.issuer)
        assert client.redeem(ended["token"]).json()["first"] is True
        receiver.wait(url)[0].verified(client.secret)
