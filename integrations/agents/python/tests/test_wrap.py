"""`placet mcp wrap` before the official servers, driven by the official client: what passes, what asks, what is not done."""

import asyncio
import json
import shutil
import signal
import time
from pathlib import Path

import mcp
import pytest
from local_gate import BINARY, LocalGate
from mcp.client.stdio import StdioServerParameters, stdio_client
from placet_client import wait_until
from recorded import model_server
from test_claude import claude_code, text, use

MODULES = Path(__file__).resolve().parents[2] / "typescript/node_modules/@modelcontextprotocol"
NODE = shutil.which("node")


def direct(server, *arguments):
    """The server itself."""
    script = MODULES / f"server-{server}/dist/index.js"
    assert script.exists(), f"{script}: `tests/run agents` installs it"
    return [NODE, str(script), *map(str, arguments)]


def connect(command):
    return mcp.Client(stdio_client(StdioServerParameters(command=command[0], args=command[1:])))


def wrapped(running, folder, name, command, *options):
    return [
        str(BINARY), "mcp", "wrap", "--data", str(running.data), "--client", "agent", "--name", name,
        "--pins", str(folder / "pins.json"), *options, "--", *command,
    ]  # fmt: skip


@pytest.fixture
def name():
    """A server's name of this test's own."""
    return f"s{time.time_ns()}"


@pytest.fixture
def files(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files/a.txt").write_text("first")
    return tmp_path / "files"


def refused(result):
    return result.is_error and "not done" in result.content[0].text.lower()


async def test_the_filesystem_server_writes_what_is_approved_and_nothing_else(
    running, desk, raw, tmp_path, files, name
):
    command = direct("filesystem", files)
    async with connect(command) as plain:
        definitions = [tool.model_dump() for tool in (await plain.list_tools()).tools]
    async with connect(wrapped(running, tmp_path, name, command)) as client:
        assert [tool.model_dump() for tool in (await client.list_tools()).tools] == definitions
        new = {"path": str(files / "new.txt"), "content": "hello"}
        answering = desk.answers(raw("agent"), f"mcp.{name}.write_file", "approve", "reject")
        written = await client.call_tool("write_file", new)
        assert not written.is_error and (files / "new.txt").read_text() == "hello"
        again = await client.call_tool("write_file", {**new, "content": "evil"})
        assert refused(again) and (files / "new.txt").read_text() == "hello"
        answering.done()
        # Another tool that writes is another action.
        edit = {"path": new["path"], "edits": [{"oldText": "hello", "newText": "evil"}]}
        answering = desk.answers(raw("agent"), f"mcp.{name}.edit_file", "reject")
        assert refused(await client.call_tool("edit_file", edit))
        answering.done()
        assert (files / "new.txt").read_text() == "hello"


async def test_the_everything_server_is_the_same_but_for_its_tools(running, desk, raw, tmp_path, name):
    command = direct("everything")
    heard = []

    async def progress(done, total, message):
        heard.append(done)

    async def look(client):
        tools, prompts = await client.list_tools(), await client.list_prompts()
        resources, templates = await client.list_resources(), await client.list_resource_templates()
        first = await client.read_resource(resources.resources[0].uri)
        prompt = await client.get_prompt(prompts.prompts[0].name)
        return [one.model_dump(exclude={"meta"}) for one in (tools, prompts, resources, templates, first, prompt)]

    async with connect(command) as plain:
        expected = await look(plain)
    async with connect(wrapped(running, tmp_path, name, command)) as client:
        assert await look(client) == expected
        answering = desk.answers(raw("agent"), f"mcp.{name}.echo", "approve")
        assert "hello" in (await client.call_tool("echo", {"message": "hello"})).content[0].text
        answering.done()
        action = f"mcp.{name}.trigger-long-running-operation"
        answering = desk.answers(raw("agent"), action, "approve")
        long = {"duration": 1, "steps": 2}
        result = await client.call_tool("trigger-long-running-operation", long, progress_callback=progress)
        answering.done()
        assert not result.is_error and heard == sorted(heard) and heard[0] < 0.001 < heard[-1]


async def test_a_call_that_its_client_gives_up_is_withdrawn(running, desk, raw, tmp_path, files, name):
    async with connect(wrapped(running, tmp_path, name, direct("filesystem", files))) as client:
        call = asyncio.create_task(client.call_tool("write_file", {"path": str(files / "x"), "content": "x"}))
        approval = (await asyncio.to_thread(desk.waiting, raw("agent"), f"mcp.{name}.write_file"))[0]
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        ended = lambda: raw("agent").state(approval["request_id"])["status"] == "cancelled"  # noqa: E731
        await asyncio.to_thread(wait_until, ended, 30, "the withdrawal")
    assert not (files / "x").exists()


async def test_a_client_without_patience_calls_again(running, desk, raw, tmp_path, files, name):
    command = wrapped(running, tmp_path, name, direct("filesystem", files), "--answer-after", "1s")
    async with connect(command) as client:
        write = {"path": str(files / "late.txt"), "content": "x"}
        assert "Call this tool again" in (await client.call_tool("write_file", write)).content[0].text
        (approval,) = desk.waiting(raw("agent"), f"mcp.{name}.write_file")
        desk.decide(approval)
        assert not (await client.call_tool("write_file", write)).is_error
    assert (files / "late.txt").read_text() == "x"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_a_gate_that_is_restarted_under_a_call_is_waited_for(own_gate, tmp_path, files, name, number):
    gate, _ = own_gate
    assert isinstance(gate, LocalGate)
    async with connect(wrapped(gate, tmp_path, name, direct("filesystem", files))) as client:
        call = asyncio.create_task(client.call_tool("write_file", {"path": str(files / "x"), "content": "x"}))
        own = gate.client("agent")
        rows = lambda: own.list(status="pending", limit=10).json()["requests"]  # noqa: E731
        (approval,) = await asyncio.to_thread(wait_until, rows, 30, "the question")
        gate.port = int(gate.url.rsplit(":", 1)[1])
        await asyncio.to_thread(gate.stop, number)
        await asyncio.to_thread(gate.start, 60)
        await asyncio.to_thread(lambda: gate.link(approval, "bob", seconds=60).approve())
        assert not (await call).is_error
    assert (files / "x").read_text() == "x"


def test_claude_code_writes_what_is_approved_and_goes_on_without_the_rest(running, desk, raw, tmp_path, files, name):
    """Its settings allow the tool: the wrapper asks all the same."""
    command, *arguments = wrapped(running, tmp_path, name, direct("filesystem", files))
    server = {"command": command, "args": arguments}
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"files": server}}))
    answering = desk.answers(raw("agent"), f"mcp.{name}.write_file", "approve", "reject")
    script = [
        [use("mcp__files__write_file", {"path": str(files / "yes.txt"), "content": "x"}, "toolu_w1")],
        [use("mcp__files__write_file", {"path": str(files / "no.txt"), "content": "x"}, "toolu_w2")],
        text("Done."),
    ]
    with model_server(script) as url:
        result = claude_code(
            url, tmp_path, "--mcp-config", str(tmp_path / "mcp.json"), "--strict-mcp-config",
            "--allowedTools", "mcp__files__write_file",
        )  # fmt: skip
    answering.done()
    assert result == "Done." and (files / "yes.txt").exists() and not (files / "no.txt").exists()
