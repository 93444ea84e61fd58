"""Mail by SES v2: what it takes, what it puts off, and what it says afterwards.

This AWS takes mails as SES does, checks their signature, and tells nothing of them afterwards: the events are published
here as SES documents them, to the topic that its configuration set names.
Source: https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-examples.html
"""

import json
import re

import pytest
from aws_gate import key_of
from placet_client import wait_until

FROM = "gate@example.com"
BOB = "+15550100"
POLICY = """
issuer = "https://gate.example.com"
clients = [{ id = "agent", name = "Invoice flow", bearer = true }]
reviewers = [
  { id = "bob", name = "Bob", email = "bob@example.com", phone = "+15550100", channels = ["email", "sms"], roles = ["finance"] },
]
rules = [{ name = "pay", stages = [{ ask = ["finance"], within = "20m" }] }]
"""


@pytest.fixture
def gate(own_gate):
    # An identity of the stack's own has DKIM records as outputs, which this AWS has not got.
    made = own_gate(MailFrom=FROM, MailIdentity="existing")
    made.aws.client("sesv2").create_email_identity(EmailIdentity="example.com")
    made.push_policy(POLICY)
    return made


def mailed(gate, asked):
    """The mail about that request, once SES has it."""
    key = key_of("agent", asked["request_id"])

    def found():
        taken = ((mail, link_in(gate, mail)) for mail in gate.aws.mails(FROM))
        return [mail for mail, link in taken if link and link.group(1).startswith(key)]

    return wait_until(found, 40, "the mail")[-1]


def link_in(gate, mail):
    return re.search(re.escape(gate.url) + r"/r/([0-9A-Za-z]+)", mail["BodyText"])


def sent_last(gate):
    """The tags of the last mail, and all of it, as the function sent them."""
    with gate.proxy.lock:
        sent = [json.loads(call.body) for call in gate.proxy.calls if call.operation == "SendEmail"]
    return {tag["Name"]: [tag["Value"]] for tag in sent[-1]["EmailTags"]}, sent[-1]


def tell(gate, kind, part, mail, tags):
    """Publishes an event as SES does for its configuration set."""
    event = {
        "eventType": kind,
        kind.lower(): part,
        "mail": {
            "timestamp": "2026-11-27T00:40:02.012Z", "source": f"Placet <{FROM}>",
            "sourceArn": "arn:aws:ses:eu-central-1:000000000000:identity/example.com", "sendingAccountId": "000000000000",
            "messageId": mail, "destination": ["bob@example.com"], "headersTruncated": False, "headers": [],
            "commonHeaders": {"from": [f"Placet <{FROM}>"], "to": ["bob@example.com"], "messageId": mail},
            "tags": {"ses:configuration-set": [gate.outputs["MailConfigurationSet"]], **tags},
        },
    }  # fmt: skip
    resources = gate.aws.client("cloudformation").describe_stack_resources(StackName=gate.stack)["StackResources"]
    topic = next(each["PhysicalResourceId"] for each in resources if each["LogicalResourceId"] == "MailEventTopic")
    gate.aws.client("sns").publish(TopicArn=topic, Message=json.dumps(event))


BOUNCE = {
    "bounceType": "Permanent", "bounceSubType": "General", "timestamp": "2026-11-27T00:41:02.669Z",
    "bouncedRecipients": [
        {"emailAddress": "bob@example.com", "action": "failed", "status": "5.1.1", "diagnosticCode": "smtp; 550 5.1.1 user unknown"}
    ],
    "feedbackId": "01000157c44f053b-000000", "reportingMTA": "dsn; mta.example.com",
}  # fmt: skip


def texts(gate):
    return [text for text in gate.aws.texts(BOB) if gate.url in text]


def test_a_mail_has_text_html_and_the_link_and_is_sent_though_ses_is_hurried_at_first(gate):
    rule = gate.proxy.throttle("SendEmail", times=1)
    asked = gate.client("agent").asked()
    mail = mailed(gate, asked)
    assert rule.hit, "it was put off once"
    assert mail["Source"] == f"Placet <{FROM}>" and mail["To"] == ["bob@example.com"]
    assert link_in(gate, mail) and "<html" in mail["BodyHtml"]
    tags, sent = sent_last(gate)
    assert tags["placet-approval"] == [asked["approval_id"]]
    assert sent["ConfigurationSetName"] == gate.outputs["MailConfigurationSet"]
    assert texts(gate) == [], "his phone is for when the mail does not arrive"
    # By SES nobody has to subscribe.
    listed = gate.aws.client("sns").list_subscriptions_by_topic(TopicArn=gate.outputs["EmailTopicArn"])["Subscriptions"]
    assert [each for each in listed if each["Protocol"] == "email"] == []
    assert "bob@example.com" not in gate.logs()


def test_whose_mail_bounces_is_texted_and_mailed_no_more_and_doctor_says_so(gate):
    agent = gate.client("agent")
    mail = mailed(gate, agent.asked())
    tags, _ = sent_last(gate)
    # What this gate has not sent moves nothing; the real one comes after it in the queue, or before.
    tell(gate, "Bounce", BOUNCE, "0100-of-somebody-else", tags)
    tell(gate, "Bounce", BOUNCE, mail["MessageId"], tags)
    wait_until(lambda: len(texts(gate)) == 1, 60, "the text")
    wait_until(lambda: any("came back" in one["Message"] for one in gate.alerts()), 60, "the alert")
    said = gate.cli("doctor").stdout
    assert re.search(r"fail +reviewer `bob` gets no mail: the last one came back", said), said
    sent = gate.proxy.count()["sesv2.SendEmail"]
    agent.asked()
    wait_until(lambda: len(texts(gate)) == 2, 60, "the text about the next request")
    assert gate.proxy.count()["sesv2.SendEmail"] == sent, "nothing more is mailed to that address"
    wait_until(lambda: "has not sent" in gate.logs(), 60, "the word on the forged one")
    assert "bob@example.com" not in gate.logs()


def test_doctor_says_that_mail_arrives(gate):
    said = gate.cli("doctor").stdout
    assert re.search(r"ok +reviewer `bob` gets mail", said), said
    assert re.search(r"ok +mail may be from example.com", said), said
