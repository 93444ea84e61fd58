"""The document says what the gate does: the checked-in copy is the served one, and a generator of requests agrees."""

import copy
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from local_gate import HERE, environment
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from placet_client import check_problem

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


def test_an_independent_validator_finds_no_fault(document):
    """With every rule of the 3.1 schema; `validate` raises for the first."""
    faults = [
        f"{'/'.join(map(str, fault.absolute_path))}: {fault.message[:200]}"
        for fault in OpenAPIV31SpecValidator(document).iter_errors()
    ]
    assert not faults, faults
    # It would notice: without a description, a response is not valid.
    broken = copy.deepcopy(document)
    del broken["paths"]["/v1/requests"]["post"]["responses"]["201"]["description"]
    with pytest.raises(OpenAPIValidationError):
        validate(broken)


def test_every_response_is_described(document):
    for path, verb, operation in operations(document):
        for status, response in operation["responses"].items():
            assert response["description"].strip(), (verb, path, status)
        assert any(status.startswith("2") for status in operation["responses"]), (verb, path)


def test_the_gate_takes_the_query_parameters_of_the_document_and_no_others(document, gate, agent, jira, auditor):
    values = {
        "wait_seconds": "0",
        "status": "pending",
        "limit": "1",
        "cursor": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
        "client": "agent",
    }
    for path, verb, operation in operations(document):
        if not path.startswith("/v1/"):
            continue
        target = re.sub(r"\{[a-z_]+\}", "no-such", path)
        caller = jira if path.endswith("/decision") else agent
        # These are for auditors alone, and whoever may not call them does not learn how.
        if operation["tags"] == ["audit"] and path != "/v1/requests/{request_id}/receipt":
            caller = auditor
        known = {found["name"] for found in operation.get("parameters", []) if found["in"] == "query"}
        for name in sorted(set(values) | known | {"bogus"}):
            query = f"{name}={values.get(name, 'x')}"
            # What chats call proves itself by a signature, before anything of it is read.
            if operation["tags"] == ["chats"]:
                (sent_as,) = operation["requestBody"]["content"]
                answer = gate.http.send(verb.upper(), f"{target}?{query}", {"Content-Type": sent_as}, b"{}")
                check_problem(answer, 401, "invalid_signature")
                continue
            answer = caller.call(verb.upper(), f"{target}?{query}")
            refused = answer.status == 422 and any(
                error["field"] == name and "query parameter" in error["message"] for error in answer.json()["errors"]
            )
            assert refused is (name not in known), (verb, path, name, answer)


def operations(document):
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            if verb in ("get", "post", "delete", "put", "patch"):
                yield path, verb, operation


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
