"""`placet practice`: the link that it prints, for whom and for how long."""

import json
import re
import time

from placet_client import Link, moment, wait_until


def test_it_prints_a_link_of_that_reviewer_s_for_a_day(local_gate):
    gate = local_gate().start()
    before = gate.settled_dump()
    ran = gate.cli("practice", "bob")
    assert ran.returncode == 0, ran
    (url,) = ran.stdout.split()
    assert "for bob alone" in ran.stderr and "nothing is recorded" in ran.stderr, ran
    page = Link(gate.http, url).page()
    assert page.status == 200 and "Practice 1 of" in page.text and "for Bob" in re.sub("<[^>]+>", "", page.text)
    for name, wanted in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-robots-tag", "noindex, nofollow"),
    ]:
        assert page.headers[name] == wanted

    ran = gate.cli("practice", "bob", "--json")
    said = json.loads(ran.stdout)
    assert said["reviewer"] == "bob" and "/practice/" in said["link"]
    assert abs(moment(said["expires_at"]) - time.time() - 86_400) < 60
    assert gate.settled_dump() == before


def test_it_refuses_what_it_does_not_know(local_gate):
    gate = local_gate().start()
    ran = gate.cli("practice", "nobody", "--json")
    assert (ran.returncode, json.loads(ran.stdout)["error"]["code"]) == (1, "no_such_reviewer"), ran
    ran = gate.cli("practice")
    assert ran.returncode == 2 and "REVIEWER" in ran.stderr, ran
    ran = gate.cli("practice", "bob", "--url", gate.url)
    assert ran.returncode == 2 and "--data" in ran.stderr, ran


def test_a_link_ends_with_the_keys_and_with_its_reviewer(local_gate):
    gate = local_gate().start()
    link = Link(gate.http, gate.practice("bob"))
    assert link.page().status == 200
    gate.rotate()
    assert link.page().status == 200, "a link lives through one rotation"
    gate.rotate()
    gone = link.page()
    assert gone.status == 410 and "opens for a day" in gone.text, gone


def test_a_raised_generation_voids_it(local_gate):
    gate = local_gate().start()
    link = Link(gate.http, gate.practice("bob"))
    text = gate.policy.read_text()
    gate.push_policy(text.replace('id = "bob"', 'id = "bob"\ngeneration = 2', 1))
    answer = wait_until(lambda: (page := link.page()).status != 200 and page, 10, "the new policy")
    assert answer.status == 404 and "opens nothing" in answer.text, answer
