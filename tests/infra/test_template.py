"""What is deployed, as facts about the transformed template."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import pytest
from conftest import ROOT
from test_permissions import of_type

FUNCTIONS = {"Request": "request", "Decide": "decide", "TimeoutSweep": "timeout-sweep", "RotateSecret": "rotate-secret"}

EVERY_FUNCTION = {
    "PLACET_GATE": {"Ref": "AWS::StackName"},
    "PLACET_REQUESTS_TABLE": {"Ref": "RequestsTable"},
    "PLACET_AUDIT_TABLE": {"Ref": "AuditTable"},
    "PLACET_KEYRING_SECRET": {"Ref": "KeyringSecret"},
    "PLACET_REQUEST_RETENTION_DAYS": {"Ref": "RequestRetentionDays"},
    "PLACET_AUDIT_RETENTION_DAYS": {"Ref": "AuditRetentionDays"},
    "PLACET_LOG": {"Ref": "LogLevel"},
    "PLACET_TLS_ROOTS": {"Fn::If": ["TrustsSystem", "system", {"Ref": "AWS::NoValue"}]},
    "AWS_USE_FIPS_ENDPOINT": {"Fn::If": ["UsesFips", "true", {"Ref": "AWS::NoValue"}]},
}
PUBLIC_URL = {
    "Fn::If": [
        "HasPublicUrl",
        {"Ref": "PublicUrl"},
        {
            "Fn::If": [
                "HasDomain",
                {"Fn::Sub": "https://${DomainName}"},
                {"Fn::Sub": "https://${Api}.execute-api.${AWS::Region}.${AWS::URLSuffix}"},
            ]
        },
    ]
}
ALERTS = {"PLACET_ALERT_TOPIC_ARN": {"Ref": "AlertTopic"}}
DEADLINES = {"PLACET_DEADLINE_QUEUE_URL": {"Ref": "DeadlineQueue"}}
LINKS_AND_DEADLINES = DEADLINES | {"PLACET_PUBLIC_URL": PUBLIC_URL}
ORIGIN = {"PLACET_ORIGIN_SECRET": {"Fn::If": ["HasOriginSecret", {"Ref": "OriginSecret"}, {"Ref": "AWS::NoValue"}]}}
CHANNELS = {"PLACET_CHANNELS_SECRET": {"Ref": "ChannelsSecret"}}
ENVIRONMENT = {
    "Request": EVERY_FUNCTION | LINKS_AND_DEADLINES | ORIGIN,
    "Decide": EVERY_FUNCTION | LINKS_AND_DEADLINES | ORIGIN | CHANNELS,
    "TimeoutSweep": EVERY_FUNCTION
    | LINKS_AND_DEADLINES
    | ALERTS
    | CHANNELS
    | {
        "PLACET_QUEUES": {"Fn::Sub": "backup=${BackupQueue}"},
        "PLACET_EMAIL_TOPIC_ARN": {"Ref": "EmailTopic"},
        "PLACET_MAIL_FROM": {"Fn::If": ["HasMailFrom", {"Ref": "MailFrom"}, {"Ref": "AWS::NoValue"}]},
        "PLACET_MAIL_CONFIGURATION_SET": {"Fn::If": ["HasMailFrom", {"Ref": "MailSettings"}, {"Ref": "AWS::NoValue"}]},
        "PLACET_SMS_SENDER_ID": {"Fn::If": ["HasSmsSenderId", {"Ref": "SmsSenderId"}, {"Ref": "AWS::NoValue"}]},
    },
    "RotateSecret": EVERY_FUNCTION | DEADLINES,
}
TIMEOUT_SECONDS = {"Request": 29, "Decide": 10, "TimeoutSweep": 60, "RotateSecret": 30}
DEAD_LETTER_QUEUES = {"DeadlineDeadLetterQueue", "BackupDeadLetterQueue", "InvocationDeadLetterQueue"}


def function(resources: dict[str, Any], name: str) -> dict[str, Any]:
    return resources[f"{name}Function"]["Properties"]


def names_in(value: Any) -> set[str]:
    """What is referred to, anywhere in it: by Ref, GetAtt, Sub, Condition or If."""
    if isinstance(value, list):
        return set().union(*map(names_in, value))
    if not isinstance(value, dict):
        return set()
    found = set().union(*map(names_in, value.values()))
    for key, each in value.items():
        match key, each:
            case (("Ref" | "Condition"), str(name)):
                found.add(name)
            case "Fn::GetAtt", [str(name), _]:
                found.add(name)
            case "Fn::Sub", str(text):
                found.update(re.findall(r"\$\{([\w:]+)", text))
            case "Fn::If", [str(name), *_]:
                found.add(name)
    return found


def test_there_are_four_functions(resources: dict[str, Any]) -> None:
    assert set(of_type(resources, "AWS::Lambda::Function")) == {f"{name}Function" for name in FUNCTIONS}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_told_what_it_needs_and_nothing_else(resources: dict[str, Any], name: str) -> None:
    assert function(resources, name)["Environment"]["Variables"] == ENVIRONMENT[name]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_runs_as_its_parameters_say(resources: dict[str, Any], name: str) -> None:
    made = function(resources, name)
    assert (made["Runtime"], made["Handler"], made["Timeout"]) == (
        "provided.al2023",
        "bootstrap",
        TIMEOUT_SECONDS[name],
    )
    assert made["Architectures"] == [{"Ref": "Architecture"}]
    assert made["MemorySize"] == {"Ref": "RequestMemorySize" if name == "Request" else "MemorySize"}
    assert made["TracingConfig"] == {"Mode": {"Fn::If": ["IsTraced", "Active", "PassThrough"]}}


@pytest.mark.parametrize(("name", "bin"), FUNCTIONS.items())
def test_sam_build_finds_the_function(written: dict[str, Any], name: str, bin: str) -> None:
    resource = written["Resources"][f"{name}Function"]
    assert resource["Metadata"] == {"BuildMethod": "rust-cargolambda", "BuildProperties": {"Binary": bin}}
    folder = resource["Properties"]["CodeUri"]
    assert folder == f"functions/{bin}/"
    manifest = tomllib.loads((ROOT / folder / "Cargo.toml").read_text())
    assert (manifest["package"]["name"], [each["name"] for each in manifest["bin"]]) == (f"placet-{bin}", [bin])


def test_sam_build_makes_the_functions_as_small_as_cargo_does() -> None:
    """`sam build` always says `--release`, and cargo-lambda is told the difference to the functions' own profile."""
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    profile = dict(manifest["profile"]["function"])
    assert profile.pop("inherits") == "release"
    settings = tomllib.loads("\n".join(manifest["workspace"]["metadata"]["lambda"]["build"]["config"]))
    assert settings == {"profile": {"release": profile}}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_logs_to_a_log_of_its_own(resources: dict[str, Any], name: str) -> None:
    assert function(resources, name)["LoggingConfig"] == {"LogGroup": {"Ref": f"{name}Log"}}


def test_every_log_ends(resources: dict[str, Any]) -> None:
    logs = of_type(resources, "AWS::Logs::LogGroup")
    assert set(logs) == {"ApiLog", *(f"{name}Log" for name in FUNCTIONS)}
    assert all(log["RetentionInDays"] == {"Ref": "LogRetentionDays"} for log in logs.values())


def test_both_tables_are_kept_backed_up_and_encrypted(resources: dict[str, Any]) -> None:
    tables = of_type(resources, "AWS::DynamoDB::Table")
    assert set(tables) == {"RequestsTable", "AuditTable"}
    for name, table in tables.items():
        assert table["BillingMode"] == "PAY_PER_REQUEST"
        assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
        assert table["SSESpecification"] == {"SSEEnabled": True}
        assert table["DeletionProtectionEnabled"] == {"Fn::If": ["IsProtected", True, False]}
        assert (resources[name]["DeletionPolicy"], resources[name]["UpdateReplacePolicy"]) == (
            "RetainExceptOnCreate",
            "Retain",
        )


def test_a_first_deployment_that_fails_can_be_undone(deployed: dict[str, Any]) -> None:
    """A table that DynamoDB protects cannot be rolled back, and a stack that could not be rolled back is stuck."""
    assert deployed["Parameters"]["DeletionProtection"]["Default"] == "off"


def test_the_trail_is_stored_where_storage_is_cheap(resources: dict[str, Any]) -> None:
    classes = {name: table.get("TableClass") for name, table in of_type(resources, "AWS::DynamoDB::Table").items()}
    assert classes == {"RequestsTable": None, "AuditTable": "STANDARD_INFREQUENT_ACCESS"}


def test_the_tables_have_the_store_s_keys_and_indexes(resources: dict[str, Any]) -> None:
    """As `describe` in crates/dynamodb/src/tables.rs has them; the tests over the local AWS use them."""

    def keys(schema: list[dict[str, str]]) -> list[str]:
        assert [each["KeyType"] for each in schema] == ["HASH", "RANGE"]
        return [each["AttributeName"] for each in schema]

    tables = of_type(resources, "AWS::DynamoDB::Table")
    assert keys(tables["AuditTable"]["KeySchema"]) == ["subject", "seq"]
    assert keys(tables["RequestsTable"]["KeySchema"]) == ["pk", "sk"]
    assert {
        index["IndexName"]: (keys(index["KeySchema"]), index["Projection"])
        for index in tables["RequestsTable"]["GlobalSecondaryIndexes"]
    } == {
        "due": (
            ["due_pk", "due_at"],
            {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["request_key", "payload", "attempt", "created_at", "v"]},
        ),
        "listed": (["client", "approval_id"], {"ProjectionType": "INCLUDE", "NonKeyAttributes": ["status"]}),
    }
    numbers = {
        each["AttributeName"]
        for table in tables.values()
        for each in table["AttributeDefinitions"]
        if each["AttributeType"] == "N"
    }
    assert numbers == {"due_at", "seq"}


def test_the_secret_starts_as_a_seed_and_is_rotated_every_90_days(resources: dict[str, Any]) -> None:
    secret = resources["KeyringSecret"]
    seed = secret["Properties"]["GenerateSecretString"]
    # Any change of these replaces the secret's value, and with it every key: no link and no token would be good any more.
    assert sorted(seed) == ["ExcludePunctuation", "GenerateStringKey", "PasswordLength", "SecretStringTemplate"]
    assert json.loads(seed["SecretStringTemplate"]) == {"placet_seed_version": 1}
    assert (seed["GenerateStringKey"], seed["PasswordLength"], seed["ExcludePunctuation"]) == ("seed", 64, True)
    assert secret["DeletionPolicy"] == "RetainExceptOnCreate"
    assert secret["Properties"]["ReplicaRegions"] == {
        "Fn::If": ["HasSecretReplica", [{"Region": {"Ref": "SecretReplicaRegion"}}], {"Ref": "AWS::NoValue"}]
    }
    rotation = resources["KeyringRotation"]
    assert rotation["Condition"] == "IsRotated"
    assert rotation["Properties"] == {
        "SecretId": {"Ref": "KeyringSecret"},
        "RotationLambdaARN": {"Fn::GetAtt": ["RotateSecretFunction", "Arn"]},
        "RotationRules": {"AutomaticallyAfterDays": 90},
        "RotateImmediatelyOnUpdate": False,
    }


def test_no_update_of_the_stack_writes_over_what_the_operator_has_set_for_channels(resources: dict[str, Any]) -> None:
    secrets = of_type(resources, "AWS::SecretsManager::Secret")
    assert {name: sorted(secret) for name, secret in secrets.items()} == {
        "KeyringSecret": ["Description", "GenerateSecretString", "ReplicaRegions"],
        "ChannelsSecret": ["Description"],
    }
    assert "ChannelsSecret" not in json.dumps(resources["KeyringRotation"])


def test_every_queue_is_encrypted_and_has_a_dead_letter_queue(resources: dict[str, Any]) -> None:
    queues = of_type(resources, "AWS::SQS::Queue")
    assert all(queue["SqsManagedSseEnabled"] is True for queue in queues.values())
    redrive = {
        name: queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
        for name, queue in queues.items()
        if "RedrivePolicy" in queue
    }
    assert redrive == {"DeadlineQueue": "DeadlineDeadLetterQueue", "BackupQueue": "BackupDeadLetterQueue"}
    assert set(queues) - set(redrive) == DEAD_LETTER_QUEUES


def test_topics_that_carry_links_are_encrypted(resources: dict[str, Any]) -> None:
    keys = {name: topic.get("KmsMasterKeyId") for name, topic in of_type(resources, "AWS::SNS::Topic").items()}
    # Alerts and what SES tells of mail carry no link, and alarms and SES could not publish under that key.
    assert keys == {"EmailTopic": "alias/aws/sns", "AlertTopic": None, "MailEventTopic": None}


def test_the_mails_with_links_go_to_mailboxes_alone(resources: dict[str, Any]) -> None:
    denied = [
        statement["Condition"]
        for statement in resources["EmailTopicPolicy"]["Properties"]["PolicyDocument"]["Statement"]
        if statement["Action"] == "sns:Subscribe" and statement["Effect"] == "Deny"
    ]
    assert denied == [{"StringNotEquals": {"sns:Protocol": "email"}}]


def test_reviewers_can_have_executions_of_their_own(resources: dict[str, Any]) -> None:
    reserved = {name: function(resources, name).get("ReservedConcurrentExecutions") for name in FUNCTIONS}
    of = {"Ref": "AWS::NoValue"}
    assert reserved == {
        "Request": {"Fn::If": ["HasRequestConcurrency", {"Ref": "RequestConcurrency"}, of]},
        "Decide": {"Fn::If": ["HasDecideConcurrency", {"Ref": "DecideConcurrency"}, of]},
        "TimeoutSweep": None,
        "RotateSecret": None,
    }


def test_an_idle_gate_can_do_without_what_costs_most(resources: dict[str, Any]) -> None:
    watching = {
        name: each.get("Condition") for name, each in resources.items() if each["Type"].startswith("AWS::CloudWatch::")
    }
    assert watching.pop("Dashboard") == "HasDashboard"
    assert set(watching.values()) == {"IsWatched", "IsFullyWatched"}


def test_a_gate_as_it_comes_watches_over_what_it_cannot_tell_itself_for_less_than_a_dollar(
    deployed: dict[str, Any], resources: dict[str, Any]
) -> None:
    defaults = {name: deployed["Parameters"][name]["Default"] for name in ("Alarms", "ShowDashboard")}
    assert defaults == {"Alarms": "essential", "ShowDashboard": "off"}
    always = {name for name, each in resources.items() if each.get("Condition") == "IsWatched"}
    assert always == {
        "SweepSilentAlarm", "RequestErrorsAlarm", "DecideErrorsAlarm", "DecideThrottlesAlarm", "TimeoutSweepErrorsAlarm",
        "InvocationDeadLettersAlarm", "FaultsAlarm",
    }  # fmt: skip
    assumed = tomllib.loads((ROOT / "tests/bench/lambda/prices.toml").read_text())["assumed"]
    assert (assumed["alarms"], assumed["dashboards"]) == (len(always), 0)
    memory = {name: deployed["Parameters"][name]["Default"] for name in ("MemorySize", "RequestMemorySize")}
    assert memory == {"MemorySize": assumed["memory_mb"], "RequestMemorySize": assumed["request_memory_mb"]}


def test_deadlines_come_in_batches_that_may_fail_in_part(resources: dict[str, Any]) -> None:
    [source] = of_type(resources, "AWS::Lambda::EventSourceMapping").values()
    assert source["FunctionName"] == {"Ref": "TimeoutSweepFunction"}
    assert source["EventSourceArn"] == {"Fn::GetAtt": ["DeadlineQueue", "Arn"]}
    assert source["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert source["ScalingConfig"] == {"MaximumConcurrency": {"Ref": "SweepConcurrency"}}
    # At the second: nothing is held back to make a batch fuller.
    assert "MaximumBatchingWindowInSeconds" not in source
    queue = resources["DeadlineQueue"]["Properties"]
    assert queue["VisibilityTimeout"] >= 6 * TIMEOUT_SECONDS["TimeoutSweep"]


def test_the_sweep_runs_every_minute(resources: dict[str, Any]) -> None:
    [schedule] = of_type(resources, "AWS::Scheduler::Schedule").values()
    assert (schedule["ScheduleExpression"], schedule["FlexibleTimeWindow"]) == ("rate(1 minute)", {"Mode": "OFF"})
    target = schedule["Target"]
    assert target["Arn"] == {"Fn::GetAtt": ["TimeoutSweepFunction", "Arn"]}
    assert target["RoleArn"] == {"Fn::GetAtt": ["EveryMinuteRole", "Arn"]}
    assert "Records" not in json.loads(target["Input"])
    assert "State" not in schedule


def test_runs_that_nobody_waits_for_leave_a_trace(resources: dict[str, Any]) -> None:
    queue = {"Fn::GetAtt": ["InvocationDeadLetterQueue", "Arn"]}
    kept = {name for name in FUNCTIONS if function(resources, name).get("DeadLetterConfig") == {"TargetArn": queue}}
    assert kept == {"TimeoutSweep", "RotateSecret"}
    assert resources["EveryMinute"]["Properties"]["Target"]["DeadLetterConfig"] == {"Arn": queue}


def test_each_route_goes_to_its_function(resources: dict[str, Any]) -> None:
    integrations = of_type(resources, "AWS::ApiGatewayV2::Integration")
    routes = {
        route["RouteKey"]: integrations[route["Target"]["Fn::Sub"].removeprefix("integrations/${").removesuffix("}")][
            "IntegrationUri"
        ]["Fn::GetAtt"][0]
        for route in of_type(resources, "AWS::ApiGatewayV2::Route").values()
    }
    assert routes == {
        "$default": "RequestFunction",
        "POST /mcp": "RequestFunction",
        "ANY /r/{link}": "DecideFunction",
        "ANY /r/{proxy+}": "DecideFunction",
        "ANY /inbox/{link}": "DecideFunction",
        "ANY /inbox/{proxy+}": "DecideFunction",
        "ANY /report/{link}": "DecideFunction",
        "ANY /v1/slack/interactions": "DecideFunction",
        "ANY /v1/telegram/updates": "DecideFunction",
        "ANY /sw.js": "DecideFunction",
        "ANY /icon-192.png": "DecideFunction",
        "ANY /icon-512.png": "DecideFunction",
    }
    for name in ("Request", "Decide"):
        integration = integrations[f"{name}Integration"]
        assert (integration["IntegrationType"], integration["PayloadFormatVersion"]) == ("AWS_PROXY", "2.0")
        # The function ends first, so that the log says which; the API's own limit is 30 seconds.
        assert TIMEOUT_SECONDS[name] * 1000 < integration["TimeoutInMillis"] <= 30_000


def test_the_api_throttles_and_its_log_holds_no_link(resources: dict[str, Any]) -> None:
    [stage] = of_type(resources, "AWS::ApiGatewayV2::Stage").values()
    assert (stage["StageName"], stage["AutoDeploy"]) == ("$default", True)
    assert stage["DefaultRouteSettings"]["ThrottlingRateLimit"] == {"Ref": "ThrottleRate"}
    assert stage["DefaultRouteSettings"]["ThrottlingBurstLimit"] == {"Ref": "ThrottleBurst"}
    # Chats cannot prove themselves before a function has looked: they have a share. A stage can only name a route that is
    # there already.
    share = {"ThrottlingRateLimit": 20, "ThrottlingBurstLimit": 40}
    chats = {"SlackRoute": "ANY /v1/slack/interactions", "TelegramRoute": "ANY /v1/telegram/updates"}
    assert stage["RouteSettings"] == {
        "POST /mcp": stage["DefaultRouteSettings"],
        **dict.fromkeys(chats.values(), share),
    }
    assert resources["ApiStage"]["DependsOn"] == ["McpRoute", *chats]
    assert {name: resources[name]["Properties"]["RouteKey"] for name in chats} == chats
    said = set(json.loads(stage["AccessLogSettings"]["Format"]).values())
    assert said == {
        "$context.requestId",
        "$context.requestTimeEpoch",
        "$context.identity.sourceIp",
        "$context.identity.userAgent",
        "$context.httpMethod",
        "$context.routeKey",
        "$context.status",
        "$context.responseLatency",
        "$context.error.message",
        "$context.integrationErrorMessage",
    }


def test_a_domain_of_one_s_own_is_the_only_way_in(resources: dict[str, Any]) -> None:
    assert resources["Api"]["Properties"]["DisableExecuteApiEndpoint"] == {"Fn::If": ["HasDomain", True, False]}
    conditions = {name: resources[name]["Condition"] for name in ("ApiDomain", "ApiDomainMapping", "ApiDomainRecord")}
    assert conditions == {
        "ApiDomain": "HasDomain",
        "ApiDomainMapping": "HasDomain",
        "ApiDomainRecord": "HasDomainRecord",
    }
    [configuration] = resources["ApiDomain"]["Properties"]["DomainNameConfigurations"]
    assert configuration["SecurityPolicy"] == "TLS_1_2"


def test_every_parameter_and_every_condition_is_used(deployed: dict[str, Any]) -> None:
    used = names_in({key: deployed[key] for key in ("Conditions", "Resources", "Outputs")})
    assert set(deployed["Parameters"]) - used == set()
    assert set(deployed["Conditions"]) - used == set()


def test_every_parameter_has_a_default_and_says_what_it_is(deployed: dict[str, Any]) -> None:
    shown = deployed["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    assert sorted(name for group in shown for name in group["Parameters"]) == sorted(deployed["Parameters"])
    for parameter in deployed["Parameters"].values():
        assert "Default" in parameter and parameter["Description"]
    assert [name for name, each in deployed["Parameters"].items() if each.get("NoEcho")] == ["OriginSecret"]
    assert deployed["Parameters"]["Architecture"]["Default"] == "arm64"


def test_nothing_is_of_one_partition_alone(written: dict[str, Any]) -> None:
    """`arn:aws:` and `amazonaws.com` are wrong in aws-us-gov and aws-cn."""
    texts = re.findall(r"[^\"]*(?:arn:aws:|amazonaws\.com(?:\.cn)?)[^\"]*", json.dumps(written["Resources"]))
    services = {
        f"{name}.amazonaws.com"
        for name in ("apigateway", "cloudwatch", "lambda", "scheduler", "secretsmanager", "ses", "sns")
    }
    assert set(texts) <= services, set(texts) - services


def test_the_outputs_are_what_the_cli_reads(deployed: dict[str, Any]) -> None:
    values = {name: output["Value"] for name, output in deployed["Outputs"].items()}
    assert values == {
        "ApiUrl": PUBLIC_URL,
        "DomainTarget": {"Fn::GetAtt": ["ApiDomain", "RegionalDomainName"]},
        "RequestsTable": {"Ref": "RequestsTable"},
        "AuditTable": {"Ref": "AuditTable"},
        "KeyringSecretArn": {"Ref": "KeyringSecret"},
        "ChannelsSecretArn": {"Ref": "ChannelsSecret"},
        "EmailTopicArn": {"Ref": "EmailTopic"},
        "MailFrom": {"Ref": "MailFrom"},
        "MailConfigurationSet": {"Ref": "MailSettings"},
        **{
            f"MailDkimRecord{number}": {
                "Fn::Sub": f"${{MailDomain.DkimDNSTokenName{number}}} CNAME ${{MailDomain.DkimDNSTokenValue{number}}}"
            }
            for number in (1, 2, 3)
        },
        "AlertTopicArn": {"Ref": "AlertTopic"},
        "DeadlineQueueUrl": {"Ref": "DeadlineQueue"},
        "DeadlineDeadLetterQueueUrl": {"Ref": "DeadlineDeadLetterQueue"},
        "InvocationDeadLetterQueueUrl": {"Ref": "InvocationDeadLetterQueue"},
        "BackupQueueUrl": {"Ref": "BackupQueue"},
        "BackupQueueArn": {"Fn::GetAtt": ["BackupQueue", "Arn"]},
        "BackupDeadLetterQueueUrl": {"Ref": "BackupDeadLetterQueue"},
        "DashboardName": {"Ref": "Dashboard"},
    }
    conditions = {name: output["Condition"] for name, output in deployed["Outputs"].items() if "Condition" in output}
    assert conditions == {
        "DomainTarget": "HasDomain",
        "DashboardName": "HasDashboard",
        "MailFrom": "HasMailFrom",
        "MailConfigurationSet": "HasMailFrom",
        **{f"MailDkimRecord{number}": "MakesMailIdentity" for number in (1, 2, 3)},
    }
