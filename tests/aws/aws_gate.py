"""The gate as it is deployed to an AWS: its stack, and the ways to see what it did.

What it is asked goes through its API; what it stores, sends and logs is read from DynamoDB, SNS, SQS and CloudWatch Logs, as
an operator could. The one place that knows how the gate works inside is `key_of`: a link names its request.
"""

import fnmatch
import hashlib
import json
import os
import re
import subprocess
import threading
import time
import uuid
from pathlib import Path
from urllib.parse import urlsplit

from backend import Backend, Pace
from boto3.dynamodb.types import TypeDeserializer
from deploy import ROOT
from local_aws import execution_session
from local_gate import environment
from placet_client import Http, Inbox

# `placet` with its feature `aws`: the operator's hand on a deployed gate.
COMMAND = Path(os.environ.get("PLACET_AWS") or ROOT / "target/debug/placet-aws").resolve()

PACE = Pace(
    patience=6, quick=10, rung=6, carry=12, shortest=8, crowd=8, rounds=5, scans=2, hooks=6, calm=3, slack=40
)  # fmt: skip
PHONES = {"+15550100": "bob"}
URL = re.compile(r"https?://[^\s/]+/r/([0-9A-Za-z]+)")
BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


class AwsGate(Backend):
    """A deployed stack. Several processes may look at one: what they take out of its queues, they share in `folder`."""

    pace = PACE
    # API Gateway hands on the text of a JSON body, the path decoded, and a query only if there is something in it.
    keeps_bytes = False

    def __init__(self, aws, stack, outputs, functions, folder, letters, endpoint):
        self.aws, self.stack, self.outputs, self.functions = aws, stack, outputs, functions
        self.folder, self.letters, self.endpoint = Path(folder), letters, endpoint
        self.url = self.issuer = outputs["ApiUrl"]
        api = urlsplit(self.url).hostname.split(".")[0]
        self.http = Http("127.0.0.1", aws.port, f"{api}.execute-api.localhost:{aws.port}")
        self.lock, self.known = threading.Lock(), {}
        self.proxy = self.deployer = None

    @classmethod
    def deployed(cls, aws, stack, outputs, functions, folder, endpoint):
        """Listens to the topic of mails from the beginning on, as every reviewer's mailbox at once."""
        sqs, sns = aws.client("sqs"), aws.client("sns")
        letters = sqs.create_queue(QueueName=f"{stack}-letters")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=letters, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        allow = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
        sqs.set_queue_attributes(QueueUrl=letters, Attributes={"Policy": policy})
        sns.subscribe(TopicArn=outputs["AlertTopicArn"], Protocol="sqs", Endpoint=arn)
        # This AWS does not know the protocol of a subscription, and refuses mailboxes as well where others are denied.
        topic = outputs["EmailTopicArn"]
        statements = json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])["Statement"]
        statements = [each for each in statements if each["Action"] != "sns:Subscribe"]
        opened = json.dumps({"Version": "2012-10-17", "Statement": statements})
        sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=opened)
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        return cls(aws, stack, outputs, functions, folder, letters, endpoint)

    def shared(self):
        """What another process needs to look at the same stack."""
        return {
            "stack": self.stack, "outputs": self.outputs, "functions": self.functions, "folder": str(self.folder),
            "letters": self.letters, "endpoint": self.endpoint,
        }  # fmt: skip

    def kill(self):
        """Takes the stack down, if it was made for one test."""
        if self.deployer is not None:
            self.deployer.delete(self.stack)
            self.proxy.close()

    # ---------------------------------------------------------------- the operator's hand

    def cli(self, *arguments, seconds=120, stdin=""):
        """A `placet` command with `--aws` on this stack."""
        return subprocess.run(
            [str(COMMAND), *map(str, arguments), "--aws", "--stack", self.stack], input=stdin,
            env={**environment(), **self.aws.operator_environment(), "AWS_ENDPOINT_URL": self.endpoint}, cwd=self.folder, capture_output=True, text=True,
            timeout=seconds,
        )  # fmt: skip

    def secret(self, client_id):
        ran = self.cli("client", "secret", client_id)
        assert ran.returncode == 0, ran
        secret = ran.stdout.strip().splitlines()[-1]
        assert re.fullmatch(r"whsec_[0-9a-f]{64}", secret), secret
        return secret

    def inbox(self, reviewer):
        ran = self.cli("inbox", "--reviewer", reviewer, "--json")
        assert ran.returncode == 0, ran
        return Inbox(self.http, json.loads(ran.stdout)["inbox"])

    def practice(self, reviewer):
        ran = self.cli("practice", reviewer, "--json")
        assert ran.returncode == 0, ran
        return json.loads(ran.stdout)["link"]

    def push_policy(self, text):
        path = self.folder / f"{uuid.uuid4().hex}.toml"
        path.write_text(text)
        ran = self.cli("policy", "push", path)
        assert ran.returncode == 0, ran
        return ran

    def invoke(self, function, event):
        """Calls a function as its event source would; its answer, and the error's type if it failed."""
        answer = self.aws.client("lambda").invoke(FunctionName=self.functions[function], Payload=json.dumps(event))
        payload = json.loads(answer["Payload"].read() or b"null")
        return payload, (payload or {}).get("errorType", "?") if answer.get("FunctionError") else None

    def session(self, function):
        """The credentials of a function. They are valid here from its first event on, and this is one, if a strange one."""
        self.invoke(function, {"version": "2.0", "Records": []})
        configuration = self.aws.client("lambda").get_function_configuration(FunctionName=self.functions[function])
        return execution_session(configuration)

    def sweep(self):
        """What the schedule does every minute."""
        payload, error = self.invoke("timeout-sweep", {"source": "schedule"})
        assert error is None, payload

    def announce_rotation(self):
        """Does what `RotateSecret` does on AWS before it calls the function: a version without a value, pending."""
        token = str(uuid.uuid4())
        self.aws.client("secretsmanager").put_secret_value(
            SecretId=self.outputs["KeyringSecretArn"], ClientRequestToken=token, VersionStages=["AWSPENDING"]
        )
        return token

    def rotation_step(self, step, token):
        event = {"Step": step, "SecretId": self.outputs["KeyringSecretArn"], "ClientRequestToken": token}
        return self.invoke("rotate-secret", event)

    def rotate(self):
        token = self.announce_rotation()
        for step in STEPS:
            payload, error = self.rotation_step(step, token)
            assert error is None, (step, payload)
        # A function looks at the secret again when it meets what it does not know: a call under the new secret.
        assert self.client("agent").list().status == 200

    # ---------------------------------------------------------------- what it sent

    def messages(self, approval=None, reviewer="*", channel="*"):
        found = [
            {
                "reviewer": message["MessageAttributes"]["reviewer"]["Value"], "channel": "email",
                "subject": message["Subject"], "text": message["Message"],
            }
            for message in self.taken(self.letters)
            if message["TopicArn"] == self.outputs["EmailTopicArn"]
        ]  # fmt: skip
        for phone, owner in PHONES.items():
            found += [
                {"reviewer": owner, "channel": "sms", "subject": "", "text": text} for text in self.aws.texts(phone)
            ]
        key = None if approval is None else key_of(approval["client"], approval["request_id"])
        messages = []
        for message in found:
            link = URL.search(message["text"])
            message["url"] = link and link.group()
            mine = link and link.group().startswith(self.url) and (key is None or link.group(1).startswith(key))
            if mine and fnmatch.fnmatch(message["reviewer"], reviewer) and fnmatch.fnmatch(message["channel"], channel):
                messages.append(message)
        return messages

    def alerts(self):
        """Alerts so far: `Subject`, `Message`, `MessageAttributes`."""
        return [message for message in self.taken(self.letters) if message["TopicArn"] == self.outputs["AlertTopicArn"]]

    def queue_messages(self, queue="backup"):
        assert queue == "backup", queue
        return self.taken(self.outputs["BackupQueueUrl"])

    def taken(self, queue_url):
        """Everything that ever came out of a queue: taken out by whoever looked first, and put where all can see it."""
        folder = self.folder / queue_url.rsplit("/", 1)[1]
        folder.mkdir(exist_ok=True)
        with self.lock:
            sqs = self.aws.client("sqs")
            while batch := sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=10).get("Messages"):
                for message in batch:
                    path = folder / f"{time.time_ns()}.{message['MessageId']}.json"
                    beside = path.with_suffix(".new")
                    beside.write_text(message["Body"])
                    beside.rename(path)
                    sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            for path in folder.glob("*.json"):
                if path not in self.known:
                    self.known[path] = json.loads(path.read_text())
            return [self.known[path] for path in sorted(self.known) if path.parent == folder]

    # ---------------------------------------------------------------- what it stored and logged

    def items(self, table):
        deserialize = TypeDeserializer().deserialize
        pages = (
            self.aws.client("dynamodb")
            .get_paginator("scan")
            .paginate(TableName=self.outputs[table], ConsistentRead=True)
        )
        return [{name: deserialize(value) for name, value in item.items()} for page in pages for item in page["Items"]]

    def idle(self):
        """Nothing is in the deadline queue for now, and nothing waits to be told.

        Later looks (of a policy, when its predecessor is forgotten everywhere or somebody comes back; at an alert, whether
        it is over) are not for now; one that is being taken is in the queue.
        """
        attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        queue = self.aws.client("sqs").get_queue_attributes(
            QueueUrl=self.outputs["DeadlineQueueUrl"], AttributeNames=attributes
        )["Attributes"]
        now = time.time() * 1000
        items = (item for item in self.items("RequestsTable") if item["pk"].startswith("m#"))
        later = ("reassign", "alert_over")
        waiting = [
            item
            for item in items
            if not (item["due_at"] > now and any(f'"{kind}"' in item["payload"] for kind in later))
        ]
        return not waiting and not any(map(int, queue.values()))

    def audit(self):
        return [item for item in self.items("AuditTable") if not item["subject"].startswith("log#")]

    def dump(self):
        """Without the log's items: the sweep seals every minute what was written, whoever looks."""

        def is_of_log(item):
            return item.get("subject", "").startswith("log#") or item.get("pk", "").startswith(("log", "seal#"))

        tables = ("RequestsTable", "AuditTable")
        kept = {table: [item for item in self.items(table) if not is_of_log(item)] for table in tables}
        return {table: sorted(map(repr, map(ordered, items))) for table, items in kept.items()}

    def is_sealed(self, dump):
        """The log is not in the dump. A policy that was pushed is looked through first: that job's row is leased, and moves."""
        soon = (time.time() + 60) * 1000
        return not any(item["pk"] == "m#gate" and item["due_at"] <= soon for item in self.items("RequestsTable"))

    def logs(self):
        """What all functions have logged."""
        client, lines = self.aws.client("logs"), []
        for name in self.functions:
            pages = client.get_paginator("filter_log_events").paginate(logGroupName=f"/aws/lambda/{self.stack}-{name}")
            lines += [event["message"] for page in pages for event in page["events"]]
        return "\n".join(lines)

    def alive(self):
        return self.http.send("GET", "/healthz", fresh=True).status == 200


def ordered(item):
    return sorted(item.items())


def key_of(client_id, request_id):
    """How the links to a request begin."""
    digest = hashlib.sha256(f"placet-request-v1\n{client_id}\n{request_id}".encode()).digest()
    number, text = int.from_bytes(digest[:16], "big"), ""
    while number:
        number, digit = divmod(number, 62)
        text = BASE62[digit] + text
    return text.rjust(22, "0")
