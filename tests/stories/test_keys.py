"""Rotation breaks nothing that is in flight, and ends what is two epochs old."""

import jwt
import policy
from backend import kids
from placet_client import check_problem, wait_until


def decoded(client, token, secret):
    return jwt.decode(token, secret, algorithms=["HS256"], audience=client.id, issuer=client.issuer)


def test_rotation_while_serving_breaks_nothing(own_gate, receiver):
    gate = own_gate()
    old = gate.client("agent")
    url = receiver.address()
    in_flight, decided = old.asked(callback_url=url), old.asked("auto.approve")
    link = gate.link(in_flight, "bob")
    nonce = link.nonce()

    gate.rotate()
    new = gate.client("agent")
    assert new.secret != old.secret

    # The link, and the form that was open in a browser, still work.
    assert link.page().status == 200
    answer = link.post("approve", nonce)
    assert answer.status == 200, answer
    # What is in flight ends under the secret that its client signs with.
    ended = old.state(in_flight["request_id"])
    assert decoded(old, ended["token"], old.secret)["status"] == "approved"
    receiver.wait(url)[0].verified(old.secret)
    # Tokens that are out there are still good, and can be redeemed.
    assert old.verify(decided["token"])["valid"] is True
    assert new.verify(decided["token"])["valid"] is True
    assert old.redeem(decided["token"]).json()["first"] is True

    # The old secret still signs, and gets tokens under itself; the new one likewise.
    for client in (old, new):
        fresh_url = receiver.address()
        asked = client.asked(callback_url=fresh_url)
        ended = gate.link(asked, "carol").approve()
        token = client.state(asked["request_id"])["token"]
        assert decoded(client, token, client.secret)["sub"] == asked["request_id"], client.secret == old.secret
        assert client.verify(token)["valid"] is True
        receiver.wait(fresh_url)[0].verified(client.secret)
        assert ended["status"] == "approved"


def test_after_a_second_rotation_the_oldest_secret_is_refused(own_gate):
    gate = own_gate()
    oldest = gate.client("agent")
    asked = oldest.asked()
    link = gate.link(asked, "bob")
    gate.rotate()
    middle = gate.client("agent")
    gate.rotate()
    newest = gate.client("agent")
    assert len({oldest.secret, middle.secret, newest.secret}) == 3
    wait_until(lambda: oldest.list().status == 401, 15, "the oldest secret to be refused")
    check_problem(oldest.list(), 401, "invalid_signature")
    assert middle.list().status == 200 and newest.list().status == 200
    # A link of the oldest epoch decides no more; the request itself is still there.
    wait_until(lambda: link.page().status != 200, 15, "the oldest link to be refused")
    assert link.page().status in (404, 410)
    assert link.post("approve", "x").status in (404, 410)
    assert newest.state(asked["request_id"])["status"] == "pending"


def test_the_published_keys_are_the_current_and_the_previous(own_gate):
    gate = own_gate()
    executor = gate.client("executor")
    first = kids(gate)
    assert len(first) == 1
    token = executor.asked("auto.approve")["token"]
    assert jwt.get_unverified_header(token)["kid"] == first[0]
    gate.rotate()
    second = kids(gate)
    assert len(second) == 2 and set(first) < set(second)
    keys = jwt.PyJWKSet.from_dict(gate.http.send("GET", "/.well-known/jwks.json").json())
    assert jwt.decode(token, keys[first[0]].key, algorithms=["EdDSA"], audience="executor")["approved"] is True
    assert executor.verify(token)["valid"] is True
    newer = gate.client("executor").asked("auto.approve")["token"]
    assert jwt.get_unverified_header(newer)["kid"] in set(second) - set(first)
    gate.rotate()
    third = kids(gate)
    assert len(third) == 2 and not set(first) & set(third) and set(second) & set(third)
    assert gate.client("executor").verify(token)["valid"] is False


def test_both_secrets_of_an_overlap_are_good_as_a_bearer_and_side_by_side(own_gate):
    gate = own_gate()
    old, old_bearer = gate.client("agent"), gate.secret("zap")
    gate.rotate()
    for secret in (old_bearer, gate.secret("zap")):
        answer = gate.http.send("GET", "/v1/requests", {"Authorization": f"Bearer zap.{secret}"})
        assert answer.status == 200, answer
    new = gate.client("agent")
    both = {**old.signed("GET", "/v1/requests")}
    both["X-Signature"] += "," + new.signed("GET", "/v1/requests", at=int(both["X-Placet-Timestamp"]))["X-Signature"]
    assert gate.http.send("GET", "/v1/requests", both).status == 200
    assert [entry["event"] for entry in gate.audit() if entry["event"] == "keys.rotated"] == ["keys.rotated"]


def test_raising_a_clients_generation_makes_another_secret(own_gate):
    gate = own_gate()
    before = gate.client("agent")
    gate.push_policy(policy.shared(gate.pace).replace('id = "agent"', 'id = "agent"\ngeneration = 2'))
    after = gate.client("agent")
    assert after.secret != before.secret
    wait_until(lambda: after.list().status == 200, 15, "the new policy")
    wait_until(lambda: before.list().status == 401, 15, "the end of the old secret")
    check_problem(before.list(), 401, "invalid_signature")
