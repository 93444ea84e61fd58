"""Each `bootstrap` by itself: it starts and polls on Lambda's environment and its own variables, and calls nobody before an event."""

import json
from pathlib import Path

import pytest
from deploy import FUNCTIONS, binaries
from fault_proxy import FaultProxy
from receiver import free_port
from runtime_api import RuntimeApi

EVENTS = Path(__file__).resolve().parents[1] / "fixtures/events"

ALL = {
    "PLACET_REQUESTS_TABLE": "requests", "PLACET_AUDIT_TABLE": "audit", "PLACET_KEYRING_SECRET": "keyring",
}  # fmt: skip
ALERTS = {"PLACET_ALERT_TOPIC_ARN": "arn:aws:sns:eu-central-1:123456789012:alerts"}
QUEUE = {"PLACET_DEADLINE_QUEUE_URL": "https://sqs.eu-central-1.amazonaws.com/123456789012/deadlines"}
# What each function needs, by the one table in the README.
REQUIRED = {
    "request": {**ALL, **QUEUE},
    "decide": {**ALL, **QUEUE},
    "timeout-sweep": {
        **ALL,
        **QUEUE,
        **ALERTS,
        "PLACET_EMAIL_TOPIC_ARN": "arn:aws:sns:eu-central-1:123456789012:email",
    },
    "rotate-secret": QUEUE,
}


def event(name):
    return json.loads((EVENTS / f"{name}.json").read_text())


@pytest.fixture
def nobody():
    """Stands where AWS would be, and notes who calls."""
    proxy = FaultProxy(free_port())
    yield proxy
    proxy.close()


@pytest.fixture
def start(tmp_path, nobody):
    """Starts a function with nothing but what it needs, and AWS where nobody answers."""

    def make(name, **changes):
        variables = {**REQUIRED[name], "AWS_ENDPOINT_URL": nobody.endpoint, **changes}
        return RuntimeApi(
            binaries()[name], {key: value for key, value in variables.items() if value is not None}, tmp_path
        )

    return make


@pytest.mark.parametrize("name", FUNCTIONS)
def test_it_polls_with_nothing_but_its_variables_and_without_a_call_to_aws(start, nobody, name):
    with start(name) as function:
        function.wait_for_poll()
        assert function.init_error is None
        assert nobody.calls == []


@pytest.mark.parametrize("name", FUNCTIONS)
def test_all_missing_variables_are_named_at_once(start, name):
    with start(name, **dict.fromkeys(REQUIRED[name])) as function:
        assert function.process.wait(30) != 0
        said = function.logs()
        assert all(variable in said for variable in REQUIRED[name]), said
        for line in filter(None, said.splitlines()):
            json.loads(line)
        assert not function.polled.is_set()


def test_what_needs_no_aws_is_answered_without_it(start, nobody):
    with start("request") as function:
        function.wait_for_poll()
        kind, answer = function.invoke(event("http-api-v2-get-unknown-path"))
        assert (kind, answer["statusCode"]) == ("response", 404)
        assert json.loads(answer["body"])["code"] == "not_found"
        assert nobody.calls == []


@pytest.mark.parametrize("name", ["request", "decide"])
def test_no_url_ends_a_function(start, nobody, name):
    """What calls send of a URL reaches the function as the API took it, and a part of it may be no URL at all."""
    nobody.fail("*")
    with start(name) as function:
        function.wait_for_poll()
        for changes in (
            {"rawQueryString": "a=<script>"},
            {"rawQueryString": 'a="b" c'},
            {"rawPath": "/r/<x>{y}|\\^"},
            {"headers": {"host": "a b"}},
            {"headers": {"host": "[::1", "x-forwarded-proto": "no scheme"}},
            {"headers": {}},
        ):
            kind, answer = function.invoke({**event("http-api-v2-get-unknown-path"), **changes})
            assert kind == "response" and 400 <= answer["statusCode"] < 500, (changes, answer)
        assert function.process.poll() is None and "panicked" not in function.logs()


def test_with_an_origin_secret_only_calls_through_the_front_are_answered(start, nobody):
    secret = "0123456789abcdef0123456789abcdef"
    with start("request", PLACET_ORIGIN_SECRET=secret) as function:
        function.wait_for_poll()
        call = event("http-api-v2-get-unknown-path")
        for header, status in ((None, 403), ("", 403), (secret[:-1], 403), (secret + "0", 403), (secret, 404)):
            headers = {**call["headers"], **({} if header is None else {"x-placet-origin": header})}
            kind, answer = function.invoke({**call, "headers": headers})
            assert (kind, answer["statusCode"]) == ("response", status), (header, answer)
        assert secret not in function.logs() and nobody.calls == []


@pytest.mark.parametrize(("name", "shape"), [
    ("request", "http-api-v2-post-json"), ("request", "http-api-v2-post-json-base64"), ("request", "http-api-v2-get-long-poll"),
    ("request", "http-api-v2-get-multi-value-headers"), ("request", "http-api-v2-get-custom-domain"),
    ("decide", "http-api-v2-get-page-with-cookies"), ("decide", "http-api-v2-post-form-base64"), ("decide", "http-api-v2-head-page"),
])  # fmt: skip
def test_without_aws_a_call_is_refused_and_the_function_lives_on(start, nobody, name, shape):
    nobody.fail("*")
    with start(name) as function:
        function.wait_for_poll()
        kind, answer = function.invoke(event(shape))
        assert kind == "response" and answer["statusCode"] in (404, 503), answer
        kind, answer = function.invoke(event("http-api-v2-get-unknown-path"))
        assert (kind, answer["statusCode"]) == ("response", 404)
        assert "panicked" not in function.logs()


def test_a_batch_that_cannot_be_read_comes_back_message_by_message(start, nobody):
    nobody.fail("*")
    with start("timeout-sweep") as function:
        function.wait_for_poll()
        batch = event("sqs-batch-with-malformed-records")
        kind, answer = function.invoke(batch)
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        assert (kind, failed) == ("response", {record["messageId"] for record in batch["Records"]})


@pytest.mark.parametrize(
    "shape",
    [
        "eventbridge-rule-scheduled",
        "eventbridge-scheduler-with-context-input",
        "eventbridge-scheduler-with-empty-input",
    ],
)
def test_a_sweep_that_finds_no_aws_fails_so_that_it_is_noticed(start, nobody, shape):
    nobody.fail("*")
    with start("timeout-sweep") as function:
        function.wait_for_poll()
        kind, answer = function.invoke(event(shape))
        assert kind == "error" and answer["errorMessage"], answer


@pytest.mark.parametrize(
    "step", ["create-secret", "set-secret", "test-secret", "finish-secret", "unknown-step", "without-rotation-token"]
)
def test_a_rotation_that_finds_no_aws_fails_so_that_it_is_tried_again(start, nobody, step):
    nobody.fail("*")
    with start("rotate-secret") as function:
        function.wait_for_poll()
        kind, answer = function.invoke(event(f"secrets-manager-rotation-{step}"))
        assert kind == "error" and answer["errorMessage"], answer
        assert all(call.operation != "PutSecretValue" for call in nobody.calls)
