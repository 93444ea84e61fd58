"""How many calls each operation makes to AWS, on warm functions: counted here, and written down in the README."""

import re
from pathlib import Path

import pytest
from placet_client import wait_until

TABLE = Path(__file__).parent / "README.md"


class Counter:
    """Counts what the two functions that answer people and programs call, apart from what happens later."""

    def __init__(self, gate):
        self.gate = gate
        self.keys = [gate.session(name)["aws_access_key_id"] for name in ("request", "decide")]

    def now(self):
        counts = [self.gate.proxy.count(key) for key in self.keys]
        return counts[0] + counts[1]

    def of(self, act):
        before = self.now()
        result = act()
        made = self.now() - before
        return {name: made[name] for name in sorted(made)}, result


@pytest.fixture
def gate(own_gate):
    gate = own_gate()
    gate.agent, gate.jira = gate.client("agent"), gate.client("jira")
    warm = gate.agent.asked()
    gate.link(warm, "bob").approve()
    gate.agent.redeem(gate.agent.state(warm["request_id"])["token"])
    return gate


def written_down():
    table = TABLE.read_text().partition("| operation | calls |\n| --- | --- |\n")[2]
    return dict(re.findall(r"^\| ([^|]+?) \| ([^|]*?) \|$", table, re.MULTILINE))


def spelled(calls):
    return ", ".join(f"{count} × {name}" for name, count in calls.items()) or "none"


def fresh(gate, counter, act):
    """Counted right after a call that has refreshed what a function keeps for seconds: policy, subscriptions."""
    gate.agent.asked("auto.reject")
    gate.http.send("GET", f"/r/{'0' * 44}1")
    return counter.of(act)


def test_the_calls_of_each_operation_are_those_that_are_written_down(gate):
    counter, counted = Counter(gate), {}

    def count(name, act):
        calls, result = fresh(gate, counter, act)
        counted[name] = spelled(calls)
        return result

    asked = count("ask, and people are asked", gate.agent.asked)
    decided = count("ask, and policy decides", lambda: gate.agent.asked("auto.approve"))
    count("ask again, with another body", lambda: gate.agent.ask(request_id=decided["request_id"]))
    link = gate.link(asked, "bob")
    nonce = count("open the review page", link.nonce)
    count("decide", lambda: link.post("approve", nonce))
    token = count("read the state", lambda: gate.agent.state(asked["request_id"]))["token"]
    count("verify a token", lambda: gate.agent.verify(token))
    count("redeem a token", lambda: gate.agent.redeem(token))
    withdrawn = gate.agent.asked()
    count("cancel", lambda: gate.agent.cancel(withdrawn["request_id"]))
    count("list", gate.agent.list)
    queued = gate.agent.asked("queue.pay")
    count("answer from a queue", lambda: gate.jira.decision(queued["request_id"], "approve", client="agent"))
    count("JWKS", lambda: gate.http.send("GET", "/.well-known/jwks.json"))
    count("health", lambda: gate.http.send("GET", "/healthz"))
    print("\n".join(f"| {name} | {calls} |" for name, calls in counted.items()))
    assert counted == written_down()


def test_a_long_poll_reads_seldom(gate):
    counter = Counter(gate)
    asked = gate.agent.asked()
    calls, answer = counter.of(lambda: gate.agent.get(asked["request_id"], wait=10))
    assert answer.json()["status"] == "pending"
    print(calls)
    assert sum(calls.values()) <= 25, calls


def test_a_call_after_the_policy_has_aged_asks_for_a_newer_one_and_for_nothing_else(gate):
    counter = Counter(gate)
    gate.agent.asked("auto.reject")

    def counts_a_query():
        calls, _ = counter.of(lambda: gate.agent.asked("auto.reject"))
        return calls if "dynamodb.Query" in calls else None

    calls = wait_until(counts_a_query, 30, "the policy to be asked for again")
    assert set(calls) <= {"dynamodb.Query", "dynamodb.TransactWriteItems"}, calls
