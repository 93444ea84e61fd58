"""The policy file: faults found all at once, changes taken up while serving, mistakes kept out."""

import json
import os
import re

from local_gate import SHARED, placet
from placet_client import wait_until

FAULTY = """\
issuer = "gate.example.com"
surprise = 1

[[clients]]
id = "Bad Client"

[[clients]]
id = "both"
roles = ["requester", "decider"]

[[clients]]
id = "owned"
owner = "nobody"

[[reviewers]]
id = "bob"
email = "not an address"
roles = ["finance"]

[[rules]]
name = "cel"
when = 'action =='
decide = "approve"

[[rules]]
name = "variable"
when = 'acton == "x"'
decide = "approve"

[[rules]]
name = "duration"
stages = [{ ask = ["finance"], within = "soon" }]

[[rules]]
name = "nobody"
stages = [{ ask = ["ghosts"], within = "1h" }]

[[rules]]
name = "quorum"
approvals = 3
stages = [{ ask = ["finance"], within = "1h" }]

[[rules]]
name = "neither"

[[rules]]
name = "typo"
decide = "aprove"
"""
FAULTY_TEXTS = [
    'issuer = "gate', "surprise = 1", '"Bad Client"', 'id = "both"', 'id = "owned"', "not an address", "'action =='",
    "acton", '"soon"', '"ghosts"', 'name = "quorum"', 'name = "neither"', '"aprove"',
]  # fmt: skip

SMALL = """\
issuer = "https://gate.example.test"

[[clients]]
id = "agent"
rate_per_minute = 60000

[[reviewers]]
id = "bob"
roles = ["finance"]

[[rules]]
name = "known"
when = 'action == "known.thing"'
decide = "approve"
examples = [{ action = "known.thing" }]
"""


def with_rule(name, action, decide="approve"):
    return SMALL + f'\n[[rules]]\nname = "{name}"\nwhen = \'action == "{action}"\'\ndecide = "{decide}"\n'


def status_of(agent, action):
    return agent.asked(action)["status"]


def lines_of(text, parts):
    """The first and last line of the table that each part stands in: a fault may be told at the key or at its table."""
    lines, ranges = text.splitlines(), []
    for part in parts:
        number = next(number for number, line in enumerate(lines, 1) if part in line)
        start = max((n for n, line in enumerate(lines[:number], 1) if line.startswith("[[")), default=1)
        ranges.append(range(start, number + 1) if start > 1 else range(number, number + 1))
    return ranges


def test_check_reports_every_fault_with_its_line(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(FAULTY)
    ran = placet("policy", "check", path)
    assert ran.returncode in (1, 2), ran
    told = {int(number) for number in re.findall(r"(?:line |:)(\d+)", ran.stdout + ran.stderr)}
    for part, lines in zip(FAULTY_TEXTS, lines_of(FAULTY, FAULTY_TEXTS)):
        assert told & set(lines), (part, lines, ran.stdout + ran.stderr)


def test_an_example_that_misses_its_rule_is_a_fault(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(
        SMALL.replace('examples = [{ action = "known.thing" }]', 'examples = [{ action = "another.thing" }]')
    )
    ran = placet("policy", "check", path)
    assert ran.returncode in (1, 2) and "known" in ran.stdout + ran.stderr, ran


def test_check_passes_what_is_right_and_warns_of_approval_by_silence(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text(SMALL)
    assert placet("policy", "check", path).returncode == 0
    path.write_text(SHARED)
    ran = placet("policy", "check", path)
    assert ran.returncode == 0, ran
    assert "on_timeout" in ran.stdout + ran.stderr


def test_check_of_what_is_not_toml_names_the_line(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(SMALL + "\n[[rules\n")
    ran = placet("policy", "check", path)
    assert ran.returncode in (1, 2), ran
    assert re.search(rf"(line |:){len(SMALL.splitlines()) + 2}\b", ran.stdout + ran.stderr), ran


def test_check_of_a_file_that_is_not_there_says_so(tmp_path):
    ran = placet("policy", "check", tmp_path / "none.toml")
    assert ran.returncode in (2, 3) and "none.toml" in ran.stderr, ran


def test_explain_says_which_rule_a_request_hits(tmp_path):
    policy_path, request = tmp_path / "placet.toml", tmp_path / "request.json"
    policy_path.write_text(SHARED)
    for action, payload, rule in (
        ("refund.create", {"amount": 5}, "small refunds"), ("ask.pay", {}, "people"), ("auto.reject", {}, "auto no"),
    ):  # fmt: skip
        request.write_text(json.dumps({"request_id": "r", "summary": "s", "action": action, "payload": payload}))
        ran = placet("policy", "explain", policy_path, request)
        assert ran.returncode == 0 and rule in ran.stdout, ran
        as_json = placet("policy", "explain", policy_path, request, "--json")
        assert as_json.returncode == 0 and rule in json.dumps(json.loads(as_json.stdout)), as_json
    request.write_text(json.dumps({"request_id": "r", "summary": "s", "action": "nothing.like.it", "payload": {}}))
    ran = placet("policy", "explain", policy_path, request)
    assert "reject" in ran.stdout.lower(), ran


def test_a_running_gate_takes_up_a_changed_file(local_gate):
    gate = local_gate(SMALL).start()
    agent = gate.client("agent")
    assert status_of(agent, "new.thing") == "rejected"
    gate.policy.write_text(with_rule("new", "new.thing"))
    wait_until(lambda: status_of(agent, "new.thing") == "approved", 15, "the new rule")
    # An editor that writes beside it and renames is understood too.
    beside = gate.folder / "placet.toml.new"
    beside.write_text(with_rule("newer", "newer.thing"))
    os.replace(beside, gate.policy)
    wait_until(lambda: status_of(agent, "newer.thing") == "approved", 15, "the newer rule")
    assert status_of(agent, "new.thing") == "rejected"
    installed = [entry for entry in gate.audit() if entry["event"] == "policy.installed"]
    assert len(installed) == 3, installed


def test_a_broken_file_keeps_the_old_policy_and_says_why(local_gate):
    gate = local_gate(SMALL).start()
    agent = gate.client("agent")
    before = len(gate.logs())
    gate.policy.write_text(SMALL + '\n[[rules]]\nname = "all"\nwhen = \'acton == "x"\'\ndecide = "approve"\n')
    said = wait_until(lambda: (text := gate.logs()[before:]) and "acton" in text and text, 15, "the reason on stderr")
    for line in filter(None, said.splitlines()):
        json.loads(line)
    assert status_of(agent, "known.thing") == "approved" and status_of(agent, "x") == "rejected"
    gate.policy.write_text("not = [toml")
    wait_until(lambda: len(gate.logs()) > before + len(said), 15, "the second reason on stderr")
    assert status_of(agent, "known.thing") == "approved"
    gate.policy.unlink()
    assert status_of(agent, "known.thing") == "approved"
    gate.policy.write_text(with_rule("new", "new.thing"))
    wait_until(lambda: status_of(agent, "new.thing") == "approved", 15, "the mended policy")


def test_a_file_whose_example_fails_is_not_taken_up(local_gate):
    gate = local_gate(SMALL).start()
    agent = gate.client("agent")
    before = len(gate.logs())
    text = SMALL.replace("[[rules]]", '[[rules]]\nname = "first"\ndecide = "approve"\n\n[[rules]]')
    gate.policy.write_text(text)
    wait_until(lambda: "example" in gate.logs()[before:], 15, "the reason on stderr")
    assert status_of(agent, "anything.else") == "rejected"


def test_a_gate_does_not_start_on_a_broken_policy(tmp_path):
    path = tmp_path / "placet.toml"
    path.write_text(FAULTY)
    ran = placet("serve", "--policy", path, "--data", tmp_path / "data", "--listen", "127.0.0.1:0", seconds=20)
    assert ran.returncode in (1, 2, 3) and "acton" in ran.stderr, ran
    assert "ready" not in ran.stdout


def test_a_pushed_policy_is_taken_up_by_a_running_gate(local_gate, tmp_path):
    gate = local_gate(None)
    path = tmp_path / "pushed.toml"
    path.write_text(SMALL)
    assert gate.cli("policy", "push", path).returncode == 0
    gate.start()
    agent = gate.client("agent")
    assert status_of(agent, "known.thing") == "approved" and status_of(agent, "new.thing") == "rejected"
    path.write_text(with_rule("new", "new.thing"))
    ran = gate.cli("policy", "push", path)
    assert ran.returncode == 0, ran
    wait_until(lambda: status_of(agent, "new.thing") == "approved", 15, "the pushed policy")
    assert [entry["event"] for entry in gate.audit()].count("policy.installed") == 2
    path.write_text(FAULTY)
    refused = gate.cli("policy", "push", path)
    assert refused.returncode in (1, 2) and "acton" in refused.stdout + refused.stderr, refused
    assert status_of(agent, "new.thing") == "approved"
    gate.stop()
    gate.start()
    assert status_of(gate.client("agent"), "new.thing") == "approved"
