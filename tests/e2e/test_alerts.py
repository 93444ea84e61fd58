"""How operators are alerted: ways of the policy against servers that play Slack's webhook, PagerDuty and a receiver."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from chats import Played
from placet_client import wait_until
from receiver import free_port
from standardwebhooks import Webhook

KEY = "0123456789abcdefABCDEF0123456789"

POLICY = """
issuer = "https://gate.example.com"

[[clients]]
id = "agent"
owner = "olga"
rate_per_minute = 6000

[[reviewers]]
id = "bob"
roles = ["finance"]

[[rules]]
name = "short"
when = 'action == "short.pay"'
stages = [{ ask = ["finance"], within = "2s" }]

[[rules]]
name = "slow"
alert_after = "1s"
stages = [{ ask = ["finance"], within = "10m" }]

[[reviewers]]
id = "olga"

[[alerts]]
name = "chat"
way = "slack"

[[alerts]]
name = "night"
way = "pagerduty"

[[alerts]]
name = "own"
way = "webhook"
url = "HOOK"
callback_hosts = ["127.0.0.1"]
"""


HOOK, EVENTS = "/services/T0/B0/x", "/v2/enqueue"


class PlayedWays(Played):
    """Answers as Slack's incoming webhooks and PagerDuty's Events API do, by their documents."""

    def __init__(self):
        super().__init__()
        self.faults = []

    def answer(self, path, headers, body):
        self.calls.append((path, dict(headers), body))
        try:
            self.check(path, json.loads(body))
        except (AssertionError, KeyError, ValueError) as fault:
            # In a thread of the server, where no test sees it: the fixture looks at its end.
            self.faults.append((path, body, fault))
            return 400, {}, "invalid"
        if (chosen := self.chosen(path)) is not None:
            return chosen
        return (202 if path == EVENTS else 200), {}, "ok"

    @staticmethod
    def check(path, event):
        if path == EVENTS:
            assert event["routing_key"] == KEY and 1 <= len(event["dedup_key"]) <= 255
            assert event["event_action"] in ("trigger", "resolve")
            if event["event_action"] == "trigger":
                payload = event["payload"]
                assert 1 <= len(payload["summary"]) <= 1024 and payload["source"]
                assert payload["severity"] in ("critical", "error", "warning", "info")
        elif path == HOOK:
            assert set(event) <= {"text", "blocks"} and event["text"]
        else:
            types = ("alert.opened", "alert.over", "alert.test", "report.weekly")
            assert path == "/hook" and event["type"] in types, path

    def at(self, path):
        with self.lock:
            return [(headers, json.loads(body)) for called, headers, body in self.calls if called == path]

    def texts(self):
        return [body["text"] for _, body in self.at(HOOK)]

    def events(self):
        return [body for _, body in self.at(EVENTS)]


@pytest.fixture
def played():
    played = PlayedWays()
    yield played
    played.close()
    assert played.faults == []


@pytest.fixture
def gate(local_gate, played):
    gate = local_gate(POLICY.replace("HOOK", f"{played.url}/hook"), port=free_port()).start()
    for name, secret, *more in [
        ("chat", f"{played.url}{HOOK}"),
        ("night", KEY, "--api-url", played.url),
    ]:
        ran = gate.cli("alert", "set", name, *more, stdin=f"{secret}\n")
        assert ran.returncode == 0 and secret not in ran.stdout + ran.stderr, ran
    return gate


def test_a_request_that_waits_too_long_is_said_once_by_each_way_and_resolved_when_it_ends(gate, played):
    agent = gate.client("agent")
    asked = agent.asked("slow.pay")
    wait_until(lambda: len(played.events()) == 1 and played.texts() and played.at("/hook"), 15, "the alert")
    trigger = played.events()[0]
    assert trigger["event_action"] == "trigger" and trigger["payload"]["severity"] == "warning"
    assert asked["request_id"] in trigger["payload"]["summary"] and trigger["payload"]["class"] == "open_too_long"
    assert asked["request_id"] in played.texts()[0] and "Since " in played.texts()[0]
    gate.link(asked, "bob").approve()
    wait_until(lambda: len(played.events()) == 2 and len(played.texts()) == 2, 15, "that it is over")
    resolve = played.events()[1]
    assert (resolve["event_action"], resolve["dedup_key"]) == ("resolve", trigger["dedup_key"])
    assert "Over:" in played.texts()[1]
    wait_until(lambda: len(played.at("/hook")) == 2, 15, "the webhook's second post")
    secret = gate.cli("alert", "secret", "own").stdout.split()[-1]
    with played.lock:
        posts = [(headers, body) for path, headers, body in played.calls if path == "/hook"]
    for headers, body in posts:
        Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()})
    types = [body["type"] for _, body in played.at("/hook")]
    assert types == ["alert.opened", "alert.over"]
    assert len({headers["webhook-id"] for headers, _ in posts}) == 2


def test_a_request_that_is_answered_in_time_is_no_alert(gate, played):
    agent = gate.client("agent")
    fine, late = agent.asked("slow.pay"), agent.asked("short.pay")
    gate.link(fine, "bob").approve()
    wait_until(lambda: played.texts(), 15, "the alert of the other one")
    assert all(late["request_id"] in text and fine["request_id"] not in text for text in played.texts())


def test_a_limit_a_fault_and_a_lost_answer_are_tried_again_under_one_key(gate, played):
    played.next(EVENTS, (429, {"Retry-After": "1"}, None), (500, {}, None), (0, {}, None))
    asked = gate.client("agent").asked("short.pay")
    wait_until(lambda: len(played.events()) == 4, 60, "four tries")
    assert len({event["dedup_key"] for event in played.events()}) == 1
    assert all(asked["request_id"] in event["payload"]["summary"] for event in played.events())
    first, second = played.texts()
    assert "has expired" in first and "`night`" in second, "the way that works says it once, and which one fails"


def test_what_pagerduty_refuses_is_not_repeated_and_the_other_ways_say_so(gate, played):
    played.next(EVENTS, (400, {}, None))
    gate.client("agent").asked("short.pay")
    said = wait_until(lambda: [text for text in played.texts() if "`night`" in text], 15, "that `night` fails")
    assert "400" in said[0]
    # A second try would come after two seconds: only once its row is gone there is none.
    wait_until(lambda: not rows_of(gate, "night"), 15, "the row's end")
    assert len(played.events()) == 1


def test_a_key_that_is_refused_is_tried_again_since_it_can_be_mended(gate, played):
    played.next(EVENTS, (403, {}, None))
    asked = gate.client("agent").asked("short.pay")
    wait_until(lambda: len(played.events()) == 2, 15, "the second try")
    wait_until(lambda: not rows_of(gate, "night"), 15, "the row's end")
    assert all(asked["request_id"] in event["payload"]["summary"] for event in played.events())
    assert len(played.events()) == 2 and all("`night`" not in text for text in played.texts())


def rows_of(gate, way):
    return gate.query(f"SELECT id FROM outbox WHERE id LIKE '%alert_by_{way}_%'")


def test_an_alert_survives_a_killed_gate(gate, played):
    played.next(HOOK, (503, {}, None), (503, {}, None))
    asked = gate.client("agent").asked("short.pay")
    wait_until(lambda: len(played.texts()) == 1, 15, "the first try")
    gate.kill()
    gate.start()
    wait_until(lambda: len(played.texts()) == 3, 60, "the retries of the restarted gate")
    assert all(asked["request_id"] in text for text in played.texts())


def test_a_test_says_what_came_of_it_by_each_way(gate, played):
    ran = gate.cli("alert", "test")
    assert ran.returncode == 0, ran
    assert [line.split()[:2] for line in ran.stdout.splitlines()] == [["ok", "chat"], ["ok", "night"], ["ok", "own"]]
    assert [event["event_action"] for event in played.events()] == ["trigger", "resolve"], "nothing is left open"
    played.next(HOOK, (404, {}, None))
    ran = gate.cli("alert", "test", "--json")
    assert ran.returncode == 1
    ways = {way["name"]: way for way in json.loads(ran.stdout)["ways"]}
    assert [way["sent"] for way in ways.values()] == [False, True, True] and "404" in ways["chat"]["problem"]
    assert gate.cli("alert", "test", "night").returncode == 0
    assert gate.cli("alert", "test", "nowhere").returncode == 1


def test_a_way_without_its_secret_is_named(gate):
    assert gate.cli("alert", "remove", "chat").returncode == 0
    for words in (["doctor"], ["alert", "test"], ["policy", "check", str(gate.policy)]):
        out = gate.cli(*words).stdout
        assert "placet alert set chat" in out, out
    for secret in ("not a url", "http://hooks.example.com/x", "https://user:pass@hooks.example.com/x"):
        ran = gate.cli("alert", "set", "chat", stdin=f"{secret}\n")
        assert ran.returncode == 1 and secret not in ran.stdout + ran.stderr, ran
    assert gate.cli("alert", "set", "night", stdin="short\n").returncode == 1
    assert gate.cli("alert", "set", "own", stdin="https://a.example/\n").returncode == 1


def test_a_gate_on_one_machine_refuses_a_topic_and_one_without_ways_says_so(local_gate):
    gate = local_gate().start()
    text = gate.policy.read_text()
    assert "no way of alerts" in gate.cli("alert", "test").stderr
    gate.policy.write_text(text + '\n[[alerts]]\nname = "ops"\nway = "sns"\n')
    ran = gate.cli("policy", "push", str(gate.policy))
    assert ran.returncode == 1 and "no SNS topic" in ran.stderr, ran


def weekly(moment):
    """The policy with a report that goes out at that moment of the week, and was due this week if it has passed."""
    at = moment.strftime("%A %H:%M UTC")
    return POLICY + f'\n[report]\nto = ["chat", "own"]\nat = "{at}"\n'


def started_reporting(local_gate, played):
    """A gate whose report is due, and which has not been told where Slack is."""
    moment = datetime.now(UTC) - timedelta(minutes=1)
    return local_gate(weekly(moment).replace("HOOK", f"{played.url}/hook"), port=free_port()).start()


def set_chat(gate, played):
    ran = gate.cli("alert", "set", "chat", stdin=f"{played.url}{HOOK}\n")
    assert ran.returncode == 0, ran


def reports_of(gate):
    return gate.query("SELECT id FROM outbox WHERE id LIKE 'msg_gate_report_%'")


def reports_at(played):
    """What came of the report by the webhook: that another way cannot be reached is told there as well, sooner or later."""
    return [(headers, body) for headers, body in played.at("/hook") if body["type"] == "report.weekly"]


def sent_entries(gate):
    return [entry for entry in gate.audit() if entry["event"] == "report.sent"]


def test_the_weekly_report_is_sent_once_by_each_way_and_its_link_opens_the_page(local_gate, played):
    reporting = started_reporting(local_gate, played)
    wait_until(lambda: reports_at(played), 15, "the webhook's report")
    set_chat(reporting, played)
    wait_until(lambda: played.texts(), 90, "Slack's report")
    (_, event), *more = reports_at(played)
    assert event["type"] == "report.weekly" and more == []
    data = event["data"]
    text = played.texts()[0]
    assert data["title"] in text and "0 requests asked" in text and f"<{data['link']}|" in text, text
    assert "night" not in "".join(data["lines"]) and not played.events(), "an incident it is not"
    page = reporting.http.send("GET", "/" + data["link"].split("/", 3)[3])
    assert page.status == 200 and b"Approvals, 7 days" in page.body
    secret = reporting.cli("alert", "secret", "own").stdout.split()[-1]
    with played.lock:
        calls = [(headers, body) for path, headers, body in played.calls if path == "/hook"]
    [(headers, body)] = [(headers, body) for headers, body in calls if json.loads(body)["type"] == "report.weekly"]
    Webhook(secret).verify(body, {name.lower(): value for name, value in headers.items()})
    wait_until(lambda: not reports_of(reporting), 15, "the rows' end")
    reporting.stop()
    reporting.start()
    asked = reporting.client("agent").asked("short.pay")
    # What comes after it is told: so the restarted gate has swept, and sent no second one.
    wait_until(lambda: any(asked["request_id"] in text for text in played.texts()), 30, "a later alert")
    assert sum("Weekly report" in text for text in played.texts()) == 1 and len(sent_entries(reporting)) == 1
    assert all(data["link"] not in json.dumps(entry) for entry in reporting.audit())
    assert data["link"] not in reporting.logs()


def test_a_gate_that_is_killed_between_the_mark_and_the_sending_sends_it_when_it_is_back(local_gate, played):
    # Before the gate is there: its first try is refused.
    played.next("/hook", (503, {}, None))
    reporting = started_reporting(local_gate, played)
    wait_until(lambda: reports_at(played), 15, "the first try")
    reporting.kill()
    assert len(sent_entries(reporting)) == 1 and len(reports_of(reporting)) == 2, "marked, and not sent"
    reporting.start()
    wait_until(lambda: len(reports_at(played)) == 2, 60, "the restarted gate's try")
    ids = {headers["webhook-id"] for headers, _ in reports_at(played)}
    assert len(ids) == 1 and len(sent_entries(reporting)) == 1


def test_the_report_is_sent_by_hand_and_each_way_says_what_came_of_it(gate, played):
    ran = gate.cli("report", "send")
    assert ran.returncode == 1 and "no [report]" in ran.stderr, ran
    # Its moment is tomorrow: nothing goes out by itself.
    text = weekly(datetime.now(UTC) + timedelta(days=1)).replace("HOOK", f"{played.url}/hook")
    gate.policy.write_text(text)
    assert gate.cli("policy", "push", str(gate.policy)).returncode == 0
    ran = gate.cli("report", "send")
    assert ran.returncode == 0 and [line.split()[:2] for line in ran.stdout.splitlines()] == [
        ["ok", "chat"],
        ["ok", "own"],
    ], ran
    assert "Weekly report" in played.texts()[0] and played.at("/hook")[0][1]["type"] == "report.weekly"
    played.next(HOOK, (404, {}, None))
    ran = gate.cli("report", "send", "chat", "--json")
    assert ran.returncode == 1 and "404" in json.loads(ran.stdout)["ways"][0]["problem"], ran
    ran = gate.cli("report", "send", "night")
    assert ran.returncode == 1 and "it names: chat, own" in ran.stderr, ran
    assert sent_entries(gate) == []
