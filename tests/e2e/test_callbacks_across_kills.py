"""Callbacks of a gate that is killed between two tries, how soon it tries again, and exempt ports."""

import threading

from placet_client import check_problem, wait_until
from receiver import free_port


def ids(deliveries):
    return {delivery.id for delivery in deliveries}


def test_a_caller_that_is_not_yet_waiting_is_tried_again_quickly(agent, receiver):
    """n8n answers 409 while it still stores the run that is to be resumed."""
    url = receiver.address(409, 409, 200)
    agent.asked("auto.approve", callback_url=url)
    tries = receiver.wait(url, 3, 10)
    assert tries[2].at - tries[0].at < 3 and len(ids(tries)) == 1


def test_a_retry_survives_a_killed_gate(local_gate, receiver):
    gate = local_gate(port=free_port()).start()
    agent, url = gate.client("agent"), receiver.address(503, 503, 200)
    asked = agent.asked(callback_url=url)
    gate.link(asked, "bob").approve()
    ended = agent.state(asked["request_id"])
    receiver.wait(url)
    gate.kill()
    gate.start()
    tries = wait_until(
        lambda: (found := receiver.received(url)) and len(found) >= 3 and found, 30, "the retries of the restarted gate"
    )
    assert len(ids(tries)) == 1 and all(delivery.approval == ended for delivery in tries)


def test_a_callback_that_was_never_tried_survives_a_killed_gate(local_gate, receiver):
    gate = local_gate(port=free_port()).start()
    agent, hold = gate.client("agent"), threading.Event()
    url = receiver.address(hold=hold)
    asked = agent.asked(callback_url=url)
    gate.link(asked, "bob").approve()
    gate.kill()
    hold.set()
    gate.start()
    found = wait_until(lambda: receiver.received(url), 20, "the callback")
    assert found[-1].approval == agent.state(asked["request_id"])


def test_a_host_may_be_exempt_with_one_port_only(local_gate, receiver):
    text = """
[[clients]]
id = "agent"
callback_hosts = ["127.0.0.1:PORT"]

[[rules]]
name = "all"
when = 'true'
decide = "reject"
""".replace("PORT", str(receiver.port))
    agent = local_gate(text).start().client("agent")
    url = receiver.address()
    assert agent.ask("x.y", callback_url=url).status == 201
    receiver.wait(url)
    check_problem(agent.ask("x.y", callback_url=f"http://127.0.0.1:{receiver.port - 1}/"), 422, "invalid_request")


def test_hooks_survive_a_restart(local_gate, receiver):
    gate = local_gate(port=free_port()).start()
    agent, url = gate.client("agent"), receiver.address()
    agent.hook(url)
    gate.kill()
    gate.start()
    asked = agent.asked("auto.approve")
    receiver.wait(url)
    assert receiver.received(url)[0].approval["approval_id"] == asked["approval_id"]
