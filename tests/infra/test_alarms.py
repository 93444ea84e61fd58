"""What watches over the gate."""

from __future__ import annotations

import json
import re
from typing import Any

from test_permissions import of_type
from test_template import DEAD_LETTER_QUEUES, FUNCTIONS


def dimension(alarm: dict[str, Any]) -> tuple[str, str]:
    [only] = alarm["Dimensions"]
    match only["Value"]:
        case {"Ref": name} | {"Fn::GetAtt": [name, "QueueName"]}:
            return only["Name"], name
    raise AssertionError(f"an alarm is about {only}")


def test_every_alarm_goes_to_the_alert_topic_and_says_what_it_means(resources: dict[str, Any]) -> None:
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    assert alarms
    for name, alarm in alarms.items():
        assert alarm["AlarmActions"] == [{"Ref": "AlertTopic"}], name
        assert alarm["AlarmDescription"].startswith("Placet - "), name
        assert len(alarm["AlarmDescription"]) <= 1024, name


def test_everything_that_can_go_wrong_has_its_alarm(resources: dict[str, Any]) -> None:
    alarms = {
        (alarm["Namespace"], alarm["MetricName"], *dimension(alarm)): (
            alarm["Statistic"],
            alarm["ComparisonOperator"],
            alarm["Threshold"],
            alarm["Period"],
            alarm["TreatMissingData"],
        )
        for alarm in of_type(resources, "AWS::CloudWatch::Alarm").values()
    }
    at_least = "GreaterThanOrEqualToThreshold"
    one = ("Sum", at_least, 1, 60, "notBreaching")
    expected = {
        ("AWS/Lambda", metric, "FunctionName", f"{name}Function"): one
        for name in FUNCTIONS
        for metric in ("Errors", "Throttles")
    }
    expected |= {
        ("AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", name): (
            "Maximum",
            at_least,
            1,
            60,
            "notBreaching",
        )
        for name in DEAD_LETTER_QUEUES
    }
    expected |= {
        # A message's age counts from its sending, and it may be delayed for 900 seconds and be tried twice.
        ("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", "DeadlineQueue"): (
            "Maximum",
            at_least,
            900 + 2 * resources["DeadlineQueue"]["Properties"]["VisibilityTimeout"],
            60,
            "notBreaching",
        ),
        # No run is no data.
        ("AWS/Lambda", "Invocations", "FunctionName", "TimeoutSweepFunction"): (
            "Sum",
            "LessThanThreshold",
            1,
            300,
            "breaching",
        ),
        ("Placet", "Expired", "Gate", "AWS::StackName"): one,
        ("Placet", "Faults", "Gate", "AWS::StackName"): one,
        ("Placet", "BadSignatures", "Gate", "AWS::StackName"): ("Sum", at_least, 20, 60, "notBreaching"),
    }
    assert alarms == expected


def test_the_alert_address_is_asked_only_if_there_is_one(resources: dict[str, Any]) -> None:
    subscription = resources["AlertSubscription"]
    assert subscription["Condition"] == "HasAlertEmail"
    assert subscription["Properties"] == {
        "TopicArn": {"Ref": "AlertTopic"},
        "Protocol": "email",
        "Endpoint": {"Ref": "AlertEmail"},
    }


def test_the_dashboard_shows_every_number_function_queue_and_alarm(resources: dict[str, Any]) -> None:
    [text, given] = resources["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    # The widget of the alarms has those that there are: all, the essential ones, or none.
    [_, [widget, others], none] = [
        part.get("Fn::Sub", part) if isinstance(part, dict) else part for part in given["AlarmWidget"]["Fn::If"]
    ]
    [condition, rest, no_more] = others["Others"]["Fn::If"]
    assert (given["AlarmWidget"]["Fn::If"][0], none, condition, no_more) == ("IsWatched", "", "IsFullyWatched", "")
    arns = {
        name: set(re.findall(r"\$\{(\w+Alarm)\.Arn\}", part))
        for name, part in (("IsWatched", widget), ("IsFullyWatched", rest["Fn::Sub"]))
    }
    alarms = of_type(resources, "AWS::CloudWatch::Alarm")
    assert arns == {
        condition: {name for name in alarms if resources[name]["Condition"] == condition} for condition in arns
    }
    json.loads(re.sub(r"\$\{[^}]+\}", "", widget.removeprefix(", ")))
    text = text.replace("${AlarmWidget}", widget.replace("${Others}", rest["Fn::Sub"]))
    shown = set(re.findall(r"\$\{([^}]+)\}", text))
    assert {f"{name}.Arn" for name in of_type(resources, "AWS::CloudWatch::Alarm")} <= shown
    assert {f"{name}Function" for name in FUNCTIONS} <= shown
    assert {f"{name}.QueueName" for name in of_type(resources, "AWS::SQS::Queue")} <= shown
    for metric in (
        "Asked",
        "TimeToNotify",
        "TimeToDecide",
        "Expired",
        "BadSignatures",
        "CallbacksGivenUp",
        "Faults",
        "Outcomes",
    ):
        assert f'"{metric}' in text, metric
    widgets = json.loads(re.sub(r"\$\{[^}]+\}", "name", text))["widgets"]
    places = [(each["x"] // 12, each["y"]) for each in widgets]
    assert len(set(places)) == len(places)
