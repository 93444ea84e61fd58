"""MCP from the function `request`: official clients with tasks and without, and the same answers as on one machine."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import threading

import mcp
import pytest
from deploy import ROOT
from local_gate import LocalGate
from mcp_tasks import Leaves, Tasks, cancel_task, get_task, http
from placet_client import wait_until

POLICY = """
issuer = "https://gate.example.test"
clients = [
  { id = "mcp", bearer = true, token = "HS256", rate_per_minute = 60000 },
  { id = "mcp2", bearer = true },
  { id = "signed" },
  { id = "desk", bearer = true, roles = ["decider"], queues = ["backup"] },
]
reviewers = [{ id = "bob", name = "Bob", email = "bob@example.com", roles = ["finance"] }]
rules = [
  { name = "alone", when = 'action == "auto.approve"', decide = "approve" },
  { name = "people", stages = [{ ask = ["finance"], within = "20m" }] },
]
"""
PAYLOAD = {"to": "acme@example.com", "amount": 5000}
VERSION = "2026-07-28"
KNOWS_TASKS = {"extensions": {"io.modelcontextprotocol/tasks": {}}}
# Node 22 or newer, and the packages of the TypeScript client, where `tests/run` has put them.
NODE, NODE_MODULES = os.environ.get("NODE", "node"), os.environ.get("NODE_MODULES")
NODE_CLIENT = ROOT / "integrations/agents/typescript/test"


@pytest.fixture(scope="module")
def gate(request, backend):
    """One stack for all of this: its clients hold bearer keys."""
    made = request.config.pluginmanager.get_plugin("aws-session").own_gate()
    made.push_policy(POLICY)
    yield made
    made.kill()


@pytest.fixture(scope="module")
def keys(gate):
    return {name: f"{name}.{gate.secret(name)}" for name in ("mcp", "mcp2", "signed", "desk")}


@pytest.fixture
def opened(gate, keys):
    """Opens a session of the official client."""

    def make(*extensions, client="mcp"):
        to = http(f"http://{gate.http.host}:{gate.http.port}", keys[client], Host=gate.http.name)
        return mcp.Client(to, extensions=list(extensions))

    return make


def question(action, **more):
    return {"summary": "pay", "action": action, "payload": PAYLOAD, **more}


def waiting(gate, action):
    """The request for that action, once it waits."""
    rows = lambda: gate.client("mcp").list(status="pending", limit=100).json()["requests"]  # noqa: E731
    return wait_until(lambda: [row for row in rows() if row["action"] == action], 20, f"a request for {action}")[0]


def decide(gate, approval, decision):
    answer = gate.link(approval, "bob", seconds=20).vote(decision)
    assert answer.status == 200, answer


def test_an_agent_asks_waits_and_verifies(gate, opened):
    async def story():
        async with opened() as client:
            offered = (await client.list_tools()).tools
            assert [tool.name for tool in offered] == ["request_approval", "verify_token", "wait_for_approval"]
            asked = (await client.call_tool("request_approval", question("mcp.plain"))).structured_content
            assert (asked["status"], asked["token"]) == ("pending", None)
            await asyncio.to_thread(decide, gate, asked, "approve")
            wait = {"request_id": asked["request_id"], "wait_seconds": 45}
            ended = (await client.call_tool("wait_for_approval", wait)).structured_content
            assert (ended["status"], ended["decided_by"]) == ("approved", ["bob"])
            told = await client.call_tool("verify_token", {"token": ended["token"], "payload": PAYLOAD})
            assert told.structured_content["valid"] is True
            other = {"token": ended["token"], "payload": {**PAYLOAD, "amount": 1}}
            assert (await client.call_tool("verify_token", other)).structured_content["problem"] == "payload_mismatch"

    asyncio.run(story())


def test_a_wait_ends_by_itself_before_the_api_gives_up(opened):
    async def story():
        async with opened() as client:
            asked = (await client.call_tool("request_approval", question("mcp.slow"))).structured_content
            wait = {"request_id": asked["request_id"], "wait_seconds": 45}
            waited = await client.call_tool("wait_for_approval", wait)
            assert waited.is_error is False and waited.structured_content["status"] == "pending"

    asyncio.run(story())


@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_a_question_is_a_task_until_a_person_has_decided(gate, opened, decision):
    tasks, action = Tasks(), f"mcp.task.{decision}"

    async def story():
        async with opened(tasks) as client:
            asking = asyncio.create_task(client.call_tool("request_approval", question(action)))
            approval = await asyncio.to_thread(waiting, gate, action)
            await asyncio.to_thread(decide, gate, approval, decision)
            return approval, (await asking).structured_content

    approval, ended = asyncio.run(story())
    assert tasks.seen == [approval["approval_id"]] == [ended["approval_id"]]
    assert ended["status"] == {"approve": "approved", "reject": "rejected"}[decision]


def test_a_task_outlives_its_client_and_is_nobody_elses(gate, opened):
    left = Leaves()

    async def ask():
        async with opened(left) as client:
            await client.call_tool("request_approval", question("mcp.left"))

    async def look():
        async with opened(Tasks()) as client:
            return await get_task(client, left.seen[0])

    async def is_unknown(client_id):
        async with opened(Tasks(), client=client_id) as client:
            with pytest.raises(mcp.MCPError, match="no such task"):
                await get_task(client, left.seen[0])

    asyncio.run(ask())
    approval = waiting(gate, "mcp.left")
    assert left.seen == [approval["approval_id"]]
    assert asyncio.run(look()).status == "working"
    asyncio.run(is_unknown("mcp2"))
    decide(gate, approval, "approve")
    ended = asyncio.run(look())
    assert (ended.status, ended.result["structuredContent"]["status"]) == ("completed", "approved")


def test_what_policy_decides_alone_is_an_answer_and_no_task(opened):
    tasks = Tasks()

    async def story():
        async with opened(tasks) as client:
            return await client.call_tool("request_approval", question("auto.approve"))

    assert asyncio.run(story()).structured_content["status"] == "approved" and tasks.seen == []


def test_a_cancel_that_races_a_decision_ends_it_once(gate, opened):
    """Whoever is first: the task, the approval and the reviewer's page say the same, and only one of both was heard."""
    for race in range(6):
        left, action = Leaves(), f"mcp.race.{race}"

        async def ask(left=left, action=action):
            async with opened(left) as client:
                await client.call_tool("request_approval", question(action))

        async def cancel(task_id):
            async with opened(Tasks()) as client:
                starting.wait()
                await cancel_task(client, task_id)
                return await get_task(client, task_id)

        asyncio.run(ask())
        approval = waiting(gate, action)
        link = gate.link(approval, "bob", seconds=20)
        nonce, starting, voted = link.nonce(), threading.Barrier(2), []

        def vote(link=link, nonce=nonce, starting=starting, voted=voted):
            starting.wait()
            voted.append(link.post("approve", nonce).status)

        voter = threading.Thread(target=vote)
        voter.start()
        task = asyncio.run(cancel(left.seen[0]))
        voter.join()
        state = gate.client("mcp").state(approval["request_id"])
        assert (task.status, voted, state["status"]) in [
            ("completed", [200], "approved"),
            ("cancelled", [409], "cancelled"),
        ]
        assert state["approved"] is (state["status"] == "approved")
        assert [entry["event"] for entry in gate.endings_of(approval)] == [f"request.{state['status']}"]


# ---------------------------------------------------------------- message by message


class Raw:
    """Sends messages as they are to a gate's `/mcp`, as one client."""

    def __init__(self, gate, key):
        self.http, self.key = gate.http, key

    def send(self, body=None, method="POST", key=None, **headers):
        every = {
            "Authorization": f"Bearer {key or self.key}", "Content-Type": "application/json",
            "Accept": "application/json, text/event-stream",
        }  # fmt: skip
        every |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = None if body is None else json.dumps(body).encode()
        return self.http.send(method, "/mcp", {name: value for name, value in every.items() if value}, raw)

    def old(self, method, params=None, **headers):
        return self.send({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}, **headers)

    def new(self, method, params=None, capabilities=KNOWS_TASKS, **headers):
        params = dict(params or {})
        name = params.get("name") or params.get("taskId")
        params["_meta"] = {
            "io.modelcontextprotocol/protocolVersion": VERSION, "io.modelcontextprotocol/clientCapabilities": capabilities,
            "io.modelcontextprotocol/clientInfo": {"name": "t", "version": "1"},
        }  # fmt: skip
        own = {"MCP_Protocol_Version": VERSION, "Mcp_Method": method, "Mcp_Name": name}
        return self.old(method, params, **{**own, **headers})


def said(answer, ids):
    """Status and message, without what is another's by nature: ids, times, addresses."""
    text = answer.body.decode()
    lines = [line[5:] for line in text.splitlines() if line.startswith("data:") and "{" in line]
    text = re.sub(r"https?://[^\s\"\\]+", "URL", lines[-1] if lines else text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME", text)
    for name, value in ids.items():
        text = text.replace(value, name)
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, None


def answers(raw):
    """What a gate says to a list of messages, in their order."""
    ids, every = {}, {}

    def note(name, answer):
        every[name] = said(answer, ids)
        return every[name]

    hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    ask = lambda name, action: {"name": "request_approval", "arguments": question(action, request_id=name)}  # noqa: E731
    note("handshake", raw.old("initialize", hello))
    note("handshake of another version", raw.old("initialize", {**hello, "protocolVersion": "1999-01-01"}))
    note("notification", raw.send({"jsonrpc": "2.0", "method": "notifications/initialized"}))
    note("discover", raw.new("server/discover"))
    note("list, old", raw.old("tools/list"))
    note("list", raw.new("tools/list"))
    ids["TASK"] = json.loads(json.dumps(said(raw.new("tools/call", ask("r1", "same.ask")), {})[1]))["result"]["taskId"]
    note("ask, as a task", raw.new("tools/call", ask("r1", "same.ask")))
    note("ask, without tasks", raw.new("tools/call", ask("r1", "same.ask"), capabilities={}))
    note("ask, old", raw.old("tools/call", ask("r1", "same.ask")))
    note("ask another under the same name", raw.old("tools/call", ask("r1", "same.other")))
    note("ask badly", raw.old("tools/call", ask("bad name!", "same.ask")))
    note("ask with too little", raw.new("tools/call", {"name": "request_approval", "arguments": {}}))
    note(
        "wait",
        raw.old("tools/call", {"name": "wait_for_approval", "arguments": {"request_id": "r1", "wait_seconds": 0}}),
    )
    note("wait for nothing", raw.old("tools/call", {"name": "wait_for_approval", "arguments": {"request_id": "no"}}))
    note("verify nothing", raw.old("tools/call", {"name": "verify_token", "arguments": {"token": "x"}}))
    note("no such tool", raw.new("tools/call", {"name": "decide", "arguments": {}}))
    note("look", raw.new("tasks/get", {"taskId": ids["TASK"]}))
    note("look at no task", raw.new("tasks/get", {"taskId": "01ARZ3NDEKTSV4RRFFQ69G5FAV"}))
    note("look without tasks", raw.new("tasks/get", {"taskId": ids["TASK"]}, capabilities={}))
    note("cancel", raw.new("tasks/cancel", {"taskId": ids["TASK"]}))
    note("look again", raw.new("tasks/get", {"taskId": ids["TASK"]}))
    note("cancel again", raw.new("tasks/cancel", {"taskId": ids["TASK"]}))
    note("another name in the header", raw.new("tools/call", ask("r1", "same.ask"), Mcp_Name="decide"))
    note("another version in the header", raw.new("tools/list", MCP_Protocol_Version="2025-11-25"))
    note("no such method", raw.new("resources/list"))
    note("a browser", raw.old("ping", Origin="https://evil.example"))
    note("one kind accepted", raw.old("ping", Accept="application/json"))
    note("no key", raw.old("ping", Authorization=None))
    note("a wrong key", raw.old("ping", Authorization="Bearer mcp.whsec_" + "0" * 64))
    note("by GET", raw.send(method="GET"))
    note("by DELETE", raw.send(method="DELETE"))
    return every


# Where a message contradicts itself, or its caller cannot read an answer, each server has words of its own.
OWN_WORDS = {
    "another name in the header", "another version in the header", "a browser", "one kind accepted", "by GET", "by DELETE",
}  # fmt: skip


def test_it_says_what_the_server_on_one_machine_says(gate, keys, tmp_path):
    local = LocalGate(tmp_path, POLICY)
    try:
        local.start(60)
        here = answers(Raw(local, f"mcp.{local.secret('mcp')}"))
    finally:
        local.kill()
    there = answers(Raw(gate, keys["mcp"]))
    assert (
        here["ask, as a task"][1]["result"]["taskId"] == "TASK"
        and here["look again"][1]["result"]["status"] == "cancelled"
    )
    for name, expected in here.items():
        found = there[name]
        if name in OWN_WORDS:
            expected, found = ((status, message and message["error"]["code"]) for status, message in (expected, found))
        assert found == expected, name


def test_it_is_for_bearer_clients_that_may_ask(gate, keys):
    for key, status in [("nobody.x", 401), (keys["signed"], 403), (keys["desk"], 403), ("mcp.", 401)]:
        answer = Raw(gate, key).old("tools/list")
        assert answer.status == status and answer.headers["content-type"] == "application/problem+json", (key, answer)
        assert ("www-authenticate" in answer.headers) is (status == 401)
    assert Raw(gate, keys["mcp"]).old("tools/call", {"x": "x" * 600_000}).status == 413


def test_the_typescript_client_waits_for_a_task(gate, keys, tmp_path):
    assert NODE_MODULES is not None, "NODE_MODULES says where the packages of the TypeScript client are"
    # Apart from the checkout, where another stage may be exchanging the packages.
    for name in ("ask_as_task.ts", "task_session.ts"):
        shutil.copy(NODE_CLIENT / name, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    arguments = [f"http://{gate.http.host}:{gate.http.port}", gate.http.name, "mcp.node"]
    running = subprocess.Popen(
        [NODE, "ask_as_task.ts", *arguments], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        running.stdin.write(keys["mcp"] + "\n")
        running.stdin.close()
        assert running.stdout.readline() == "waiting\n"
        approval = waiting(gate, "mcp.node")
        decide(gate, approval, "approve")
        ended = json.loads(running.stdout.readline())
        assert (ended["status"], ended["approval_id"]) == ("approved", approval["approval_id"])
        assert running.wait(60) == 0
    finally:
        running.kill()
        running.wait()
