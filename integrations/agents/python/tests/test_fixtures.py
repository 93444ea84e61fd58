"""The Python verifier against tests/fixtures, which the gate's own and the TypeScript one are held to as well."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from placet import (
    InvalidPayload,
    InvalidReceipt,
    InvalidToken,
    Unreachable,
    canonical,
    digest,
    signing,
    verify_receipt,
)
from placet import tokens as placet_tokens
from placet.callbacks import InvalidCallback, read_callback
from placet.canonical import strict_object
from placet.jwks import KeyCache

FIXTURES = Path(__file__).resolve().parents[4] / "tests/fixtures"


def fixture(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


KEYS = fixture("keyring")


def named(rows):
    return pytest.mark.parametrize("row", rows, ids=[row["name"] for row in rows])


def test_the_files_are_what_the_generator_writes():
    subprocess.run([sys.executable, FIXTURES / "generate.py", "--check"], check=True)


@named(fixture("tokens")["tokens"] + fixture("jose")["tokens"])
def test_a_token_is_judged_as_the_gate_judges_it(row):
    assert judged(row) in (row["problem"] if isinstance(row["problem"], list) else [row["problem"]])


def judged(row):
    try:
        header = placet_tokens.header(row["token"], row["algorithm"])
        if row["algorithm"] == "HS256":
            keys = [secret.encode() for secret in KEYS["secrets"][row["audience"]].values()]
        else:
            cache = KeyCache()
            cache.put(KEYS["jwks"], 0)
            keys = cache.find(header.get("kid"))
        claims = placet_tokens.read(row["token"], keys, row["algorithm"])
        placet_tokens.check(
            claims, audience=row["audience"], now=row["now"], issuer=row["issuer"], payload=row["payload"]
        )
    except InvalidToken as error:
        return error.problem
    return None


@named(fixture("signatures")["requests"])
def test_a_request_is_signed_as_the_gate_expects(row):
    secrets = KEYS["secrets"][fixture("signatures")["client"]]
    ours = {
        name: signing.signature(secret, row["timestamp"], row["method"], row["path"], row["body"].encode())
        for name, secret in secrets.items()
    }
    theirs = [value.strip() for value in row["signature"].split(",")]
    signer = next((name for name, signature in ours.items() if signature in theirs), None)
    in_time = abs(row["timestamp"] - KEYS["now"]) <= 300
    assert (signer if in_time else None) == row["signed_with"]


@named(fixture("payloads")["good"])
def test_a_payload_has_one_canonical_text(row):
    assert canonical(row["payload"]).decode() == row["canonical"]
    assert digest(row["payload"]) == row["sha256"]


@named(fixture("payloads")["bad"])
def test_a_payload_that_two_programs_could_read_differently_is_refused(row):
    with pytest.raises(InvalidPayload):
        canonical(strict_object(row["json"]))


@pytest.mark.parametrize("row", fixture("numbers")["accepted"], ids=lambda row: row["text"])
def test_a_number_has_one_canonical_text(row):
    assert canonical(strict_object(f'{{"n":{row["text"]}}}')) == f'{{"n":{row["canonical"]}}}'.encode()


@pytest.mark.parametrize("text", fixture("numbers")["refused"], ids=lambda text: text[:40])
def test_a_number_that_programs_read_differently_is_refused_however_it_is_spelled(text):
    for place in ('{"n":%s}', '{"a":[{"n":%s}]}', '{"n":[1,%s]}'):
        with pytest.raises(InvalidPayload):
            canonical(strict_object(place % text))


@named(fixture("jose")["documents"])
def test_of_a_key_document_the_keys_that_can_be_used_are_taken(row):
    cache = KeyCache()
    cache.put(row["jwks"], 0)
    kids = {
        entry["kid"] for entry in row["jwks"]["keys"] if isinstance(entry, dict) and isinstance(entry.get("kid"), str)
    }
    assert sorted(kid for kid in kids if cache.find(kid)) == sorted(row["usable"])
    token = next(one for one in fixture("jose")["tokens"] if one["algorithm"] == "EdDSA" and one["problem"] is None)
    for keys in [cache.find("placet-2")] if "placet-2" in row["usable"] else []:
        assert placet_tokens.read(token["token"], keys, "EdDSA").aud == "executor"


@pytest.mark.parametrize("document", [None, [], {}, {"keys": None}, {"keys": {}}, "keys"])
def test_what_is_no_key_document_at_all_is_said_to_be_none(document):
    with pytest.raises(Unreachable):
        KeyCache().put(document, 0)


@named(fixture("callbacks")["deliveries"])
def test_a_callback_is_believed_only_with_its_signature(row, monkeypatch):
    import standardwebhooks.webhooks as library

    class Then(library.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls.fromtimestamp(KEYS["now"], tz)

    monkeypatch.setattr(library, "datetime", Then)
    secret = KEYS["secrets"]["agent"]["current"]
    if row["valid"]:
        approval = read_callback(secret, row["headers"], row["body"])
        assert (approval.request_id, approval.status, approval.decided_by) == ("invoice-4711", "approved", ("bob",))
    else:
        with pytest.raises(InvalidCallback):
            read_callback(secret, row["headers"], row["body"])


def test_the_receipts_are_what_their_generator_writes():
    subprocess.run([sys.executable, FIXTURES / "receipts.py", "--check"], check=True)


@named(fixture("receipts")["receipts"])
def test_a_receipt_is_judged_as_the_gate_judges_it(row):
    try:
        proven = verify_receipt(row["receipt"], log_key=row["log_key"], payload=row["payload"])
    except InvalidReceipt as error:
        assert error.problem == row["problem"]
    else:
        assert row["problem"] is None
        assert (proven.request_id, proven.index, proven.size) == ("run:17.a_b-c", 303, 345)
        assert proven.pinned is (row["log_key"] is not None)
        assert proven.has_token is (json.loads(row["receipt"])["token"] is not None)
