"""The document says what the gate does: the checked-in copy is the served one, and a generator of requests agrees."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from local_gate import HERE, environment

CHECKED_IN = HERE / "../../crates/http/openapi.json"
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"


@pytest.fixture(scope="module")
def document(gate):
    answer = gate.http.send("GET", "/openapi.json")
    assert answer.status == 200 and answer.content_type == "application/json", answer
    return answer.json()


def test_the_checked_in_document_is_the_served_one(document):
    assert json.loads(CHECKED_IN.read_text()) == document


def test_the_document_is_openapi_3_1(document):
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] and document["info"]["version"]
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            if verb in ("get", "post", "delete"):
                assert operation["operationId"] and (operation.get("summary") or operation.get("description")), (
                    verb,
                    path,
                )
                assert operation["responses"], (verb, path)


def test_the_document_names_every_code(document):
    text = json.dumps(document)
    for code in (
        "invalid_signature", "unknown_client", "clock_skew", "forbidden", "not_found", "request_id_conflict", "already_decided",
        "already_redeemed", "not_approved", "payload_mismatch", "token_expired", "link_expired", "payload_too_large",
        "invalid_request", "rate_limited", "no_policy", "unavailable",
    ):  # fmt: skip
        assert code in text, code


@pytest.mark.parametrize("phase", ["examples,coverage", "fuzzing"])
def test_schemathesis_finds_nothing(local_gate, tmp_path, phase):
    gate = local_gate().start()
    folder = tmp_path / "schemathesis"
    folder.mkdir()
    (folder / "schemathesis.toml").write_text("")
    ran = subprocess.run(
        [
            str(Path(sys.executable).parent / "st"), "run", f"{gate.url}/openapi.json", "--url", gate.url,
            "--header", f"Authorization: Bearer zap.{gate.secret('zap')}", "--checks", CHECKS, "--phases", phase,
            "--max-examples", "15", "--seed", "7", "--workers", "1", "--warnings", "off", "--suppress-health-check", "all",
            "--request-timeout", "30", "--continue-on-failure",
        ],
        cwd=folder, env={**environment(), "NO_COLOR": "1", "HOME": os.environ.get("HOME", "/tmp")},
        capture_output=True, text=True, timeout=150,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-20000:] + ran.stderr[-4000:]
    assert gate.alive() and "panicked" not in gate.logs()
