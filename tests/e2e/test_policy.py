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


def test_check_passes_what_is_right_and_warns_of_what_is_risky(tmp_path):
    path = tmp_path / "good.toml"
    path.write_text(SMALL)
    assert placet("policy", "check", path).returncode == 0
    path.write_text(SHARED)
    ran = placet("policy", "check", path)
    assert ran.returncode == 0, ran
    assert "`payload.amount` has no smallest value" in ran.stdout and "warn" in ran.stdout, ran


def test_silence_cannot_be_made_to_approve(tmp_path):
    path = tmp_path / "silent.toml"
    rule = '\n[[rules]]\nname = "lapse"\nstages = [{ ask = ["finance"], within = "1h" }]\n'
    for word in ("approve", "reject"):
        path.write_text(SMALL + rule + f'on_timeout = "{word}"\n')
        ran = placet("policy", "check", path)
        assert ran.returncode == 1 and "silence never approves" in ran.stdout, ran
    path.write_text(SMALL + rule)
    assert placet("policy", "check", path).returncode == 0


# What is wrong, where (line and column of the file, from 1), and what is told.
RULE = '\n[[rules]]\nname = "r"\nwhen = \'CONDITION\'\ndecide = "reject"\n'
TOP = len(SMALL.splitlines())
MISTAKES = [
    (RULE.replace("CONDITION", "action = 1"), (TOP + 4, 16), "write `==`"),
    (RULE.replace("CONDITION", "action == \"x\" and client == \"y\""), (TOP + 4, 23), "write `&&`"),
    (RULE.replace("CONDITION", "acton == \"x\""), (TOP + 4, 9), "did you mean `action`?"),
    (RULE.replace("CONDITION", "payload.n"), (TOP + 4, 9), None),
    (RULE.replace("CONDITION", "size(action)"), (TOP + 4, 9), "must be true or false"),
    (RULE.replace("CONDITION", "action.matches(\"(?i)müller\")"), (TOP + 4, 24), "ASCII letters"),
    (RULE.replace("CONDITION", "action.matches(client)"), (TOP + 4, 24), "must be written in the policy"),
    (RULE.replace("CONDITION", "action.matches(\"a{1000}\")"), (TOP + 4, 24), "200 at most"),
    (RULE.replace("CONDITION", "(" * 40 + "true" + ")" * 40), (TOP + 4, 41), "nests more than"),
    ("\n[rules2]\n", (TOP + 2, 2), "no key `rules2`"),
    ('\n[[clients]]\nid = "x"\nowner = "bob"\nrole = ["requester"]\n', (TOP + 5, 1), "did you mean `roles`?"),
    ('\n[[clients]]\nid = "x"\nowner = "bob"\ncallback_hosts = ["example.com:x"]\n', (TOP + 5, 19), "not a port"),
    ('\n[[clients]]\nid = "x"\nowner = "bo"\n', (TOP + 4, 9), "did you mean `bob`?"),
    ('\n[[clients]]\nid = "x"\nowner = "bob"\nexecutors = ["agent"]\n', (TOP + 5, 14), "role `executor`"),
    ('\n[[clients]]\nid = "x"\nowner = "bob"\nroles = ["decider"]\n', (TOP + 5, 9), "a decider needs `queues`"),
    ('\n[[reviewers]]\nid = "x"\nslak = "U1"\n', (TOP + 4, 1), "no key `slak`"),
    (
        '\n[[rules]]\nname = "h"\nstages = [{ ask = ["finance"], within = "1h", hours = "7-20" }]\n',
        (TOP + 4, 55), "07:00-20:00",
    ),
    ('\n[[rules]]\nname = "q"\nstages = [{ queue = "none", within = "1h" }]\n', (TOP + 4, 21), "nobody can answer"),
]  # fmt: skip


def test_each_mistake_is_told_with_its_place_and_what_was_meant(tmp_path):
    path = tmp_path / "bad.toml"
    for added, (line, column), told in MISTAKES:
        path.write_text(SMALL + added)
        plain, ran = placet("policy", "check", path), placet("--json", "policy", "check", path)
        if told is None:
            assert plain.returncode == 0, (added, plain)
            continue
        assert plain.returncode == ran.returncode == 1, (added, plain)
        found = json.loads(ran.stdout)
        assert found["valid"] is False, found
        assert (line, column) in [(fault["line"], fault["column"]) for fault in found["faults"]], (added, found)
        assert told in plain.stdout and told in json.dumps(found, ensure_ascii=False), (added, plain.stdout)
        text = path.read_text().splitlines()[line - 1]
        rows = plain.stdout.splitlines()
        shown = next(index for index, row in enumerate(rows) if row.endswith("| " + text))
        assert rows[shown + 1].index("^") - rows[shown].index(text) == column - 1, plain.stdout


def test_dead_ends_are_found_with_their_lines(tmp_path):
    path = tmp_path / "dead.toml"
    people = SMALL.replace('id = "agent"', 'id = "agent"\nowner = "bob"')
    ask = '\n[[rules]]\nname = "{}"\nstages = [{{ ask = ["finance"], within = "1h" }}]\n'
    desk = '\n[[clients]]\nid = "desk"\nroles = ["decider"]\nqueues = ["backup"]\n'
    queue = '\n[[rules]]\nname = "q"\napprovals = 2\nstages = [\n  { queue = "backup", within = "1h" },\n]\n'
    away = 'roles = ["finance"]\naway = [{ from = 2030-01-01, until = 2030-02-01 }]'
    top = len(people.splitlines())
    for text, line, told in (
        (people + ask.format("first") + ask.format("second"), top + 7, "never reached"),
        (SMALL + SMALL[SMALL.index("[[rules]]"):].replace('"known"', '"again"').split("examples")[0], None, "same condition"),
        (people + ask.format("own"), top + 4, "`bob` owns that client"),
        (SMALL + desk + queue, None, "decides alone"),
        (SMALL + desk + queue, None, "decider `desk` has no owner"),
        (SMALL, 4, "client `agent` has no owner"),
        (SMALL.replace('roles = ["finance"]', away) + ask.format("alone"), None, "from 2030-01-01 on only none"),
        (SMALL + ask.format("hours").replace('"1h"', '"1h", hours = "07:00-20:00 UTC"'), None, "every stage has hours"),
        (SMALL.replace('action == "known.thing"', 'action == "known.thing" && payload.x.amount < 5'), None, "smallest"),
        (SMALL.replace('action == "known.thing"', 'action == "known.thing" && payload.amount == 5'), None, "currency"),
    ):  # fmt: skip
        path.write_text(text.replace('examples = [{ action = "known.thing" }]', ""))
        ran = placet("--json", "policy", "check", path)
        found = json.loads(ran.stdout)
        assert ran.returncode == 0 and found["valid"] is True, (told, found)
        lines = [warning["line"] for warning in found["warnings"] if told in warning["message"]]
        assert lines, (told, found)
        if line is not None and "examples" not in text[: text.index("[[rules]]")]:
            assert line - text.count("examples") in (lines[0], lines[0] - 1, lines[0] + 1), (told, lines, line)


def test_files_that_are_not_a_policy_say_so(tmp_path):
    path = tmp_path / "odd.toml"
    for content, place, told in (
        (b"", ":1:1", "the policy is empty"),
        (b"# nothing\n", ":1:1", "the policy is empty"),
        (b'issuer = "https://gate.example"\nname = "M\xfcller"\n', ":2:10", "not UTF-8"),
        ("issuer = 1".encode("utf-16"), ":1:1", "UTF-16"),
        (b"[rules]\nname = 'x'\n", ":1:1", "two brackets"),
    ):
        path.write_bytes(content)
        ran = placet("policy", "check", path)
        assert ran.returncode == 1 and place in ran.stdout and told in ran.stdout, (content, ran)
        as_json = placet("--json", "policy", "check", path)
        assert as_json.returncode == 1 and json.loads(as_json.stdout)["faults"], as_json


def test_explain_refuses_what_the_gate_refuses_and_says_what_it_would_evaluate(tmp_path):
    policy_path, request = tmp_path / "placet.toml", tmp_path / "request.json"
    typed = '\n[[rules]]\nname = "whole"\nwhen = \'type(payload.amount) == int && payload.amount < 100\'\ndecide = "approve"\n'
    policy_path.write_text(SMALL + typed)
    for body, told in (
        ('{"acton": "known.thing"}', "acton"),
        ('{"action": "known thing"}', "dotted name"),
        ('{"action": "known.thing", "action": "x"}', "appears twice"),
        ('{"payload": {"n": 100000000000000000001}}', "payload.n"),
        ('{"payload": {"n": 1E30}}', "payload.n"),
        ('{"payload": {"n": 1e400}}', "JSON"),
        ('{"payload": [1]}', "payload"),
        ('{"payload": "x"}', "payload"),
        ('{"metadata": {"run": 7}}', "metadata.run"),
        ('{"summary": ""}', "summary"),
        ('{"request_id": "a b"}', "request_id"),
        ('{"callback_url": "http://169.254.169.254/"}', "callback_url"),
        ('{"timeout_seconds": 0}', "timeout_seconds"),
        ('{"client": "nobody"}', "nobody"),
        ('{"auto_approve": true}', "auto_approve"),
        ("[1]", "object"),
        ("{", "JSON"),
    ):
        request.write_text(body)
        ran = placet("policy", "explain", policy_path, request)
        assert ran.returncode in (1, 2) and told in ran.stderr and "matches" not in ran.stdout, (body, ran)
    for amount in (50, 50.0):
        request.write_text(json.dumps({"action": "x.y", "payload": {"amount": amount}}))
        ran = placet("--json", "policy", "explain", policy_path, request)
        found = json.loads(ran.stdout)
        assert ran.returncode == 0 and found["rule"] is None, found
        assert [step["result"] for step in found["tested"]] == ["does not match", "does not match"], found


def test_the_gate_and_explain_evaluate_alike(local_gate, tmp_path):
    rules = "".join(
        f'\n[[rules]]\nname = "{name}"\nwhen = \'action == "{name}" && ({condition})\'\ndecide = "approve"\n'
        for name, condition in CONDITIONS.items()
    )
    gate = local_gate(SMALL + rules).start()
    agent = gate.client("agent")
    request = tmp_path / "request.json"
    for name in CONDITIONS:
        for payload in PAYLOADS:
            body = {"action": name, "payload": payload}
            request.write_text(json.dumps(body))
            told = json.loads(placet("--json", "policy", "explain", gate.policy, request).stdout)
            asked = agent.asked(name, payload)
            approved = bool(told["tested"]) and told["tested"][-1]["result"] == "matches"
            assert (asked["status"] == "approved") == approved, (name, payload, told, asked)
            assert asked["rule"] == told["rule"], (name, payload, told, asked)


CONDITIONS = {
    "type.int": "type(payload.n) == int",
    "type.double": "type(payload.n) == double",
    "division": "payload.n / 10 <= 20",
    "sum": "payload.n + 1 == 210",
    "even": "int(payload.n) % 2 == 1",
    "text": 'string(payload.n) == "209"',
    "list": "payload.items.all(i, i < 5)",
    "letters": 'payload.to.lowerAscii().trim() == "acme"',
    "pattern": 'payload.to.matches("(?i)acme")',
    "due": "timestamp(payload.due) < now",
}
PAYLOADS = [
    {"n": 209, "items": [1, 2.5], "to": " ACME ", "due": "2020-01-01T00:00:00Z"},
    {"n": 209.0, "items": [], "to": "acme", "due": "2999-01-01T00:00:00Z"},
    {"n": "209", "items": [1, "x"], "to": 7, "due": "yesterday"},
    {"n": -1.5, "items": {"a": 1}},
    {},
]


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
