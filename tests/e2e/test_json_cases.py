"""`POST /v1/requests` reads JSON, all of it, and nothing else: the cases of `json_cases.py` as a payload's value."""

import hashlib
import json

import pytest
import rfc8785
from json_cases import CASES, REFUSED, TAKEN
from placet_client import check_problem, new_id

FRAME = b'{"request_id":"%s","summary":"s","action":"auto.reject","payload":{"v":%s}}'


def test_there_are_as_many_cases_as_there_should_be():
    verdicts = [verdict for _, verdict in CASES.values()]
    assert verdicts.count(TAKEN) > 70 and verdicts.count(REFUSED) > 200


@pytest.mark.parametrize("name", CASES)
def test_a_case_of_json(agent, name):
    data, verdict = CASES[name]
    request_id = new_id()
    answer = agent.call("POST", "/v1/requests", FRAME % (request_id.encode(), data))
    if verdict is REFUSED:
        problem = check_problem(answer, 422, "invalid_request")
        assert problem["errors"] and len(problem["detail"]) > 10, problem
        check_problem(agent.get(request_id), 404, "not_found")
        return
    assert answer.status == 201, answer
    # Not only taken, but understood: an independent reader and an independent canonicaliser come to the same digest.
    canonical = rfc8785.dumps(json.loads(b'{"v":' + data + b"}"))
    assert answer.json()["payload_sha256"] == hashlib.sha256(canonical).hexdigest()


@pytest.mark.parametrize("name", [name for name, (_, verdict) in CASES.items() if verdict is REFUSED])
def test_a_case_as_a_whole_body(agent, name):
    """No body of these is a request, and none of them is a fault of the gate."""
    data, _ = CASES[name]
    for target in ("/v1/requests", "/v1/tokens/verify"):
        check_problem(agent.call("POST", target, data), 422, "invalid_request")
