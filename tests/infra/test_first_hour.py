"""`infra/first-hour` against a played AWS CLI that answers as the CLI's reference documents each command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

TOPIC = "arn:aws:sns:eu-central-1:111122223333:placet-EmailTopic"
MAILBOX = {"SubscriptionArn": f"{TOPIC}:1", "Protocol": "email", "Endpoint": "bob@example.com"}
ALARM = {"AlarmDescription": "Placet - a request ended without an answer.", "StateValue": "OK"}


@pytest.fixture
def api() -> Iterator[dict[str, Any]]:
    """The API's two addresses: `/public` and `/own`, each with the status that it answers."""
    played: dict[str, Any] = {"public": 200, "own": 403}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(played[self.path.split("/")[1]])
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    played["url"] = f"http://127.0.0.1:{server.server_port}"
    yield played
    server.shutdown()
    server.server_close()


def good(url: str) -> dict[str, Any]:
    outputs = {
        "RequestsTable": "requests", "AuditTable": "audit", "EmailTopicArn": TOPIC, "KeyringSecretArn": "keys",
        "ApiUrl": f"{url}/public",
    }  # fmt: skip
    resources = {name: name for name in ("RequestRole", "DecideRole", "TimeoutSweepRole", "Api")}
    return {
        "cloudformation describe-stacks": {
            "Stacks": [{"Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]}]
        },
        "cloudformation describe-stack-resources": {
            "StackResources": [
                {"LogicalResourceId": key, "PhysicalResourceId": value} for key, value in resources.items()
            ]
        },
        "lambda get-account-settings": {"AccountLimit": {"ConcurrentExecutions": 1000}},
        "dynamodb describe-table": {"Table": {"TableArn": "arn:t", "DeletionProtectionEnabled": True}},
        "dynamodb delete-item": "An error occurred (AccessDeniedException) when calling the DeleteItem operation: denied",
        "iam get-role": {"Role": {"Arn": "arn:role"}},
        "iam simulate-principal-policy ContextKeyValues=policytext": {
            "EvaluationResults": [{"EvalDecision": "explicitDeny"}]
        },
        "iam simulate-principal-policy": {"EvaluationResults": [{"EvalDecision": "allowed"}]},
        "sns list-subscriptions-by-topic": {"Subscriptions": [MAILBOX]},
        "sns get-sms-sandbox-account-status": {"IsInSandbox": False},
        "sns get-sms-attributes": {"attributes": {"MonthlySpendLimit": "50"}},
        "secretsmanager describe-secret": {"RotationEnabled": True, "NextRotationDate": "2027-02-24"},
        "apigatewayv2 get-api": {"ApiEndpoint": f"{url}/own", "DisableExecuteApiEndpoint": False},
        "cloudwatch describe-alarms": {"MetricAlarms": [ALARM]},
        "cloudwatch get-metric-statistics": {"Datapoints": []},
    }


# Answers by the longest key whose words are all in the command. A text is a refusal.
PLAYED = """#!{python} -IS
import json, sys
answers = json.load(open({answers!r}))
words = " ".join(sys.argv[1:])
key = max((key for key in answers if all(word in words for word in key.split())), key=len)
if isinstance(answers[key], str):
    sys.exit(answers[key])
print(json.dumps(answers[key]))
"""


def look(folder: Path, answers: dict[str, Any], *arguments: str) -> tuple[int, dict[str, list[str]]]:
    (folder / "answers.json").write_text(json.dumps(answers))
    played = folder / "aws"
    played.write_text(PLAYED.format(python=sys.executable, answers=str(folder / "answers.json")))
    played.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "NO_PROXY": "127.0.0.1"}
    ran = subprocess.run(
        [sys.executable, ROOT / "infra/first-hour", "placet", *arguments],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.stderr == "", ran.stderr
    said: dict[str, list[str]] = {"ok": [], "warn": [], "fail": []}
    for line in ran.stdout.splitlines():
        said[line[:5].strip()].append(line[5:])
    return ran.returncode, said


def test_a_stack_as_it_should_be_has_nothing_to_say(tmp_path: Path, api: dict[str, Any]) -> None:
    code, said = look(tmp_path, good(api["url"]), "--write")
    assert (code, said["warn"], said["fail"]) == (0, [], [])
    assert len(said["ok"]) == 14


def by_ses(url: str) -> dict[str, Any]:
    """A stack whose mail goes by SES."""
    answers = good(url)
    [stack] = answers["cloudformation describe-stacks"]["Stacks"]
    outputs = {"MailFrom": "gate@example.com", "MailConfigurationSet": "settings"}
    stack["Outputs"] += [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()]
    del answers["sns list-subscriptions-by-topic"]
    destination = {"Enabled": True, "MatchingEventTypes": ["BOUNCE", "COMPLAINT", "REJECT"]}
    return answers | {
        "sesv2 get-account": {
            "ProductionAccessEnabled": True, "SendingEnabled": True, "SendQuota": {"Max24HourSend": 50000.0},
        },
        "sesv2 get-email-identity example.com": {"VerifiedForSendingStatus": True},
        "sesv2 get-configuration-set-event-destinations settings": {"EventDestinations": [destination]},
    }  # fmt: skip


def test_mail_by_ses_is_looked_at_and_nobody_s_subscription(tmp_path: Path, api: dict[str, Any]) -> None:
    code, said = look(tmp_path, by_ses(api["url"]), "--write")
    assert (code, said["warn"], said["fail"]) == (0, [], [])
    assert {"mail may be from example.com", "bounces and complaints reach the gate"} <= set(said["ok"])


@pytest.mark.parametrize(
    ("call", "answer", "words"),
    [
        ("sesv2 get-account", {"ProductionAccessEnabled": False, "SendingEnabled": True}, "sandbox"),
        ("sesv2 get-account", {"ProductionAccessEnabled": True, "SendingEnabled": False}, "paused"),
        ("sesv2 get-email-identity example.com", {"VerifiedForSendingStatus": False}, "MailDkimRecord1"),
        ("sesv2 get-configuration-set-event-destinations settings", {}, "do not reach the gate"),
    ],
)
def test_mail_by_ses_that_would_not_arrive_fails(
    tmp_path: Path, api: dict[str, Any], call: str, answer: Any, words: str
) -> None:
    code, said = look(tmp_path, by_ses(api["url"]) | {call: answer}, "--write")
    assert code == 1 and [text for text in said["fail"] if words in text], said


FAULTS: list[tuple[str, Any, str, str]] = [
    ("lambda get-account-settings", {"AccountLimit": {"ConcurrentExecutions": 10}}, "warn", "keep reviewers out"),
    ("dynamodb describe-table", {"Table": {"TableArn": "arn:t"}}, "warn", "DeletionProtection=on"),
    ("dynamodb delete-item", {}, "fail", "lost its resource policy"),
    ("dynamodb delete-item", "An error occurred (ConditionalCheckFailedException): no", "fail", "can be written to"),
    (
        "iam simulate-principal-policy ContextKeyValues=policytext",
        {"EvaluationResults": [{"EvalDecision": "allowed"}]},
        "fail",
        "no policy",
    ),
    (
        "sns list-subscriptions-by-topic",
        {"Subscriptions": [{**MAILBOX, "SubscriptionArn": "PendingConfirmation"}]},
        "warn",
        "have not confirmed",
    ),
    (
        "sns list-subscriptions-by-topic",
        {"Subscriptions": [{**MAILBOX, "SubscriptionArn": "Deleted"}]},
        "fail",
        "unsubscribed",
    ),
    ("sns list-subscriptions-by-topic", {"Subscriptions": [{**MAILBOX, "Protocol": "sqs"}]}, "fail", "no mailbox"),
    ("cloudwatch get-metric-statistics", {"Datapoints": [{"Sum": 3.0}]}, "fail", "3 mail(s)"),
    ("sns get-sms-sandbox-account-status", {"IsInSandbox": True}, "warn", "SMS sandbox"),
    ("sns get-sms-attributes", {"attributes": {}}, "warn", "1 USD a month"),
    ("secretsmanager describe-secret", {}, "warn", "SecretRotation=on"),
    ("cloudwatch describe-alarms", {"MetricAlarms": [{**ALARM, "StateValue": "ALARM"}]}, "fail", "without an answer"),
    ("iam get-role", "An error occurred (AccessDenied) when calling the GetRole operation", "fail", "AccessDenied"),
    ("cloudformation describe-stacks", "An error occurred (ValidationError): no such stack", "fail", "no such stack"),
]


@pytest.mark.parametrize(("command", "answer", "level", "words"), FAULTS)
def test_what_is_wrong_is_said(
    tmp_path: Path, api: dict[str, Any], command: str, answer: Any, level: str, words: str
) -> None:
    code, said = look(tmp_path, {**good(api["url"]), command: answer}, "--write")
    assert any(words in text for text in said[level]), said
    assert code == (1 if said["fail"] else 0)
    assert bool(said["fail"]) == (level == "fail")


def test_an_api_that_is_open_beside_its_front_is_said(tmp_path: Path, api: dict[str, Any]) -> None:
    api["own"] = 200
    code, said = look(tmp_path, good(api["url"]), "--write")
    assert code == 0 and any("OriginSecret" in text for text in said["warn"]), said
    api["public"] = 503
    code, said = look(tmp_path, good(api["url"]), "--write")
    assert code == 1 and any("503" in text for text in said["fail"]), said


def test_without_leave_nothing_is_tried(tmp_path: Path, api: dict[str, Any]) -> None:
    answers = good(api["url"])
    del answers["dynamodb delete-item"]
    code, said = look(tmp_path, answers)
    assert code == 0 and any("--write" in text for text in said["warn"]), said
