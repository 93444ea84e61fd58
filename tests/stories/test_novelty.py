"""What is new about a request, on its page: first of its kind, another recipient, the difference, how often it is asked."""

import re
from html import unescape

import pytest
from placet_client import new_id, wait_until


def shown(gate, asked, reviewer="bob"):
    """What the page says is new, as its reader reads it; none where it says nothing."""
    page = gate.link(asked, reviewer).page()
    assert page.status == 200 and len(page.body) < 30_000, (page.status, len(page.body))
    found = re.search(r'<div class="changed news"[^>]*>(.*?)</div>', page.text, re.S)
    return (
        found
        and re.sub(
            r"\s+", " ", unescape(re.sub(r"<[^>]+>", "", re.sub(r"</?(p|li|ul)[^>]*>", " ", found.group(1))))
        ).strip()
    )


def says(gate, asked, *words):
    """Waits until the page says all of that: on AWS the list of a client's requests may be a moment behind."""

    def all_of_them():
        said = shown(gate, asked) or ""
        return said if all(part in said for part in words) else None

    return wait_until(all_of_them, 15, f"{words} on the page")


@pytest.fixture
def pay(newcomer):
    """Asks for a payment of an action that nobody else has, so that no other test's is an earlier one. The client is that of these
    tests alone: the gate looks back at its last 50 requests, and the clients of other tests ask more than that."""
    action = f"ask.{new_id('novel').replace('-', '_').lower()}"
    return lambda **payload: newcomer.asked(action, payload=payload)


def test_the_first_of_its_kind_is_said_until_one_was_approved(gate, pay):
    first = pay(to="ACME GmbH", amount=5000, currency="EUR")
    says(gate, first, "First time: nothing of this kind was approved")
    gate.link(first, "bob").reject()
    says(gate, pay(to="ACME GmbH", amount=5000, currency="EUR"), "First time")
    again = pay(to="ACME GmbH", amount=5000, currency="EUR", n=1)
    gate.link(again, "bob").approve()
    said = says(gate, pay(to="ACME GmbH", amount=1, currency="EUR"), "5,000.00 EUR → 1.00 EUR")
    assert "First time" not in said


def test_only_what_differs_from_the_last_approved_one_is_said(gate, pay):
    for amount in (3000, 4000):
        gate.link(
            pay(to="ACME GmbH", amount=amount, currency="EUR", meta={"ref": "A-1", "kept": True}, old=1), "bob"
        ).approve()
    asked = pay(to="ACME GmbH", amount=5000, currency="EUR", meta={"ref": "A-2", "kept": True})
    wanted = ("Since the last approved one", "4,000.00 EUR → 5,000.00 EUR", "A-1 → A-2", "1 → (nothing)")
    said = says(gate, asked, *wanted)
    assert "3,000" not in said and "kept" not in said and "ACME" not in said


def test_the_same_again_is_said(gate, pay):
    gate.link(pay(to="ACME GmbH", amount=5, currency="EUR"), "bob").approve()
    says(gate, pay(to="ACME GmbH", amount=5, currency="EUR"), "The same as the one that was approved")


def test_a_recipient_to_whom_nothing_went_is_said(gate, pay):
    gate.link(pay(to="ACME GmbH", amount=5, currency="EUR"), "bob").approve()
    said = says(
        gate, pay(to="Evil <b>Ltd", amount=5, currency="EUR"), "New: nothing approved lately went to Evil <b>Ltd"
    )
    assert "ACME" not in said
    said = says(gate, pay(to="ACME GmbH", amount=6, currency="EUR"), "5.00 EUR → 6.00 EUR")
    assert "New:" not in said


def test_what_hides_stays_hidden(gate, pay):
    gate.link(pay(to="ACME", key="sk-proj-4fJ2kq81Lx0aBcDe"), "bob").approve()
    asked = pay(to="ACME", key="sk-proj-9zQ7wm34Nv5yXhTu")
    said = says(gate, asked, "Key: [hidden ", "] → [hidden ")
    # Which secret it is stays hidden, that it is another one does not.
    then, now = re.findall(r"\[hidden ([0-9a-f]{8})\]", said)
    assert then != now
    page = gate.link(asked, "bob").page().text
    assert "4fJ2kq81Lx0aBcDe" not in page and "9zQ7wm34Nv5yXhTu" not in page


def test_who_asks_again_and_again_is_said_to_do_so(gate, pay):
    last = [pay(to="ACME", n=n) for n in range(5)][-1]
    assert re.search(r"\d+[a-z]{2} ask in 10 minutes", says(gate, last, "ask in 10 minutes"))


def test_an_ended_request_says_nothing_of_it(gate, pay):
    asked = pay(to="ACME", amount=5)
    gate.link(asked, "bob").approve()
    assert shown(gate, asked) is None
