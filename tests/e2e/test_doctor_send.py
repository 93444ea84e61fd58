"""`placet doctor --send`: a real test by every channel and every way of alerts, against servers that play their part."""

import json

import pytest
from chats import BOT_TOKEN, SIGNING_SECRET, TELEGRAM_TOKEN, Telegram
from push_service import PushService, Switch
from receiver import Receiver
from standardwebhooks import Webhook

BOB, CAROLS = "U0BOB0001", 700_000_000_002
FROM = "Placet <gate@example.com>"

POLICY = """
issuer = "https://gate.example.com"

[[clients]]
id = "agent"
owner = "olga"

[[reviewers]]
id = "bob"
slack = "U0BOB0001"
email = "bob@example.com"
roles = ["finance"]

[[reviewers]]
id = "carol"
telegram = 700000000002
webhook = "HOOKS/carol"
callback_hosts = ["127.0.0.1"]
channels = ["push", "telegram", "webhook"]
roles = ["finance"]

[[reviewers]]
id = "olga"

[[rules]]
name = "payments"
stages = [{ ask = ["finance"], within = "10m" }]

[[alerts]]
name = "ops"
way = "webhook"
url = "HOOKS/ops"
callback_hosts = ["127.0.0.1"]

[[alerts]]
name = "duty"
way = "mail"
to = ["duty@example.com"]
"""


class FarEnds:
    """Everybody whom the gate tells, each played by its documents."""

    def __init__(self, slack, mailbox):
        self.slack, self.mailbox = slack, mailbox
        self.telegram, self.push, self.hooks = Telegram(), PushService(), Receiver()

    def close(self):
        self.telegram.close()
        self.push.close()
        self.hooks.close()

    def told(self):
        """How many messages each of them has got."""
        return {
            "slack": self.slack.count("chat.postMessage"),
            "telegram": self.telegram.count("sendMessage"),
            "push": self.push.count("phone"),
            "carol": len(self.hooks.deliveries["/carol"]),
            "ops": len(self.hooks.deliveries["/ops"]),
            "mail": len(self.mailbox.mails),
        }


@pytest.fixture
def ends(slack, mailbox):
    ends = FarEnds(slack, mailbox)
    yield ends
    ends.close()


@pytest.fixture
def gate(local_gate, ends):
    """A serving gate whose channels are not set up yet."""
    return local_gate(POLICY.replace("HOOKS", f"http://127.0.0.1:{ends.hooks.port}")).start()


def set_up(gate, ends):
    """All that a policy needs of its operator, but for push, which each reviewer switches on."""
    for words, stdin in (
        (["slack", "--api-url", f"{ends.slack.url}/api"], f"{BOT_TOKEN}\n{SIGNING_SECRET}\n"),
        (["telegram", "--api-url", ends.telegram.url], f"{TELEGRAM_TOKEN}\n"),
        (["smtp"], f"{ends.mailbox.url}\n{FROM}\n"),
    ):
        ran = gate.cli("channel", "set", *words, stdin=stdin)
        assert ran.returncode == 0, ran


def sent(ran):
    """What came of each test, as a program reads it."""
    said = json.loads(ran.stdout)["sent"]
    channels = {(one["reviewer"], one["channel"]): (one["result"], one["problem"]) for one in said["channels"]}
    ways = {one["name"]: (one["result"], one["problem"]) for one in said["ways"]}
    return channels, ways


def results(of):
    return {name: result for name, (result, _) in of.items()}


def test_everybody_is_sent_one_by_each_channel_that_is_set_up(gate, ends):
    set_up(gate, ends)
    ran = gate.cli("doctor", "--send", "--json")
    channels, ways = sent(ran)
    assert results(channels) == {
        ("bob", "slack"): "delivered",
        ("bob", "email"): "delivered",
        ("carol", "push"): "not_set_up",
        ("carol", "telegram"): "delivered",
        ("carol", "webhook"): "delivered",
        ("olga", "terminal"): "not_set_up",
    }
    assert results(ways) == {"ops": "delivered", "duty": "delivered"}
    assert ends.told() == {"slack": 1, "telegram": 1, "push": 0, "carol": 1, "ops": 1, "mail": 2}
    assert "this gate reaches you" in ends.slack.shows(ends.slack.wait(BOB)[-1])
    assert "this gate reaches you" in ends.telegram.shows(ends.telegram.wait(CAROLS)[-1])
    secret = gate.cli("channel", "secret", "carol").stdout.strip().splitlines()[-1]
    [to_carol] = ends.hooks.deliveries["/carol"]
    assert "this gate reaches you" in json.dumps(Webhook(secret).verify(to_carol.body, to_carol.headers))
    assert ends.mailbox.to("bob@example.com") is not None and ends.mailbox.to("duty@example.com") is not None
    # Nobody is asked anything, and nothing waits in the outbox.
    assert json.loads(gate.cli("list", "--json").stdout)["requests"] == []
    assert gate.query("SELECT id FROM outbox") == []
    # Olga is reached by nothing at all; Carol's next channel stands in for push.
    assert ran.returncode == 1
    checks = {check["text"]: check["result"] for check in json.loads(ran.stdout)["checks"]}
    [olga] = [result for text, result in checks.items() if text.startswith("no test was sent to `olga`")]
    [carol] = [result for text, result in checks.items() if text.startswith("no test was sent to `carol` by push")]
    assert (olga, carol) == ("fail", "warn")


def test_without_send_nobody_is_sent_anything(gate, ends):
    set_up(gate, ends)
    ran = gate.cli("doctor", "--json")
    assert "sent" not in json.loads(ran.stdout)
    assert set(ends.told().values()) == {0}
    ran = gate.cli("doctor", "--reviewer", "bob")
    assert ran.returncode == 2 and "--send" in ran.stderr, ran
    assert set(ends.told().values()) == {0}


def test_one_reviewer_is_sent_to_alone_and_no_alert_is_tried(gate, ends):
    set_up(gate, ends)
    ran = gate.cli("doctor", "--send", "--reviewer", "bob")
    assert ran.returncode == 0, ran
    assert "a test was sent to `bob` by slack" in ran.stdout and "a test was sent to `bob` by email" in ran.stdout
    assert ends.told() == {"slack": 1, "telegram": 0, "push": 0, "carol": 0, "ops": 0, "mail": 1}
    ran = gate.cli("doctor", "--send", "--reviewer", "nobody")
    assert ran.returncode == 1 and "no reviewer `nobody`" in ran.stdout, ran
    assert ends.told()["slack"] == 1


def test_what_is_not_set_up_is_named_with_the_command_that_sets_it(gate, ends):
    ran = gate.cli("doctor", "--send", "--json")
    assert ran.returncode == 1
    channels, ways = sent(ran)
    assert "placet channel set slack" in channels["bob", "slack"][1]
    assert "placet channel set smtp" in channels["bob", "email"][1]
    assert "placet channel set telegram" in channels["carol", "telegram"][1]
    assert "placet inbox --reviewer carol --link" in channels["carol", "push"][1]
    assert channels["carol", "webhook"] == ("delivered", None)
    assert "placet channel set smtp" in ways["duty"][1] and ways["ops"] == ("delivered", None)
    assert ends.told() == {"slack": 0, "telegram": 0, "push": 0, "carol": 1, "ops": 1, "mail": 0}


def test_who_refuses_is_named_with_the_reason_and_no_address(gate, ends):
    set_up(gate, ends)
    ends.slack.gone.add(BOB)
    ends.mailbox.gone |= {"bob@example.com", "duty@example.com"}
    ends.telegram.next("sendMessage", (403, {}, {"ok": False, "error_code": 403, "description": "bot was blocked"}))
    ends.hooks.answers["/carol"] = [(500, {})]
    ends.hooks.answers["/ops"] = [(404, {})]
    file = gate.folder / "report.json"
    ran = gate.cli("doctor", "--send", "--json", "--report", file)
    assert ran.returncode == 1
    channels, ways = sent(ran)
    assert set(results(channels).values()) == {"refused", "not_set_up"}
    assert "channel_not_found" in channels["bob", "slack"][1]
    assert "550" in channels["bob", "email"][1] and "550" in ways["duty"][1]
    assert "403" in channels["carol", "telegram"][1] or "blocked" in channels["carol", "telegram"][1]
    assert "500" in channels["carol", "webhook"][1] and "404" in ways["ops"][1]
    report = file.read_text()
    assert "a test to `bob` by slack was refused" in report and "a test alert by the way `ops`" in report
    for text in (ran.stdout, ran.stderr, report):
        for secret in ("bob@example.com", "duty@example.com", BOB, str(CAROLS), BOT_TOKEN, TELEGRAM_TOKEN, "/inbox/"):
            assert secret not in text, secret


def test_a_device_with_push_is_sent_to(gate, ends):
    set_up(gate, ends)
    phone = Switch(gate, "carol").on(ends.push, "phone")
    ran = gate.cli("doctor", "--send", "--reviewer", "carol", "--json")
    assert ran.returncode == 0, ran
    assert results(sent(ran)[0]) == {
        ("carol", "push"): "delivered",
        ("carol", "telegram"): "delivered",
        ("carol", "webhook"): "delivered",
    }
    assert ends.push.wait(phone)[0]["news"]["body"] == "A test: this gate reaches you here"


def test_an_address_and_aws_are_refused_before_anything_is_sent(gate, ends):
    set_up(gate, ends)
    ran = gate.cli("doctor", "--send", "--url", gate.url)
    assert ran.returncode == 2 and "data folder" in ran.stderr, ran
    ran = gate.cli("doctor", "--send", "--aws")
    assert ran.returncode == 2 and "placet alert test --aws" in ran.stderr, ran
    assert set(ends.told().values()) == {0}


def test_a_folder_without_a_policy_sends_nothing(local_gate, tmp_path):
    ran = local_gate(POLICY.replace("HOOKS", "https://hooks.example.com")).cli("doctor", "--send", "--json")
    assert ran.returncode == 1, ran
    assert "sent" not in json.loads(ran.stdout)
    assert any(check["text"].startswith("no test was sent: ") for check in json.loads(ran.stdout)["checks"])
