"""A policy that is changed while the gate serves: what is asked from then on follows it, what waits keeps its rule."""

import policy
from placet_client import Form, check_problem, new_id, wait_until


def without_client(text, client_id):
    start = text.index(f'[[clients]]\nid = "{client_id}"')
    return text[:start] + text[text.index("[[clients]]", start + 5) :]


def test_a_pushed_policy_is_taken_up_and_recorded(own_gate):
    gate = own_gate()
    agent = gate.client("agent")
    assert agent.asked("new.thing")["status"] == "rejected"
    rule = '\n[[rules]]\nname = "new"\nwhen = \'action == "new.thing"\'\ndecide = "approve"\n'
    gate.push_policy(policy.shared(gate.pace) + rule)
    wait_until(lambda: agent.asked("new.thing")["status"] == "approved", 15, "the new rule")
    assert [entry["event"] for entry in gate.audit()].count("policy.installed") == 2


def test_a_client_taken_out_of_the_policy_is_unknown(own_gate):
    gate = own_gate()
    other, agent = gate.client("other"), gate.client("agent")
    assert other.list().status == 200
    gate.push_policy(without_client(policy.shared(gate.pace), "other"))
    wait_until(lambda: other.list().status == 401, 15, "the client to be gone")
    check_problem(other.list(), 401, "unknown_client")
    assert agent.list().status == 200


def test_what_is_pending_keeps_the_rule_it_was_asked_under(own_gate):
    gate = own_gate()
    agent = gate.client("agent")
    asked = agent.asked("two.pay")
    bob, carol = gate.link(asked, "bob"), gate.link(asked, "carol")
    text = policy.shared(gate.pace)
    assert "approvals = 2\nstages = [{ ask" in text
    gate.push_policy(text.replace("approvals = 2\nstages = [{ ask", "approvals = 1\nstages = [{ ask"))

    def one_is_enough_now():
        fresh = agent.asked("two.pay", request_id=new_id())
        return gate.link(fresh, "bob").approve()["status"] == "approved"

    wait_until(one_is_enough_now, 15, "the changed quorum")
    assert bob.approve()["status"] == "pending"
    assert carol.approve()["status"] == "approved"


def test_a_reviewer_who_left_decides_no_more(own_gate):
    gate = own_gate()
    agent = gate.client("agent")
    asked = agent.asked()
    bob, carol = gate.link(asked, "bob"), gate.link(asked, "carol")
    nonce = bob.nonce()
    # Somebody else has to take the place, or the rules that need two people would be at fault.
    text = policy.shared(gate.pace).replace(
        'phone = "+15550100"\nroles = ["finance"]', 'phone = "+15550100"\nroles = []'
    )
    gate.push_policy(
        text.replace('email = "erin@example.com"\nroles = []', 'email = "erin@example.com"\nroles = ["finance"]')
    )
    wait_until(lambda: not Form(bob.page().text).seen, 15, "bob's page to offer nothing")
    check_problem(bob.post("approve", nonce), 410, "link_expired")
    assert agent.state(asked["request_id"])["status"] == "pending"
    assert carol.approve()["status"] == "approved"
