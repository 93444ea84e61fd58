"""Web Push, against a push service and devices that play their documented part."""

import json
import os
import re

import pytest
from placet_client import Link, check_problem, wait_until
from push_service import PushService, Switch, b64

POLICY = """
issuer = "https://gate.example.com/sub"

[[clients]]
id = "agent"
name = "Invoice flow"
rate_per_minute = 6000

[[reviewers]]
id = "bob"
name = "Bob"
email = "bob@example.com"
roles = ["finance"]
callback_hosts = ["127.0.0.1"]
channels = ["push", "email"]
generation = 1

[[reviewers]]
id = "carol"
name = "Carol"
email = "carol@example.com"
roles = ["finance"]
callback_hosts = ["127.0.0.1"]

[[reviewers]]
id = "dan"
roles = ["alone"]
callback_hosts = ["127.0.0.1"]
channels = ["push"]

[[reviewers]]
id = "eve"
email = "eve@example.com"
roles = ["guarded"]
channels = ["push", "email"]

[[rules]]
name = "urgent"
when = 'action == "urgent.pay"'
urgent = true
preview = true
mask = ["payload.key"]
stages = [{ ask = ["finance"], within = "10m" }]

[[rules]]
name = "dan alone"
when = 'action == "alone.pay"'
stages = [{ ask = ["alone"], within = "10m" }]

[[rules]]
name = "relay"
when = 'action == "relay.pay"'
stages = [{ ask = ["finance"], within = "3s" }, { ask = ["alone"], within = "10m" }]

[[rules]]
name = "all"
stages = [{ ask = ["finance"], within = "10m" }]
"""


@pytest.fixture
def service():
    played = PushService()
    yield played
    played.close()


def page_of(gate, asked, reviewer):
    """A reviewer's page, past the proxy that takes `/sub` away."""
    page = gate.link(asked, reviewer)
    page.path = page.path.removeprefix("/sub")
    return page


@pytest.fixture
def gate(local_gate, service):
    gate = local_gate(POLICY).start()
    gate.service, gate.agent = service, gate.client("agent")
    return gate


def test_a_device_is_told_that_something_waits_and_the_end_takes_its_place(gate, service):
    phone = Switch(gate, "bob").on(service, "phone")
    asked = gate.agent.asked(payload={"to": "ACME secret GmbH", "amount": 5000, "currency": "EUR"})
    first = service.wait(phone)[0]
    news = first["news"]
    assert (news["title"], news["body"]) == ("Placet", "Invoice flow asks. Something waits for your approval.")
    assert (
        "ACME" not in json.dumps(news)
        and "5,000" not in json.dumps(news)
        and asked["request_id"] not in json.dumps(news)
    )
    assert 590 < first["ttl"] <= 600 and first["urgency"] == "normal" and first["topic"] == news["tag"]
    assert first["sub"] == "https://gate.example.com/sub"
    assert (news["urgent"], news["settled"]) == (False, False)
    # A tap opens this, below the worker's scope.
    assert re.fullmatch(r"r/[A-Za-z0-9_.-]+", news["path"])
    Link(gate.http, "/" + news["path"]).approve()
    second = service.wait(phone, 2)[1]
    assert second["topic"] == first["topic"] and second["urgency"] == "low" and second["news"]["settled"] is True
    assert second["news"]["body"].startswith("Invoice flow asked. Approved by Bob, ")
    # One message, by this channel: the order of `channels` held.
    assert [m["channel"] for m in gate.messages(asked, "bob")] == ["push"]


def test_the_title_is_said_only_where_the_rule_allows_it_and_hides_what_is_masked(gate, service):
    phone = Switch(gate, "bob").on(service, "phone")
    asked = gate.agent.asked(
        "urgent.pay", payload={"to": "ACME GmbH", "amount": 5000, "currency": "EUR", "key": "sk-live-1234567890abcdef"}
    )
    told = service.wait(phone)[0]
    assert told["urgency"] == "high" and told["news"]["urgent"] is True
    assert "5,000" in told["news"]["title"] and "ACME GmbH" in told["news"]["title"]
    assert "1234567890abcdef" not in json.dumps(told["news"])
    page_of(gate, asked, "carol").reject(reason="paid already")
    end = service.wait(phone, 2)[1]
    assert "Rejected by Carol" in end["news"]["body"] and "paid already" in end["news"]["body"]
    assert end["news"]["title"] == told["news"]["title"]


def test_each_device_is_told_and_one_that_is_gone_is_forgotten(gate, service):
    switch = Switch(gate, "bob")
    phone, desk, old = (switch.on(service, name) for name in ("phone", "desk", "old"))
    service.gone = {"desk": 410, "old": 404}
    gate.agent.asked()
    service.wait(phone)
    wait_until(lambda: switch.data()["devices"] == phone.id, 10, "only the phone")
    assert not desk.told and not old.told
    gate.agent.asked()
    service.wait(phone, 2)
    assert service.count("desk") == service.count("old") == 1, "nobody asks again for what is gone"


def test_without_a_device_the_next_channel_takes_over(gate, service):
    asked = gate.agent.asked()
    wait_until(lambda: gate.messages(asked, "bob", "email"), 15, "the mail instead")
    assert not gate.messages(asked, "bob", "push")
    phone = Switch(gate, "bob").on(service, "phone")
    service.gone = {"phone": 410}
    asked = gate.agent.asked()
    wait_until(lambda: gate.messages(asked, "bob", "email"), 15, "the mail, once the last device is gone")
    assert not phone.told


def test_a_service_that_is_busy_is_waited_for_and_one_that_fails_is_asked_again(gate, service):
    phone = Switch(gate, "dan").on(service, "phone")
    service.next("phone", (429, {"Retry-After": "2"}, {}), (503, {}, {}), (500, {}, {}))
    asked = gate.agent.asked("alone.pay")
    service.wait(phone, seconds=40)
    assert service.count("phone") == 4
    assert [m["channel"] for m in gate.messages(asked, "dan")] == ["push"]
    attempts = [line for line in gate.logs().splitlines() if "will be retried" in line]
    assert any("answered 429" in line and '"wait_ms":2000' in line.replace(" ", "") for line in attempts), attempts


def test_the_next_channel_takes_over_from_a_service_that_refuses_or_is_down(gate, service):
    Switch(gate, "bob").on(service, "phone")
    service.next("phone", (403, {}, {}))
    asked = gate.agent.asked()
    wait_until(lambda: gate.messages(asked, "bob", "email"), 15, "the mail after a refusal")
    service.next("phone", *[(503, {}, {})] * 5)
    asked = gate.agent.asked()
    wait_until(lambda: gate.messages(asked, "bob", "email"), 40, "the mail after three failures")
    assert service.count("phone") == 4


def test_one_device_of_two_is_enough(gate, service):
    switch = Switch(gate, "bob")
    phone, desk = switch.on(service, "phone"), switch.on(service, "desk")
    service.next("desk", (503, {}, {}))
    asked = gate.agent.asked()
    service.wait(phone)
    wait_until(lambda: gate.messages(asked, "bob", "push"), 10, "the outbox file")
    page_of(gate, asked, "bob").approve()
    assert service.wait(phone, 2)[1]["news"]["settled"] is True
    assert not desk.told, "what never said that something waits need not say that it is over"
    assert not gate.messages(asked, "bob", "email")


def test_whose_stage_is_over_sees_that_others_are_asked(gate, service):
    bobs = Switch(gate, "bob").on(service, "bobs")
    dans = Switch(gate, "dan").on(service, "dans")
    gate.agent.asked("relay.pay")
    service.wait(bobs)
    assert service.wait(dans)[0]["news"]["settled"] is False
    moved = service.wait(bobs, 2)[1]["news"]
    assert moved["settled"] is True and "Others are asked by now" in moved["body"]


def test_a_device_is_switched_off_and_only_for_whom_it_was_switched_on(gate, service):
    switch, other = Switch(gate, "bob"), Switch(gate, "dan")
    phone = switch.on(service, "phone")
    check_problem(switch.send(off=phone.id, nonce="1-2"), 422, "invalid_request")
    assert other.send(off=phone.id).status == 200
    assert switch.data()["devices"] == phone.id, "another person cannot switch it off"
    assert switch.send(off=phone.id).json() == {"on": False, "device": phone.id}
    assert switch.send(off=phone.id).status == 200, "off is off"
    asked = gate.agent.asked()
    wait_until(lambda: gate.messages(asked, "bob", "email"), 15, "the mail instead")
    assert not phone.told


def test_a_newer_generation_ends_the_subscriptions_of_a_lost_phone(gate, service):
    switch = Switch(gate, "bob")
    phone = switch.on(service, "phone")
    gate.push_policy(POLICY.replace("generation = 1", "generation = 2"))
    wait_until(lambda: switch.inbox.page().status != 200, 10, "the new generation in force")
    asked = gate.agent.asked()
    wait_until(lambda: gate.messages(asked, "bob", "email"), 15, "the mail instead")
    assert not phone.told
    check_problem(switch.send(off=phone.id, nonce="1-2"), (404, 410), "not_found", "link_expired")
    fresh = Switch(gate, "bob")
    assert fresh.data()["devices"] == ""
    fresh.on(service, "phone2")
    assert len(gate.query("SELECT id FROM push_devices WHERE reviewer = 'bob'")) == 1, "the void one is gone"


def test_what_a_browser_says_is_not_believed(gate, service):
    switch = Switch(gate, "bob")
    device = service.device("phone", switch.data()["key"])
    wrong = {
        "no address": {"endpoint": ""},
        "no URL": {"endpoint": "phone"},
        "a file": {"endpoint": "file:///etc/passwd"},
        "plain http": {"endpoint": "http://push.example.com/1"},
        "metadata": {"endpoint": "http://169.254.169.254/latest"},
        "with a password": {"endpoint": "https://a:b@push.example.com/1"},
        "too long": {"endpoint": "https://push.example.com/" + "x" * 2100},
        "no key": {"p256dh": ""},
        "a short key": {"p256dh": b64(device.point[:-1])},
        "a compressed key": {"p256dh": b64(b"\x02" + device.point[1:])},
        "no secret": {"auth": ""},
        "a long secret": {"auth": b64(bytes(17))},
        "no base64": {"auth": "!" * 22},
        "no nonce": {"nonce": ""},
        "a forged nonce": {"nonce": "1-2"},
    }
    for name, change in wrong.items():
        answer = switch.send(**device.form(**change))
        check_problem(answer, 422, "invalid_request")
        assert [error["field"] for error in answer.json()["errors"]] == list(change), name
    assert switch.data()["devices"] == ""
    # Eve's entry names no private host: hers may be public addresses only, also by a name that leads elsewhere.
    eves = Switch(gate, "eve")
    for endpoint in (device.endpoint, "https://127.0.0.1/x", "https://[::1]/x", "https://localhost/x"):
        check_problem(eves.send(**device.form(endpoint=endpoint)), 422, "invalid_request")
    # A point that is not on the curve gets nothing, and is forgotten.
    bad = switch.on(service, "bad", p256dh=b64(b"\x04" + b"\x01" * 64))
    asked = gate.agent.asked()
    wait_until(lambda: gate.messages(asked, "bob", "email"), 15, "the mail instead")
    assert not bad.told and switch.data()["devices"] == ""


def test_who_has_no_push_in_the_policy_has_none_in_the_inbox(gate, service):
    switch = Switch(gate, "carol")
    assert switch.data() is None
    device = service.device("phone", Switch(gate, "bob").data()["key"])
    check_problem(switch.send(**device.form(nonce=switch.inbox.nonce())), 404, "not_found")
    answer = gate.http.send("POST", "/inbox/forged/push", {"Content-Type": "application/x-www-form-urlencoded"}, b"")
    check_problem(answer, 404, "not_found")


def test_a_reviewer_has_so_many_devices_and_the_oldest_goes(gate, service):
    switch = Switch(gate, "bob")
    devices = [switch.on(service, f"d{n}") for n in range(11)]
    known = switch.data()["devices"].split()
    assert sorted(known) == sorted(device.id for device in devices[1:])


def test_the_same_browser_twice_is_one_device(gate, service):
    switch = Switch(gate, "bob")
    phone = switch.on(service, "phone")
    assert switch.send(**phone.form()).json()["device"] == phone.id
    assert switch.data()["devices"] == phone.id


def test_the_key_is_made_when_a_policy_first_names_push_and_outlives_rotations_and_restarts(local_gate, service):
    without = POLICY.replace('channels = ["push", "email"]', "").replace('channels = ["push"]', "")
    gate = local_gate(without).start()
    assert "push" not in json.loads((gate.data / "keyring.json").read_text())
    gate.push_policy(POLICY)
    switch = Switch(gate, "bob")
    phone = switch.on(service, "phone")
    key = switch.data()["key"]
    assert gate.cli("keys", "rotate").returncode == 0
    kept = json.loads((gate.data / "keyring.json").read_text())
    assert kept["push"]["public"] == key and kept["push"]["private"] not in json.dumps(switch.data())
    gate.kill()
    gate.start()
    gate.client("agent").asked()
    service.wait(phone)
    assert Switch(gate, "bob").data()["key"] == key


def test_a_key_that_cannot_be_made_is_told_once_and_made_when_it_can_be(local_gate, service):
    without = POLICY.replace('channels = ["push", "email"]', "").replace('channels = ["push"]', "")
    gate = local_gate(without).start()
    lock = gate.data / "keyring.lock"
    lock.unlink()
    lock.mkdir()
    gate.push_policy(POLICY)
    told = lambda: str(gate.logs()).count("there is no key for push")  # noqa: E731
    wait_until(told, 10, "the trouble in the log")
    # It has looked again when it has noticed twice that the keyring is another file.
    for looks in (1, 2):
        os.utime(gate.data / "keyring.json", (looks, looks))
        wait_until(lambda looks=looks: gate.logs().count("and read again") >= looks, 10, "another look")
    assert told() == 1
    lock.rmdir()
    phone = Switch(gate, "bob").on(service, "phone")
    gate.client("agent").asked()
    service.wait(phone)
    assert told() == 1


def test_a_push_that_was_not_sent_survives_a_kill(gate, service):
    phone = Switch(gate, "dan").on(service, "phone")
    service.next("phone", *[(503, {}, {})] * 2)
    gate.agent.asked("alone.pay")
    wait_until(lambda: service.count("phone") >= 1, 10, "a try")
    gate.kill()
    gate.start()
    assert service.wait(phone, seconds=60)[0]["news"]["settled"] is False


def test_the_command_sends_a_test_and_doctor_counts_devices(gate, service):
    refused = gate.cli("channel", "test", "push", "--reviewer", "bob")
    assert refused.returncode == 1 and "switched push on on no device" in refused.stderr
    refused = gate.cli("channel", "test", "push", "--reviewer", "carol")
    assert refused.returncode == 1 and "no `push` in their `channels`" in refused.stderr
    doctor = gate.cli("doctor").stdout
    assert "reviewer `bob` has push on no device" in doctor and "reviewer `dan` is told by push only" in doctor
    phone = Switch(gate, "bob").on(service, "phone")
    ran = gate.cli("channel", "test", "push", "--reviewer", "bob")
    assert ran.returncode == 0, ran
    told = service.wait(phone)[0]["news"]
    assert told["body"] == "A test: this gate reaches you here" and told["path"].startswith("inbox/")
    assert "push reaches reviewer `bob` on 1 device" in gate.cli("doctor").stdout


def test_no_secret_no_address_and_no_link_is_in_the_log_or_the_trail(gate, service):
    phone = Switch(gate, "bob").on(service, "phone")
    service.next("phone", (500, {}, {}))
    gate.agent.asked()
    link = service.wait(phone, seconds=30)[0]["news"]["path"]
    service.gone = {"phone": 410}
    gate.agent.asked()
    wait_until(lambda: Switch(gate, "bob").data()["devices"] == "", 15, "the device forgotten")
    kept = json.loads((gate.data / "keyring.json").read_text())["push"]["private"]
    told = gate.logs() + json.dumps(gate.audit())
    for secret in (
        phone.endpoint,
        f"/push/{phone.name}",
        b64(phone.auth),
        b64(phone.point),
        kept,
        link.removeprefix("r/"),
    ):
        assert secret not in told, secret


def test_a_get_of_the_inbox_changes_nothing(gate, service):
    switch = Switch(gate, "bob")
    switch.on(service, "phone")
    before = gate.settled_dump()
    for _ in range(3):
        assert switch.inbox.page().status == 200
        assert gate.http.send("GET", f"{switch.inbox.path}/push").status == 405
    assert gate.settled_dump() == before


FAULTS = {
    'channels = ["push", "push"]': "`push` is named twice",
    'channels = ["puhs"]': "did you mean `push`?",
    'push = "x"': "push",
}


@pytest.mark.parametrize("entry", FAULTS)
def test_a_wrong_entry_is_named(local_gate, entry):
    text = POLICY.replace('channels = ["push"]', entry)
    ran = local_gate(text).cli("policy", "check")
    assert ran.returncode == 1 and FAULTS[entry] in ran.stdout, ran


def test_push_alone_is_a_warning_and_preview_needs_a_rule_that_asks(local_gate):
    ran = local_gate(POLICY).cli("policy", "check")
    assert ran.returncode == 0 and "`dan` is told by push only" in ran.stdout, ran
    text = POLICY + '\n[[rules]]\nname = "alone"\nwhen = \'action == "x"\'\ndecide = "reject"\npreview = true\n'
    ran = local_gate(text).cli("policy", "check")
    assert ran.returncode == 1 and "`preview` means nothing in a rule that decides alone" in ran.stdout
