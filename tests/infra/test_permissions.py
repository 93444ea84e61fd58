"""Who may do what: the roles of the transformed template, against the whole list of what each needs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

INDEXES = {f"RequestsTable/index/{index}": {"dynamodb:Query"} for index in ("due", "listed")}

READ_AND_APPEND = {f"dynamodb:{action}" for action in ("GetItem", "Query", "BatchGetItem", "PutItem")}

# Everything that a role may do, by what it may do it to. `phones` is what has no ARN, `traces` what X-Ray keeps.
GRANTS = {
    "RequestRole": {
        "RequestsTable": {
            f"dynamodb:{action}"
            for action in (
                "GetItem",
                "Query",
                "BatchGetItem",
                "ConditionCheckItem",
                "PutItem",
                "UpdateItem",
                "DeleteItem",
            )
        },
        **INDEXES,
        "AuditTable": READ_AND_APPEND,
        "KeyringSecret": {"secretsmanager:GetSecretValue"},
        "DeadlineQueue": {"sqs:SendMessage"},
        "RequestLog": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "traces": {"xray:PutTraceSegments", "xray:PutTelemetryRecords"},
    },
    "DecideRole": {
        "RequestsTable": {
            f"dynamodb:{action}"
            for action in ("GetItem", "Query", "BatchGetItem", "ConditionCheckItem", "PutItem", "UpdateItem")
        },
        **INDEXES,
        "AuditTable": {"dynamodb:PutItem"},
        "KeyringSecret": {"secretsmanager:GetSecretValue"},
        "ChannelsSecret": {"secretsmanager:GetSecretValue"},
        "DeadlineQueue": {"sqs:SendMessage"},
        "DecideLog": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "traces": {"xray:PutTraceSegments", "xray:PutTelemetryRecords"},
    },
    "TimeoutSweepRole": {
        "RequestsTable": {
            f"dynamodb:{action}"
            for action in ("GetItem", "Query", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem")
        },
        **INDEXES,
        "AuditTable": READ_AND_APPEND,
        "KeyringSecret": {"secretsmanager:GetSecretValue"},
        "ChannelsSecret": {"secretsmanager:GetSecretValue"},
        "DeadlineQueue": {"sqs:SendMessage", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"},
        "BackupQueue": {"sqs:SendMessage"},
        "InvocationDeadLetterQueue": {"sqs:SendMessage"},
        "EmailTopic": {"sns:Publish"},
        "AlertTopic": {"sns:Publish"},
        "mail": {"ses:SendEmail"},
        "phones": {"sns:Publish"},
        "TimeoutSweepLog": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "traces": {"xray:PutTraceSegments", "xray:PutTelemetryRecords"},
    },
    "RotateSecretRole": {
        "KeyringSecret": {
            f"secretsmanager:{action}"
            for action in ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage")
        },
        "DeadlineQueue": {"sqs:SendMessage"},
        "InvocationDeadLetterQueue": {"sqs:SendMessage"},
        "RotateSecretLog": {"logs:CreateLogStream", "logs:PutLogEvents"},
        "traces": {"xray:PutTraceSegments", "xray:PutTelemetryRecords"},
    },
    "EveryMinuteRole": {
        "TimeoutSweepFunction": {"lambda:InvokeFunction"},
        "InvocationDeadLetterQueue": {"sqs:SendMessage"},
    },
}

SERVICES = dict.fromkeys(GRANTS, "lambda.amazonaws.com") | {"EveryMinuteRole": "scheduler.amazonaws.com"}

# The only statement that applies under a condition, and the only one that names no ARN: X-Ray has none to name.
TRACE = "Trace"
# Only where mail goes by SES, and then from one address by one configuration set: it has a test of its own.
MAIL = "SendMail"


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def of_type(resources: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {name: each["Properties"] for name, each in resources.items() if each["Type"] == kind}


def statements(role: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for policy in role["Policies"]:
        for statement in policy["PolicyDocument"]["Statement"]:
            match statement:
                case {"Fn::If": [str(condition), given, {"Ref": "AWS::NoValue"}]}:
                    assert (condition, given["Sid"]) in {("IsTraced", TRACE), ("HasMailFrom", MAIL)}
                    yield given
                case _:
                    yield statement


def given_or_not(statement: dict[str, Any]) -> dict[str, Any]:
    """A statement of a policy on a queue or a topic, also where it depends on a parameter."""
    match statement:
        case {"Fn::If": ["HasMailFrom", dict(given), {"Ref": "AWS::NoValue"}]}:
            return given
    return statement


def subject(resource: Any) -> str:
    """What a statement is about, in the words of `GRANTS`."""
    match resource:
        case {"Ref": str(name)} | {"Fn::GetAtt": [str(name), "Arn"]}:
            return name
        case {"Fn::Sub": str(text)}:
            table, _, index = text.partition(".Arn}")
            return table.removeprefix("${") + index
        case "*":
            return "traces"
    raise AssertionError(f"a statement is about {resource}")


def test_each_role_may_do_what_it_needs_and_nothing_else(resources: dict[str, Any]) -> None:
    granted: dict[str, dict[str, set[str]]] = {}
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        may = granted.setdefault(name, {})
        for statement in statements(role):
            if statement["Effect"] == "Deny":
                continue
            if statement["Sid"] == "ReadPolicyChain":
                # It has a test of its own, by its condition.
                continue
            actions = set(listed(statement["Action"]))
            if statement["Sid"] == MAIL:
                may["mail"] = actions
                continue
            assert "Condition" not in statement
            if "NotResource" in statement:
                # A telephone number is no ARN: everything that is one is excluded.
                assert statement["NotResource"] == {"Fn::Sub": "arn:${AWS::Partition}:sns:*:*:*"}
                may["phones"] = actions
                continue
            for resource in listed(statement["Resource"]):
                about = subject(resource)
                assert about not in may, f"{name} has two statements about {about}"
                may[about] = actions
    assert granted == GRANTS


def test_decide_reads_no_entry_of_the_trail_but_those_of_policies(resources: dict[str, Any]) -> None:
    """That a reviewer is away extends the chain of policies, so its end is read: a chain of requests is nobody's business."""
    read = {
        name: [statement for statement in statements(role) if statement["Sid"] == "ReadPolicyChain"]
        for name, role in of_type(resources, "AWS::IAM::Role").items()
    }
    policies = {
        "Sid": "ReadPolicyChain",
        "Effect": "Allow",
        "Action": "dynamodb:Query",
        "Resource": {"Fn::GetAtt": ["AuditTable", "Arn"]},
        "Condition": {"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["policy"]}},
    }
    assert read == {name: [policies] if name == "DecideRole" else [] for name in GRANTS}


def test_only_the_operator_writes_policies(resources: dict[str, Any]) -> None:
    """No function writes the text of a policy. `decide` may write versions: taken over, it could name an older text or an absence."""

    def never(*keys: str) -> dict[str, Any]:
        return {
            "Sid": "NeverPolicies",
            "Effect": "Deny",
            "Action": ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"],
            "Resource": {"Fn::GetAtt": ["RequestsTable", "Arn"]},
            "Condition": {"ForAnyValue:StringLike": {"dynamodb:LeadingKeys": list(keys)}},
        }

    denied = {
        name: [statement for statement in statements(role) if statement["Effect"] == "Deny"]
        for name, role in of_type(resources, "AWS::IAM::Role").items()
    }
    nothing_of_it = never("policytext", "policy", "policy#*")
    # A reviewer's absence, or a client's pause, is a version of the policy, with the text of the one before.
    writers = {"RequestRole": nothing_of_it, "DecideRole": never("policytext"), "TimeoutSweepRole": nothing_of_it}
    assert denied == {name: [writers[name]] if name in writers else [] for name in GRANTS}


def test_mail_is_from_the_gate_s_address_by_the_gate_s_settings_alone(resources: dict[str, Any]) -> None:
    sends = {
        name: statement
        for name, role in of_type(resources, "AWS::IAM::Role").items()
        for statement in statements(role)
        if statement["Sid"] == MAIL
    }
    arn = "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}"
    domain = {"Fn::Select": [1, {"Fn::Split": ["@", {"Fn::Sub": "${MailFrom}@none.invalid"}]}]}
    assert sends == {
        "TimeoutSweepRole": {
            "Sid": MAIL,
            "Effect": "Allow",
            "Action": "ses:SendEmail",
            "Resource": [
                {"Fn::Sub": [f"{arn}:identity/${{Domain}}", {"Domain": domain}]},
                {"Fn::Sub": f"{arn}:configuration-set/${{MailSettings}}"},
            ],
            "Condition": {"StringEquals": {"ses:FromAddress": {"Ref": "MailFrom"}}},
        }
    }


def test_what_ses_tells_of_mail_comes_from_ses_and_goes_to_the_sweep_alone(resources: dict[str, Any]) -> None:
    destination = resources["MailEvents"]["Properties"]
    assert destination["ConfigurationSetName"] == {"Ref": "MailSettings"}
    assert destination["EventDestination"] == {
        "Enabled": True,
        "MatchingEventTypes": ["bounce", "complaint", "reject"],
        "SnsDestination": {"TopicARN": {"Ref": "MailEventTopic"}},
    }
    assert resources["MailEventSubscription"]["Properties"] == {
        "TopicArn": {"Ref": "MailEventTopic"},
        "Protocol": "sqs",
        "Endpoint": {"Fn::GetAtt": ["DeadlineQueue", "Arn"]},
        "RawMessageDelivery": True,
    }
    [publish, _, subscribe] = resources["MailEventTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    settings = "arn:${AWS::Partition}:ses:${AWS::Region}:${AWS::AccountId}:configuration-set/${MailSettings}"
    assert publish["Condition"]["StringEquals"] == {
        "aws:SourceAccount": {"Ref": "AWS::AccountId"},
        "aws:SourceArn": {"Fn::Sub": settings},
    }
    assert (subscribe["Effect"], subscribe["Action"], subscribe["Condition"]) == (
        "Deny",
        "sns:Subscribe",
        {"StringNotEquals": {"sns:Endpoint": {"Fn::GetAtt": ["DeadlineQueue", "Arn"]}}},
    )
    conditions = {
        name: each.get("Condition")
        for name, each in resources.items()
        if each["Type"].startswith("AWS::SES::") or name.startswith("MailEvent")
    }
    assert conditions == {
        "MailDomain": "MakesMailIdentity",
        "MailSettings": "HasMailFrom",
        "MailEvents": "HasMailFrom",
        "MailEventTopic": "HasMailFrom",
        "MailEventTopicPolicy": "HasMailFrom",
        "MailEventSubscription": "HasMailFrom",
    }
    # Mails hold links: not in the clear.
    assert resources["MailSettings"]["Properties"]["DeliveryOptions"] == {"TlsPolicy": "REQUIRE"}


def test_no_action_is_a_wildcard_and_no_resource_but_traces(resources: dict[str, Any]) -> None:
    roles = of_type(resources, "AWS::IAM::Role")
    assert roles
    for role in roles.values():
        assert "ManagedPolicyArns" not in role
        for statement in statements(role):
            assert not [action for action in listed(statement["Action"]) if "*" in action]
            assert "NotAction" not in statement
            everywhere = [each for each in listed(statement.get("Resource", [])) if "*" in str(each)]
            assert everywhere == (["*"] if statement["Sid"] == TRACE else [])


def test_nothing_else_grants(resources: dict[str, Any]) -> None:
    kinds = {each["Type"] for each in resources.values()}
    assert not kinds & {"AWS::IAM::Policy", "AWS::IAM::ManagedPolicy", "AWS::IAM::RolePolicy", "AWS::IAM::User"}
    allowing = {
        name: statement
        for kind in ("AWS::SQS::QueuePolicy", "AWS::SNS::TopicPolicy")
        for name, policy in of_type(resources, kind).items()
        for statement in map(given_or_not, policy["PolicyDocument"]["Statement"])
        if statement["Effect"] != "Deny"
    }
    # What it grants is in the test of what SES tells.
    assert allowing.pop("MailEventTopicPolicy")["Principal"] == {"Service": "ses.amazonaws.com"}
    assert allowing == {
        "QueuePolicy": {
            "Sid": "MailEvents",
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": "*",
            "Condition": {"ArnEquals": {"aws:SourceArn": {"Ref": "MailEventTopic"}}},
        },
        "AlertTopicPolicy": {
            "Sid": "AlarmsOfThisAccount",
            "Effect": "Allow",
            "Principal": {"Service": "cloudwatch.amazonaws.com"},
            "Action": "sns:Publish",
            "Resource": {"Ref": "AlertTopic"},
            "Condition": {"StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}}},
        },
    }


@pytest.mark.parametrize("action", ["UpdateItem", "DeleteItem", "BatchWriteItem", "PartiQLUpdate", "PartiQLDelete"])
def test_nobody_may_change_an_audit_entry(resources: dict[str, Any], action: str) -> None:
    for role in of_type(resources, "AWS::IAM::Role").values():
        for statement in statements(role):
            if "AuditTable" in str(statement.get("Resource")):
                assert f"dynamodb:{action}" not in listed(statement["Action"])
    policy = resources["AuditTable"]["Properties"]["ResourcePolicy"]["PolicyDocument"]
    [statement] = policy["Statement"]
    assert f"dynamodb:{action}" in statement["Action"]
    assert {key: value for key, value in statement.items() if key != "Action"} == {
        "Sid": "EntriesAreNeverChanged",
        "Effect": "Deny",
        "Principal": "*",
        "Resource": "*",
        "Condition": {"Bool": {"aws:PrincipalIsAWSService": "false"}},
    }


def test_every_function_has_a_role_of_its_own_that_only_lambda_may_take(resources: dict[str, Any]) -> None:
    functions = of_type(resources, "AWS::Lambda::Function")
    roles = {name: function["Role"]["Fn::GetAtt"][0] for name, function in functions.items()}
    assert roles == {f"{name}Function": f"{name}Role" for name in ("Request", "Decide", "TimeoutSweep", "RotateSecret")}
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        [trust] = role["AssumeRolePolicyDocument"]["Statement"]
        assert (trust["Effect"], trust["Action"]) == ("Allow", "sts:AssumeRole")
        assert trust["Principal"] == {"Service": SERVICES[name]}


def test_a_function_is_started_only_by_what_is_meant_to_start_it(resources: dict[str, Any]) -> None:
    api = {
        "Fn::Sub": "arn:${AWS::Partition}:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/$default/*",
    }
    permissions = of_type(resources, "AWS::Lambda::Permission")
    assert {
        each["FunctionName"]["Ref"]: (each["Principal"], each["SourceArn"], each["Action"])
        for each in permissions.values()
    } == {
        "RequestFunction": ("apigateway.amazonaws.com", api, "lambda:InvokeFunction"),
        "DecideFunction": ("apigateway.amazonaws.com", api, "lambda:InvokeFunction"),
        "RotateSecretFunction": ("secretsmanager.amazonaws.com", {"Ref": "KeyringSecret"}, "lambda:InvokeFunction"),
    }
    assert len(permissions) == 3


def test_queues_and_topics_speak_tls_only(resources: dict[str, Any]) -> None:
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    refused = {
        topic_or_queue["Ref"]
        for kind, key in (("AWS::SQS::QueuePolicy", "Queues"), ("AWS::SNS::TopicPolicy", "Topics"))
        for policy in of_type(resources, kind).values()
        for statement in map(given_or_not, policy["PolicyDocument"]["Statement"])
        if statement["Effect"] == "Deny" and statement["Principal"] == "*" and statement["Condition"] == plain
        for topic_or_queue in policy[key]
    }
    assert refused == {*of_type(resources, "AWS::SQS::Queue"), *of_type(resources, "AWS::SNS::Topic")}
