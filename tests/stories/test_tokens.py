"""Tokens, judged by an independent library and by the gate itself."""

import base64
import hashlib
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from placet_client import bad_fields, check_problem, digest, moment, new_id, wait_until

PAYLOADS = [
    {},
    {"amount": 5000, "to": "ACME"},
    {"b": 1, "a": 2, "aa": 3, "B": 4, "": 5},
    {"floats": [0.1 + 0.2, 1e-7, 1e-6, 0.000001234, 4.50, 2e-3, 1e-27, 333333333.33333329, 5e-324, -0.0, 0.0, 9.5, 100.0, 1.5e10]},
    {"large floats": [1e15, 9007199254740991.0, -9007199254740991.0, 4503599627370496.5]},
    {"integers": [0, -1, 2**53 - 1, -(2**53) + 1, 10**15]},
    {"\u20ac": "Euro", "\r": "return", "\ufb33": "dalet", "1": "one", "\U0001f600": "smile", "\u0080": "control", "\u00f6": "o"},
    {"escapes": "\u0000\u0001\b\t\n\f\r\u001f \"\\/\u007f\u2028\u2029é😀", "composed": "Ame\u0301lie", "plain": "Amélie"},
    {"nested": {"z": [{"y": {"x": [[], {}, [None, True, False, {"w": "v"}]]}}], "a": None}},
    {"deep": [[[[[[[[[[[[[[[[{"end": 1}]]]]]]]]]]]]]]]]},
]  # fmt: skip


def encoded(value):
    data = value if isinstance(value, bytes) else json.dumps(value, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(part):
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def hs256(header, claims, key):
    signed = f"{encoded(header)}.{encoded(claims)}"
    return f"{signed}.{encoded(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"


def jwks(gate):
    answer = gate.http.send("GET", "/.well-known/jwks.json")
    assert answer.status == 200, answer
    return answer.json()


def key_of(gate, token):
    kid = jwt.get_unverified_header(token)["kid"]
    return next(key for key in jwt.PyJWKSet.from_dict(jwks(gate)).keys if key.key_id == kid)


def check(client, token, key, algorithm):
    return jwt.decode(
        token, key, algorithms=[algorithm], audience=client.id, issuer=client.issuer,
        options={"require": ["iss", "sub", "aud", "jti", "iat", "exp"]},
    )  # fmt: skip


@pytest.fixture
def approved(agent):
    return agent.asked("auto.approve", {"amount": 1, "to": new_id()})


def test_an_hs256_token_says_exactly_what_was_approved(gate, agent):
    payload = {"amount": 1250.5, "to": "ACME"}
    asked = agent.asked("ask.pay", payload)
    gate.link(asked, "bob").approve()
    ended = agent.state(asked["request_id"])
    assert jwt.get_unverified_header(ended["token"]) == {"alg": "HS256", "typ": "placet+jwt"}
    claims = check(agent, ended["token"], agent.secret, "HS256")
    iat = claims["iat"]
    assert claims == {
        "iss": gate.issuer, "sub": asked["request_id"], "aud": "agent", "jti": asked["approval_id"],
        "iat": iat, "exp": iat + 3600, "status": "approved", "approved": True, "action": "ask.pay",
        "payload_sha256": digest(payload), "decided_by": ["bob"], "rule": "people", "policy": claims["policy"],
    }  # fmt: skip
    assert type(claims["policy"]) is int
    assert iat == int(moment(ended["decided_at"]))
    assert agent.verify(ended["token"], payload=payload) == {"valid": True, "problem": None, "claims": claims}


def test_an_eddsa_token_is_verified_with_the_published_keys(gate, executor):
    asked = executor.asked("ask.pay", {"a": 1})
    gate.link(asked, "carol").approve()
    ended = executor.state(asked["request_id"])
    header = jwt.get_unverified_header(ended["token"])
    assert (header["alg"], header["typ"]) == ("EdDSA", "placet+jwt") and header["kid"]
    claims = check(executor, ended["token"], key_of(gate, ended["token"]), "EdDSA")
    assert (claims["sub"], claims["aud"], claims["approved"]) == (asked["request_id"], "executor", True)
    assert executor.verify(ended["token"], payload={"a": 1}) == {"valid": True, "problem": None, "claims": claims}


def test_eddsa_is_what_a_client_gets_that_says_nothing(gate, executor2):
    token = executor2.asked("auto.approve")["token"]
    assert jwt.get_unverified_header(token)["alg"] == "EdDSA"
    assert check(executor2, token, key_of(gate, token), "EdDSA")["approved"] is True


def test_a_key_is_named_by_its_thumbprint(gate, executor):
    """RFC 7638: what another gate's keys, or a former gate's, can never be called."""
    for key in jwks(gate)["keys"]:
        members = json.dumps({"crv": key["crv"], "kty": key["kty"], "x": key["x"]}, separators=(",", ":"))
        assert key["kid"] == encoded(hashlib.sha256(members.encode()).digest())
    assert jwt.get_unverified_header(executor.asked("auto.approve")["token"])["kid"] == jwks(gate)["keys"][0]["kid"]


def test_a_header_that_wants_more_than_is_known_is_no_token(agent, approved):
    head, body, _ = approved["token"].split(".")
    key = agent.secret.encode()
    assert agent.verify(hs256(decoded(head), decoded(body), key))["valid"] is True
    more = [{"crit": value, "exp2": 1} for value in (["exp2"], ["b64"], [], None, "exp2")] + [
        {"b64": False},
        {"crit": ["b64"], "b64": True},
    ]
    for parameters in more:
        verdict = agent.verify(hs256({**decoded(head), **parameters}, decoded(body), key))
        assert (verdict["valid"], verdict["problem"], verdict["claims"]) == (False, "malformed", None), parameters
        check_problem(agent.redeem(hs256({**decoded(head), **parameters}, decoded(body), key)), 422, "invalid_request")
    for text in (
        b'{"alg":"HS256","typ":"placet+jwt","alg":"HS256"}',
        b'{"alg":"none","typ":"placet+jwt","alg":"HS256"}',
        b'{"typ":"JWT","alg":"HS256","typ":"placet+jwt"}',
    ):
        signed = f"{encoded(text)}.{body}"
        doubled = f"{signed}.{encoded(hmac.new(key, signed.encode(), hashlib.sha256).digest())}"
        assert agent.verify(doubled)["problem"] == "malformed", text
    assert agent.redeem(approved["token"]).json()["first"] is True


def test_a_token_that_is_not_valid_yet_is_not_valid(agent, approved):
    header, claims = {"alg": "HS256", "typ": "placet+jwt"}, decoded(approved["token"].split(".")[1])
    for nbf in (int(time.time()) + 3600, 2**40, "soon", None, [], True, {}):
        forged = hs256(header, {**claims, "nbf": nbf}, agent.secret.encode())
        verdict = agent.verify(forged)
        assert verdict["valid"] is False and verdict["problem"] in ("token_not_yet_valid", "malformed"), (nbf, verdict)
        check_problem(agent.redeem(forged), {409, 422})
    assert agent.redeem(approved["token"]).json()["first"] is True


def test_a_token_without_a_policy_version_is_none(agent, approved):
    header, claims = {"alg": "HS256", "typ": "placet+jwt"}, decoded(approved["token"].split(".")[1])
    for change in ({"policy": ...}, {"policy": None}, {"policy": "1"}, {"policy": -1}, {"policy": 1.5}):
        changed = {name: value for name, value in {**claims, **change}.items() if value is not ...}
        assert agent.verify(hs256(header, changed, agent.secret.encode()))["problem"] == "malformed", change
    other = hs256(header, {**claims, "policy": claims["policy"] + 1}, agent.secret.encode())
    assert agent.verify(other)["problem"] == "unknown_approval"


def test_null_is_no_payload_and_not_left_out_either(agent, approved):
    for target, more in (("/v1/tokens/verify", {}), ("/v1/tokens/redeem", {"redeemed_by": "x"})):
        problem = check_problem(
            agent.call("POST", target, {"token": approved["token"], "payload": None, **more}), 422, "invalid_request"
        )
        assert bad_fields(problem) == {"payload"}, problem
    assert agent.redeem(approved["token"]).json()["first"] is True


def test_the_published_keys_are_public_only(gate):
    for key in jwks(gate)["keys"]:
        assert (key["kty"], key["crv"], key["alg"]) == ("OKP", "Ed25519", "EdDSA") and key["use"] == "sig"
        assert "d" not in key and key["kid"]


@pytest.mark.parametrize("payload", PAYLOADS, ids=range(len(PAYLOADS)))
def test_the_digest_is_that_of_the_canonical_json(agent, payload):
    asked = agent.asked("auto.approve", payload)
    assert asked["payload_sha256"] == digest(payload)
    assert check(agent, asked["token"], agent.secret, "HS256")["payload_sha256"] == digest(payload)
    assert agent.verify(asked["token"], payload=payload)["valid"] is True
    # Written otherwise, it is the same payload.
    reordered = dict(reversed(payload.items()))
    spelled = json.dumps({"token": asked["token"], "payload": reordered}, indent=3, ensure_ascii=True).encode()
    assert agent.call("POST", "/v1/tokens/verify", spelled).json()["valid"] is True


def test_every_outcome_has_a_token_that_says_so(gate, agent):
    gate.link(asked := agent.asked(), "bob").reject(reason="no")
    rejected = agent.state(asked["request_id"])
    cancelled = agent.cancel(agent.asked()["request_id"]).json()
    expired = agent.ended(agent.asked(timeout_seconds=1)["request_id"])
    for outcome, status, by in (
        (rejected, "rejected", ["bob"]), (cancelled, "cancelled", ["client:agent"]), (expired, "expired", expired["decided_by"]),
    ):  # fmt: skip
        claims = check(agent, outcome["token"], agent.secret, "HS256")
        assert (claims["status"], claims["approved"], claims["decided_by"]) == (status, False, by)
        assert agent.verify(outcome["token"]) == {"valid": False, "problem": "not_approved", "claims": claims}
        check_problem(agent.redeem(outcome["token"]), 409, "not_approved")


def test_a_changed_payload_is_noticed(agent):
    token = agent.asked("auto.approve", {"amount": 1, "to": "ACME"})["token"]
    for payload in (
        {"amount": 2, "to": "ACME"},
        {"amount": "1", "to": "ACME"},
        {"amount": 1},
        {},
        {"amount": 1, "to": "ACME", "x": None},
        {"Amount": 1, "to": "ACME"},
    ):
        verdict = agent.verify(token, payload=payload)
        assert (verdict["valid"], verdict["problem"]) == (False, "payload_mismatch"), payload
        check_problem(agent.redeem(token, payload=payload), 409, "payload_mismatch")
    assert agent.redeem(token, payload={"to": "ACME", "amount": 1.0}).json()["first"] is True


def test_changed_claims_break_the_signature(agent, executor, gate, approved):
    for client, token, key, algorithm in (
        (agent, approved["token"], agent.secret, "HS256"),
        (executor, (other := executor.asked("auto.reject"))["token"], key_of(gate, other["token"]), "EdDSA"),
    ):
        header, claims, signature = token.split(".")
        for change in (
            {"approved": True, "status": "approved", "sub": "another"}, {"aud": "closed"}, {"exp": 2**31},
            {"payload_sha256": digest({"amount": 10**6})}, {"decided_by": ["olga"]}, {"iss": "https://evil.example"}, {"action": "other"},
        ):  # fmt: skip
            forged = f"{header}.{encoded({**decoded(claims), **change})}.{signature}"
            with pytest.raises(jwt.InvalidTokenError):
                check(client, forged, key, algorithm)
            verdict = client.verify(forged)
            problem = "wrong_audience" if "aud" in change else "invalid_signature"
            assert verdict == {"valid": False, "problem": problem, "claims": None}, change
            assert 400 <= client.redeem(forged).status < 500


def test_another_key_is_no_key(agent, approved):
    claims = decoded(approved["token"].split(".")[1])
    for key in (
        b"",
        b"secret",
        b"whsec_" + b"0" * 64,
        agent.secret.removeprefix("whsec_").encode(),
        base64.b64decode(agent.secret.removeprefix("whsec_")),
    ):
        forged = hs256({"alg": "HS256", "typ": "placet+jwt"}, claims, key)
        with pytest.raises(jwt.InvalidSignatureError):
            check(agent, forged, agent.secret, "HS256")
        assert agent.verify(forged)["problem"] == "invalid_signature"


def test_another_clients_token_is_not_ones_own(agent, other, executor, executor2, approved):
    assert other.verify(approved["token"])["problem"] in ("invalid_signature", "wrong_audience")
    token = executor.asked("auto.approve")["token"]
    assert executor2.verify(token)["problem"] == "wrong_audience"
    assert 400 <= executor2.redeem(token).status < 500
    assert agent.verify(token)["problem"] == executor.verify(approved["token"])["problem"] == "wrong_audience"
    assert executor.redeem(token).json()["first"] is True


def test_the_algorithm_is_pinned_by_the_key(gate, agent, executor):
    mine, token = agent.asked("auto.approve")["token"], executor.asked("auto.approve")["token"]
    public = key_of(gate, token).key
    assert isinstance(public, ed25519.Ed25519PublicKey)
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    header, claims = jwt.get_unverified_header(token), decoded(token.split(".")[1])
    header = {name: value for name, value in header.items() if name != "alg"}
    forgeries = [
        hs256({**header, "alg": "HS256"}, claims, key) for key in (raw, pem, encoded(raw).encode(), raw.hex().encode())
    ]
    forgeries += [
        f"{encoded({**header, 'alg': name})}.{encoded(claims)}.{end}"
        for name in ("none", "None", "NONE", "")
        for end in ("", encoded(b"x" * 32))
    ]
    private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    forgeries.append(jwt.encode(claims, private, "RS256", headers=header))
    forgeries.append(
        jwt.encode(claims, ed25519.Ed25519PrivateKey.generate(), "EdDSA", headers={**header, "kid": "mine"})
    )
    forgeries.append(jwt.encode(claims, ed25519.Ed25519PrivateKey.generate(), "EdDSA", headers=header))
    for forged in forgeries:
        with pytest.raises(jwt.PyJWTError):
            check(executor, forged, key_of(gate, token), "EdDSA")
        verdict = executor.verify(forged)
        assert verdict["valid"] is False and verdict["problem"] in (
            "wrong_algorithm",
            "invalid_signature",
            "malformed",
        ), (forged, verdict)
        assert verdict["claims"] is None
        assert 400 <= executor.redeem(forged).status < 500
    for name in ("none", "RS256", "HS384", "HS512", "EdDSA", "ES256"):
        head, body, signature = mine.split(".")
        forged = f"{encoded({**decoded(head), 'alg': name})}.{body}.{signature}"
        with pytest.raises(jwt.InvalidTokenError):
            check(agent, forged, agent.secret, "HS256")
        assert agent.verify(forged)["problem"] == ("malformed" if name == "none" else "wrong_algorithm"), name
    # Even with the right secret, another algorithm is another key's.
    assert (
        agent.verify(jwt.encode(decoded(mine.split(".")[1]), agent.secret, "HS512", headers={"typ": "placet+jwt"}))[
            "problem"
        ]
        == "wrong_algorithm"
    )
    with_own_key = hs256(
        {**decoded(mine.split(".")[0]), "jwk": {"kty": "oct", "k": encoded(b"k")}, "jku": gate.url},
        decoded(mine.split(".")[1]),
        b"k",
    )
    assert agent.verify(with_own_key)["valid"] is False


def test_a_token_of_another_kind_is_not_an_approval(agent, approved):
    claims = decoded(approved["token"].split(".")[1])
    for typ in ("JWT", "at+jwt", "", None):
        header = {"alg": "HS256", **({"typ": typ} if typ is not None else {})}
        assert agent.verify(hs256(header, claims, agent.secret.encode()))["valid"] is False, typ


def test_a_token_ends_with_its_time(agent):
    asked = agent.asked("auto.brief", {"a": 1})
    claims = jwt.decode(asked["token"], options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 1
    wait_until(lambda: time.time() >= claims["exp"], what="the end of the token's time")
    with pytest.raises(jwt.ExpiredSignatureError):
        check(agent, asked["token"], agent.secret, "HS256")
    verdict = wait_until(
        lambda: (found := agent.verify(asked["token"])) and not found["valid"] and found, 3, "the token to expire"
    )
    assert verdict["problem"] == "token_expired"
    check_problem(agent.redeem(asked["token"]), 409, "token_expired")


def test_what_the_client_itself_mints_the_gate_has_never_approved(gate, agent, approved):
    """With HS256 a client's secret can mint; the gate's own record is what verify and redeem go by."""
    header, claims = {"alg": "HS256", "typ": "placet+jwt"}, decoded(approved["token"].split(".")[1])
    pending, rejected = agent.asked(), agent.asked("auto.reject")
    inventions = [{**claims, "sub": "never-asked", "jti": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}]
    for request in (pending, rejected):
        inventions.append(
            {
                **claims,
                "sub": request["request_id"],
                "jti": request["approval_id"],
                "payload_sha256": request["payload_sha256"],
            }
        )
    inventions.append({**claims, "payload_sha256": digest({"amount": 10**6})})
    inventions.append({**claims, "sub": rejected["request_id"]})
    for invented in inventions:
        forged = hs256(header, invented, agent.secret.encode())
        check(agent, forged, agent.secret, "HS256")  # PyJWT cannot know better; the gate can
        verdict = agent.verify(forged)
        assert (verdict["valid"], verdict["problem"]) == (False, "unknown_approval"), (invented, verdict)
        answer = agent.redeem(forged)
        assert 400 <= answer.status < 500, answer
        check_problem(answer, {404, 409, 422})
    assert agent.state(pending["request_id"])["status"] == "pending"
    assert agent.redeem(approved["token"]).json()["first"] is True


def test_minted_with_the_right_key_but_for_others(agent, approved):
    header, claims = {"alg": "HS256", "typ": "placet+jwt"}, decoded(approved["token"].split(".")[1])
    for change, problem in (
        ({"aud": "other"}, {"wrong_audience"}),
        ({"iss": "https://evil.example"}, {"wrong_issuer"}),
        ({"exp": int(time.time()) - 5}, {"token_expired"}),
        ({"exp": int(time.time()) + 10**9}, {"unknown_approval"}),
        ({"aud": ["agent", "other"]}, {"wrong_audience", "malformed"}),
        ({"exp": "never"}, {"malformed"}),
        ({"approved": "yes"}, {"malformed"}),
    ):
        verdict = agent.verify(hs256(header, {**claims, **change}, agent.secret.encode()))
        assert verdict["valid"] is False and verdict["problem"] in problem, (change, verdict)
    for missing in ("exp", "aud", "sub", "jti", "payload_sha256", "approved", "status"):
        verdict = agent.verify(
            hs256(header, {name: value for name, value in claims.items() if name != missing}, agent.secret.encode())
        )
        assert verdict["valid"] is False, (missing, verdict)


def test_what_is_no_token_is_malformed(agent):
    for text in ("", ".", "..", "...", "a.b.c", "x" * 10000, "☃.☃.☃", "e30.e30.", "eyJhbGciOiJIUzI1NiJ9", "null"):
        verdict = agent.verify(text)
        assert verdict["valid"] is False and verdict["claims"] is None
        assert verdict["problem"] in ("malformed", "wrong_algorithm", "invalid_signature"), (text, verdict)


def test_a_token_is_redeemed_once(agent, approved):
    first = agent.redeem(approved["token"], "deploy-42", payload={"amount": 1, "to": "x"})
    check_problem(first, 409, "payload_mismatch")
    first = agent.redeem(approved["token"], "deploy-42")
    assert first.status == 200 and first.json()["first"] is True
    assert first.json()["claims"] == check(agent, approved["token"], agent.secret, "HS256")
    again = agent.redeem(approved["token"], "deploy-42")
    assert again.status == 200 and again.json() == {"first": False, "claims": first.json()["claims"]}
    problem = check_problem(agent.redeem(approved["token"], "deploy-43"), 409, "already_redeemed")
    assert problem["redeemed_by"] == "deploy-42"
    assert agent.verify(approved["token"])["valid"] is True
