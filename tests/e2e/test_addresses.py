"""Where the local gate says it is, and whom it can only tell on its terminal."""

from local_gate import SHARED
from placet_client import wait_until


def test_the_issuer_is_the_policys_unless_a_public_url_is_given(gate, agent, local_gate):
    ended = agent.asked("auto.approve")
    assert agent.verify(ended["token"])["claims"]["iss"] == gate.issuer
    public = local_gate(arguments=("--public-url", "https://approve.example.net")).start()
    client = public.client("agent")
    asked = client.asked()
    assert public.message(asked, "bob")["url"].startswith("https://approve.example.net/r/")
    assert asked["status_url"].startswith("https://approve.example.net/v1/requests/")
    public.link(asked, "bob").approve()
    ended = client.state(asked["request_id"])
    assert client.verify(ended["token"])["claims"]["iss"] == "https://approve.example.net"


def test_a_reviewer_without_an_address_is_told_on_the_terminal(local_gate):
    gate = local_gate(SHARED.replace('email = "carol@example.com"\n', "")).start()
    asked = gate.client("agent").asked()
    gate.link(asked, "carol")
    found = wait_until(lambda: gate.messages(asked, "carol"), what="carol's message")
    assert [message["channel"] for message in found] == ["terminal"]
