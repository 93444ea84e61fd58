"""What was deployed: who may do what, who is subscribed, what the logs hold, what `placet doctor` says."""

import json
import re
import tomllib
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import policy
import pytest
from aws_gate import PACE
from botocore.exceptions import ClientError
from deploy import FUNCTIONS
from placet_client import Link, wait_until


@pytest.fixture
def gate(own_gate):
    return own_gate()


def subscriptions(gate):
    """Endpoint and filter of every mail subscription of the topic of mails."""
    sns = gate.aws.client("sns")
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=gate.outputs["EmailTopicArn"])
    found = {}
    for subscription in (one for page in pages for one in page["Subscriptions"] if one["Protocol"] == "email"):
        arn = subscription["SubscriptionArn"]
        attributes = (
            sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"] if arn.startswith("arn:") else {}
        )
        found[subscription["Endpoint"]] = json.loads(attributes.get("FilterPolicy", "null"))
    return found


def addresses(text):
    """Reviewers of a policy by their address."""
    return {one["email"]: one["id"] for one in tomllib.loads(text)["reviewers"] if "email" in one}


def test_a_push_subscribes_each_reviewer_to_their_own_mails_and_who_left_to_none(gate):
    text = policy.shared(PACE)
    reviewers = addresses(text)
    assert len(reviewers) == 14 + PACE.crowd
    assert subscriptions(gate) == {email: {"reviewer": [reviewer]} for email, reviewer in reviewers.items()}
    gate.push_policy(text)
    assert len(subscriptions(gate)) == len(reviewers), "the same policy again changes nothing"
    moved = text.replace('email = "erin@example.com"', 'email = "erin@example.net"')
    gate.push_policy(moved)
    assert subscriptions(gate) == {email: {"reviewer": [reviewer]} for email, reviewer in addresses(moved).items()}


def test_nobody_changes_or_deletes_an_audit_entry(gate):
    asked = gate.client("agent").asked("auto.approve")
    (entry, *_) = gate.audit_of(asked)
    key = {"subject": {"S": entry["subject"]}, "seq": {"N": str(entry["seq"])}}
    table = gate.outputs["AuditTable"]
    for function in FUNCTIONS:
        dynamodb = gate.aws.client_as("dynamodb", gate.session(function))
        for attempt in (
            lambda: dynamodb.delete_item(TableName=table, Key=key),
            lambda: dynamodb.update_item(TableName=table, Key=key, UpdateExpression="SET approved = :no", ExpressionAttributeValues={":no": {"BOOL": False}}),
            lambda: dynamodb.batch_write_item(RequestItems={table: [{"DeleteRequest": {"Key": key}}]}),
            lambda: dynamodb.delete_table(TableName=table),
        ):  # fmt: skip
            with pytest.raises(ClientError) as refused:
                attempt()
            assert refused.value.response["Error"]["Code"] == "AccessDeniedException", function
    assert gate.audit_of(asked)[0] == entry


MAY_NOT = [
    ("request", "sns", "publish", lambda gate: {"TopicArn": gate.outputs["AlertTopicArn"], "Message": "x"}),
    ("decide", "sns", "publish", lambda gate: {"TopicArn": gate.outputs["AlertTopicArn"], "Message": "x"}),
    ("request", "sns", "publish", lambda gate: {"TopicArn": gate.outputs["EmailTopicArn"], "Message": "x"}),
    ("request", "secretsmanager", "put_secret_value", lambda gate: {"SecretId": gate.outputs["KeyringSecretArn"], "SecretString": "x"}),
    ("request", "sqs", "send_message", lambda gate: {"QueueUrl": gate.outputs["BackupQueueUrl"], "MessageBody": "x"}),
    ("request", "dynamodb", "scan", lambda gate: {"TableName": gate.outputs["RequestsTable"]}),
    ("decide", "secretsmanager", "update_secret_version_stage", lambda gate: {"SecretId": gate.outputs["KeyringSecretArn"], "VersionStage": "AWSCURRENT", "RemoveFromVersionId": "0" * 32}),
    ("decide", "dynamodb", "delete_item", lambda gate: {"TableName": gate.outputs["RequestsTable"], "Key": {"pk": {"S": "x"}, "sk": {"S": "x"}}}),
    # It may query the chain of policies alone; this AWS does not know keys of items, so that is a fact of the template
    # (`tests/infra/test_permissions.py`).
    ("decide", "dynamodb", "scan", lambda gate: {"TableName": gate.outputs["AuditTable"]}),
    ("decide", "dynamodb", "get_item", lambda gate: {"TableName": gate.outputs["AuditTable"], "Key": {"subject": {"S": "keys"}, "seq": {"N": "1"}}}),
    ("timeout-sweep", "secretsmanager", "put_secret_value", lambda gate: {"SecretId": gate.outputs["KeyringSecretArn"], "SecretString": "x"}),
    *(
        (function, "secretsmanager", "get_secret_value", lambda gate: {"SecretId": gate.outputs["ChannelsSecretArn"]})
        for function in ("request", "rotate-secret")
    ),
    *(
        (function, "secretsmanager", "put_secret_value", lambda gate: {"SecretId": gate.outputs["ChannelsSecretArn"], "SecretString": "{}"})
        for function in FUNCTIONS
    ),
    ("rotate-secret", "dynamodb", "get_item", lambda gate: {"TableName": gate.outputs["RequestsTable"], "Key": {"pk": {"S": "x"}, "sk": {"S": "x"}}}),
    ("rotate-secret", "sns", "publish", lambda gate: {"TopicArn": gate.outputs["EmailTopicArn"], "Message": "x"}),
]  # fmt: skip


def test_a_function_may_do_nothing_that_is_not_its_work(gate):
    for function, service, call, arguments in MAY_NOT:
        client = gate.aws.client_as(service, gate.session(function))
        with pytest.raises(ClientError) as refused:
            getattr(client, call)(**arguments(gate))
        code = refused.value.response["Error"]["Code"]
        assert "AccessDenied" in code or "Authorization" in code, (function, call, code)


def test_logs_are_json_lines_without_secrets_at_the_most_talkative_level(gate, receiver):
    client = gate.aws.client("lambda")
    for name in gate.functions.values():
        variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
        client.update_function_configuration(
            FunctionName=name, Environment={"Variables": {**variables, "PLACET_LOG": "info"}}
        )
    agent = gate.client("agent")
    asked = agent.asked(
        payload={"card": "4111-secret-payload"}, callback_url=(url := receiver.address()) + "?key=capability"
    )
    link = gate.link(asked, "bob")
    link.approve()
    ended = agent.state(asked["request_id"])
    agent.redeem(ended["token"])
    agent.with_secret("whsec_" + "0" * 64).list()
    wait_until(lambda: receiver.deliveries[f"{urlsplit(url).path}?key=capability"], what="the callback")
    gate.rotate()
    said = gate.logs()
    lines = [line for line in said.splitlines() if line and not re.match(r"(START|END|REPORT|INIT_START) ", line)]
    assert len(lines) > 5
    for line in lines:
        assert isinstance(json.loads(line), dict), line
    code = link.path.removeprefix("/r/")
    for secret in (
        agent.secret,
        gate.client("agent").secret,
        ended["token"],
        "4111-secret-payload",
        "capability",
        code,
        "bob@example.com",
        "+15550100",
    ):
        assert secret not in said, [line[:400] for line in lines if secret in line][:3]


def test_metrics_are_in_the_log(gate):
    agent = gate.client("agent")
    asked = agent.asked()
    gate.link(asked, "bob").approve()
    agent.asked("auto.reject")

    def seen():
        found = {}
        for line in gate.logs().splitlines():
            if '"_aws"' in line:
                metric = json.loads(line)
                for directive in metric["_aws"]["CloudWatchMetrics"]:
                    assert directive["Namespace"] == "Placet" and metric["Gate"] == gate.stack
                    found.update(
                        {definition["Name"]: metric[definition["Name"]] for definition in directive["Metrics"]}
                    )
        return found if {"Asked", "TimeToNotify", "TimeToDecide", "Outcomes"} <= found.keys() else None

    assert wait_until(seen, what="the metrics")["Asked"] >= 1


def test_an_expired_request_is_alerted(gate):
    asked = gate.client("agent").asked(timeout_seconds=1)
    alert = wait_until(
        lambda: [found for found in gate.alerts() if "expired" in found["Subject"].lower()], 20, "the alert"
    )[0]
    assert gate.stack in alert["Subject"] and asked["request_id"] in alert["Message"]
    assert alert["MessageAttributes"]["alert"]["Value"] == "expired"
    assert "/r/" not in alert["Message"]


def test_whoever_still_uses_the_old_secret_is_alerted_once_though_sns_fails_at_first(gate):
    old, key = gate.client("agent"), gate.session("request")["aws_access_key_id"]
    gate.rotate()
    rule, before = gate.proxy.fail("Publish", times=2), gate.proxy.count(key)["sqs.SendMessageBatch"]
    for _ in range(3):
        assert old.list().status == 200
    assert gate.proxy.count(key)["sqs.SendMessageBatch"] == before + 1, "one alert for three calls"
    named = lambda: [alert for alert in gate.alerts() if "old secret" in alert["Subject"]]  # noqa: E731
    (alert,) = wait_until(named, 60, "the alert of the old secret")
    assert (
        rule.hit and alert["Message"].startswith("agent still uses its secret") and old.secret not in alert["Message"]
    )
    assert alert["MessageAttributes"]["alert"]["Value"] == "old_secret"


def test_whoever_tries_keys_is_alerted(gate):
    stranger = gate.client("agent").with_secret("whsec_" + "0" * 64)
    for _ in range(45):  # 20 of them fall into one minute, whenever it begins
        assert stranger.list().status == 401
    named = lambda: [alert for alert in gate.alerts() if "bad signatures" in alert["Subject"]]  # noqa: E731
    alert = wait_until(named, 60, "the alert of the bad signatures")[0]
    assert alert["Message"].splitlines()[0] == (
        "20 requests within a minute claimed to be agent, with a wrong signature or key. Somebody may be guessing keys, "
        "or the client has a wrong secret: give it the right one, or raise its `generation`."
    )
    assert alert["MessageAttributes"]["alert"]["Value"] == "bad_signatures"


def test_the_weekly_report_goes_to_the_topic_once_though_sns_fails_at_first(gate):
    gate.client("agent").asked("auto.approve")
    rule, an_hour_ago = gate.proxy.fail("Publish", times=2), datetime.now(UTC) - timedelta(hours=1)
    weekly = f'[[alerts]]\nname = "team"\nway = "sns"\n\n[report]\nto = ["team"]\nat = "{an_hour_ago:%A %H:%M} UTC"\n'
    gate.push_policy(f"{policy.shared(PACE)}\n{weekly}")
    gate.sweep()
    reports = lambda: [message for message in gate.alerts() if "Weekly report" in message["Subject"]]  # noqa: E731
    (report,) = wait_until(reports, 60, "the report")
    assert rule.hit and re.search(rf"{re.escape(gate.url)}/report/\S+", report["Message"]), report
    # It is about the whole days before today.
    assert report["Message"].startswith("0 requests asked (none in the four weeks before)."), report
    gate.sweep()
    wait_until(gate.idle, 60, "an outbox with nothing to tell")
    assert len(reports()) == 1
    assert [entry["subject"] for entry in gate.audit() if entry["event"] == "report.sent"] == [
        f"report-{an_hour_ago:%G-W%V}"
    ]


def test_an_operator_sees_what_waits_and_gets_a_link_again(gate):
    asked = gate.client("agent").asked()
    mailed = gate.link(asked, "bob")

    def printed(*arguments):
        ran = gate.cli(*arguments)
        assert ran.returncode == 0, ran
        return ran.stdout

    assert asked["request_id"] in printed("inbox")
    assert mailed.path in printed("inbox", "--reviewer", "bob")
    again = Link(
        gate.http, printed("link", asked["request_id"], "--client", "agent", "--reviewer", "bob").splitlines()[-1]
    )
    assert again.path == mailed.path
    assert again.approve()["status"] == "approved"
    assert printed("inbox") == "nothing waits\n"


def said_by_doctor(gate):
    """Of each level, what `placet doctor` says. Nobody answers at the stack's own address: it is on another continent."""
    ran = gate.cli("doctor")
    assert ran.returncode == 1 and ran.stderr == "", ran
    said = {"ok": [], "warn": [], "fail": []}
    for line in ran.stdout.splitlines():
        level, _, text = line.partition(" ")
        said[level].append(text.strip())
    assert any(gate.url in text for text in said["fail"]), said
    return said


def test_doctor_says_what_is_there_and_what_is_missing(gate):
    said = said_by_doctor(gate)
    for part in (gate.stack, "policy is installed", "keyring can be read", "hear alerts", "`bob` gets mail"):
        assert any(part in text for text in said["ok"]), (part, said)
    assert len(said["fail"]) == 1, said
    # What this AWS does not do is what an operator must be told where it is not done.
    for part in ("TTL", "point-in-time", "not rotated by a schedule"):
        assert any(part in text for text in said["warn"]), (part, said)
    sns = gate.aws.client("sns")
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=gate.outputs["EmailTopicArn"])
    for subscription in (
        one for page in pages for one in page["Subscriptions"] if one["Endpoint"] == "bob@example.com"
    ):
        sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    said = said_by_doctor(gate)
    assert not any("`bob` gets mail" in text for text in said["ok"])
    assert any("bob" in text and "policy push" in text for text in said["fail"]), said


def test_doctor_of_a_stack_that_is_not_there_says_so(gate):
    gate.stack = "no-such-stack"
    ran = gate.cli("doctor")
    assert ran.returncode == 1 and "no-such-stack" in ran.stdout + ran.stderr, ran
