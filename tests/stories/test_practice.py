"""A practice round: the ordinary page, the truth after each answer, and nothing of it anywhere else."""

import random
import re
import time
from html import unescape

from placet_client import Form, Link, check_approval, check_problem, new_id, wait_until

CASES = 12


def words(page):
    """What a person reads on it."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page.split("</style>")[-1].split("<script>")[0])).split())


def hidden(page):
    return Form(page.text).hidden["nonce"]


class Round(Link):
    """A reviewer at their practice link; what they see of each case, and what was true of it."""

    def __init__(self, http, url):
        super().__init__(http, url)
        self.cases = []

    def first(self):
        page = self.page()
        assert page.status == 200, page
        return page

    def answer(self, page, decision):
        """Answers the case that is shown; the page with its truth."""
        told = self.post(decision, hidden(page), accept="text/html")
        assert told.status == 200, told
        shown, truth = words(page.text), words(told.text)
        was_changed = "had been changed." in truth and "nothing had been changed." not in truth
        right = (decision == "reject") == was_changed
        assert ("Not right" not in truth) == right, truth
        # Nothing of the truth is on the page before the answer.
        assert "had been changed" not in shown and "<del>" not in page.text, shown
        self.cases.append((shown, was_changed, decision == "reject"))
        return told

    def next(self, told):
        page = self.post_fields({"nonce": hidden(told)}, accept="text/html")
        assert page.status == 200, page
        return page

    def play(self, decide):
        """A whole round; the last page."""
        page = self.first()
        for number in range(1, CASES + 1):
            assert f"Practice {number} of {CASES}" in words(page.text), page
            told = self.answer(page, decide(words(page.text)))
            page = self.next(told) if number < CASES else told
        return page

    def counts(self):
        """`hits of wrong`, `false alarms of right`, reckoned here."""
        found = {True: [0, 0], False: [0, 0]}
        for _, was_changed, was_rejected in self.cases:
            found[was_changed][0] += was_rejected
            found[was_changed][1] += 1
        return tuple(f"{rejected} of {cases}" for rejected, cases in (found[True], found[False]))


def test_a_round_tells_the_truth_after_each_answer_and_counts_right(gate):
    practice = Round(gate.http, gate.practice("olga"))
    chance = random.Random(5)
    end = words(practice.play(lambda _: chance.choice(["approve", "reject"])).text)
    hits, false_alarms = practice.counts()
    assert f"Changed, and rejected {hits} too few for a rate" in end, (hits, end)
    assert f"Right, but rejected {false_alarms} too few for a rate" in end, (false_alarms, end)
    assert "How it went: 12 cases" in end and "too few cases to rely on" in end
    changed = sum(was_changed for _, was_changed, _ in practice.cases)
    assert 4 <= changed <= 8
    # Each case is another one.
    assert len({shown.split("asks for your approval")[1] for shown, _, _ in practice.cases}) == CASES


def test_a_round_writes_nothing_and_reaches_nobody(own_gate, receiver):
    gate = own_gate()
    agent, auditor = gate.client("agent"), gate.client("auditor")
    hooked = receiver.address()
    gate.hook(auditor, hooked)
    asked = agent.asked("ask.pay", callback_url=(called := receiver.address()))
    gate.link(asked, "bob").approve()
    receiver.wait(called)
    receiver.wait(hooked, 2)
    outcome = check_approval(agent.state(asked["request_id"]))
    before = gate.settled_dump()
    report = without_times(auditor.call("GET", "/v1/report").json())
    told, queued = len(gate.messages()), len(gate.queue_messages())

    urls = [gate.practice(reviewer) for reviewer in ("bob", "carol", "olga")]
    for url in urls:
        for method in ("GET", "HEAD", "OPTIONS"):
            assert gate.http.send(method, Link(gate.http, url).path, {"Accept": "text/html"}).status < 500
        for decision in ("approve", "reject"):
            Round(gate.http, url).play(lambda _, decision=decision: decision)

    assert gate.settled_dump() == before
    assert (len(gate.messages()), len(gate.queue_messages())) == (told, queued)
    assert len(receiver.received(hooked)) == 2 and len(receiver.received(called)) == 1
    assert agent.state(asked["request_id"]) == outcome
    assert without_times(auditor.call("GET", "/v1/report").json()) == report
    # What is shown leads nowhere, and is nothing that a client could ask for.
    page = Round(gate.http, urls[0]).first().text
    assert "/r/" not in page and "/v1/" not in page and "eyJ" not in page
    for name in ("practice-1", "practice-12"):
        check_problem(agent.call("GET", f"/v1/requests/{name}"), 404, "not_found")
    assert not gate.inbox("bob").rows()


def without_times(report):
    """The report without the moment at which it was made."""
    return {name: value for name, value in report.items() if name not in ("from", "until", "before")}


def test_what_the_team_has_approved_makes_the_cases_of_those_who_could_decide_it(own_gate):
    gate = own_gate()
    agent = gate.client("agent")
    team = {}
    for number in range(14):
        amount, invoice = 1000 + 37 * number, f"INV-{3000 + 11 * number}"
        payload = {"amount": amount, "currency": "EUR", "invoice": invoice, "password": f"hunter2-{number}"}
        asked = agent.asked("ask.pay", payload, summary=f"Pay {amount:,} EUR for {invoice}")
        gate.link(asked, "bob").approve()
        team[invoice] = amount
    # Neither of these is known to be right.
    rejected = agent.asked("ask.pay", {"amount": 5}, summary="Pay 5 EUR for a rejected thing")
    gate.link(rejected, "bob").reject()
    agent.asked("ask.pay", {"amount": 6}, summary="Pay 6 EUR for what still waits")
    # The link is made to the second, and what it shows had ended before.
    begun = int(time.time())
    wait_until(lambda: time.time() > begun + 1, 5, "the next second")

    practice = Round(gate.http, gate.practice("bob"))
    practice.play(lambda shown: "approve" if matches(shown) else "reject")
    for shown, was_changed, was_rejected in practice.cases:
        assert "requests that your team has approved" in shown, shown
        # What can be seen is all that is needed to be right.
        assert was_changed == was_rejected, shown
        assert "hunter2" not in shown and "rejected thing" not in shown and "still waits" not in shown
        amount, invoice = re.search(r"Pay ([\d,]+) EUR for (INV-\d+)", shown).groups()
        assert team[invoice] == int(amount.replace(",", ""))
    # Somebody who is not asked such things sees none of them.
    others = Round(gate.http, gate.practice("dave"))
    others.play(lambda _: "approve")
    for shown, _, _ in others.cases:
        assert "The cases are made up." in shown and "INV-3" not in shown, shown


def matches(shown):
    """Whether the payload, as it is shown, is what the words say. The shown JSON is what would be hashed."""
    amount, invoice = re.search(r"Pay ([\d,]+) EUR for (INV-\d+)", shown).groups()
    payload = re.search(r"Payload as JSON[^{]*(\{.*?\})", shown).group(1)
    return f'"amount":{amount.replace(",", "")},' in payload and f'"invoice":"{invoice}"' in payload


def test_answers_count_only_as_they_were_signed_and_only_once(gate):
    practice = Round(gate.http, gate.practice("olga"))
    first = practice.first()
    told = practice.answer(first, "approve")
    # The same page pressed again says the same: nothing is counted twice.
    assert practice.post("approve", hidden(first), accept="text/html").text == told.text
    going_on = hidden(told)
    parts = going_on.split(".")
    forged = [
        ".".join(["0", "11", *parts[2:]]),
        ".".join([parts[0], parts[1], "9", "9", *parts[4:]]),
        ".".join(["0", "12", *parts[2:]]),
        going_on[:-1] + ("0" if going_on[-1] != "0" else "1"),
        hidden(Round(gate.http, gate.practice("ida")).first()),
        "", "x", "0.0.0.0.0.0", "99999999999.0.0.0.0.0.aa", "0.0.0.0.0.0.é",
    ]  # fmt: skip
    for nonce in forged:
        for fields in ({"nonce": nonce}, {"nonce": nonce, "decision": "approve"}):
            check_problem(practice.post_fields(fields), 422, "invalid_request")
            page = practice.post_fields(fields, accept="text/html")
            assert page.status == 422 and "The round begins anew" in words(page.text), page
            assert "Practice 1 of 12" in words(page.text)


def test_a_link_is_of_one_reviewer_and_ends(gate):
    url = gate.practice("olga")
    link = Link(gate.http, url)
    assert "for Olga" in words(link.page().text)
    text = link.name
    for wrong in (text[:-1], text + "1", text[:22] + "zzzzzz" + text[28:], text.swapcase(), new_id()):
        answer = Link(gate.http, url.replace(text, wrong)).page()
        assert answer.status == 404 and "opens nothing" in answer.text, (wrong, answer)
    for place in ("/r/", "/inbox/", "/report/"):
        assert gate.http.send("GET", link.path.replace("/practice/", place), {"Accept": "text/html"}).status in (
            404,
            410,
        )
