"""Anthropic's own SDKs, and Claude Code itself, drive the adapters; only the model is played."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import anthropic
import claude_agent_sdk
import pytest
from claude_agent_sdk import ClaudeAgentOptions, HookMatcher, ResultMessage, create_sdk_mcp_server, query, tool
from local_gate import BINARY
from placet import anthropic as placet_anthropic
from placet import claude_agent
from recorded import model_server

CLAUDE = Path(claude_agent_sdk.__file__).parent / "_bundled/claude"
PAYLOAD = {"to": "acme@example.com", "amount": 5000}


def use(name, tool_input, use_id="toolu_1"):
    return {"type": "tool_use", "id": use_id, "name": name, "input": tool_input}


def text(words):
    return [{"type": "text", "text": words}]


def ask(name, action, payload=PAYLOAD):
    return {"request_id": name, "summary": "Send invoice 4711", "action": action, "payload": payload}


# ---------------------------------------------------------------- the Messages API


def test_a_messages_agent_asks_and_the_executor_takes_its_token(gate, desk, raw):
    sent = []

    @gate.requires_token("claude.invoice")
    def send_invoice(to, amount):
        sent.append((to, amount))
        return "sent"

    answering = desk.answers(raw("agent"), "claude.invoice", "approve")
    script = [
        [use("request_approval", ask("claude-1", "claude.invoice"))],
        [use("send_invoice", {**PAYLOAD, "approval_token": "{{approval_token}}"}, "toolu_2")],
        text("Done."),
    ]
    with model_server(script) as url:
        client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
        messages = [{"role": "user", "content": "Send invoice 4711."}]
        while True:
            answer = client.messages.create(
                model="claude-test", max_tokens=99, messages=messages, tools=[placet_anthropic.tool()]
            )
            if answer.stop_reason != "tool_use":
                break
            (block,) = answer.content
            if block.name == "request_approval":
                result = placet_anthropic.answer(gate, block)
            else:
                result = {"type": "tool_result", "tool_use_id": block.id, "content": send_invoice(**block.input)}
            messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": [result]}]
    answering.done()
    assert answer.content[0].text == "Done." and sent == [("acme@example.com", 5000)]


async def test_a_wrong_question_is_a_tool_error(agate):
    block = anthropic.types.ToolUseBlock(
        id="toolu_1", type="tool_use", name="request_approval", input={"approved": True}
    )
    result = await placet_anthropic.answer(agate, block)
    assert result["is_error"] is True and json.loads(result["content"])["approved"] is False


def test_a_gated_function_is_a_tool_of_the_sdks_own_runner(gate, desk, raw):
    sent = []

    @anthropic.beta_tool
    @gate.requires_approval("runner.invoice")
    def send_invoice(to: str, amount: int) -> str:
        """Send an invoice."""
        sent.append((to, amount))
        return "sent"

    answering = desk.answers(raw("agent"), "runner.invoice", "approve")
    with model_server([[use("send_invoice", PAYLOAD)], text("Done.")]) as url:
        client = anthropic.Anthropic(base_url=url, api_key="none", max_retries=0)
        runner = client.beta.messages.tool_runner(
            model="claude-test", max_tokens=99, tools=[send_invoice], messages=[{"role": "user", "content": "Send it."}]
        )
        last = runner.until_done()
    answering.done()
    assert last.content[0].text == "Done." and sent == [("acme@example.com", 5000)]


# ---------------------------------------------------------------- Claude Code, as the Agent SDK brings it


def surroundings(url, home):
    """What Claude Code needs to know of, and no more: the played model, and a home of its own."""
    return {
        "ANTHROPIC_BASE_URL": str(url), "ANTHROPIC_API_KEY": "none", "HOME": str(home), "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip


def mail_server(sent):
    @tool("send_invoice", "Send an invoice", {"to": str, "amount": int})
    async def send_invoice(arguments):
        sent.append(arguments)
        return {"content": [{"type": "text", "text": "sent"}]}

    return create_sdk_mcp_server("mail", tools=[send_invoice])


async def told(options, prompt="Send invoice 4711."):
    async def prompts():
        yield {"type": "user", "message": {"role": "user", "content": prompt}}

    results = [
        message async for message in query(prompt=prompts(), options=options) if isinstance(message, ResultMessage)
    ]
    assert len(results) == 1, results
    return results[0].result


async def test_the_permission_callback_waits_for_placet(agate, desk, raw, tmp_path):
    sent = []
    answering = desk.answers(raw("agent"), "claude.mcp__mail__send_invoice", "approve", "reject", reason="as agreed")
    script = [
        [use("mcp__mail__send_invoice", PAYLOAD, "toolu_a1")],
        [use("mcp__mail__send_invoice", {**PAYLOAD, "amount": 6000}, "toolu_a2")],
        text("One was sent."),
    ]
    with model_server(script) as url:
        options = ClaudeAgentOptions(
            mcp_servers={"mail": mail_server(sent)}, can_use_tool=claude_agent.can_use_tool(agate), env=surroundings(url, tmp_path),
            cwd=tmp_path, setting_sources=[], max_turns=5,
        )  # fmt: skip
        assert await asyncio.wait_for(told(options), 120) == "One was sent."
    asked = answering.done()
    assert sent == [PAYLOAD] and len(asked) == 2


async def test_the_hook_of_the_agent_sdk_gates_even_allowed_tools(agate, desk, raw, tmp_path):
    sent = []
    answering = desk.answers(raw("agent"), "claude.mcp__mail__send_invoice", "approve", "reject")
    script = [[use("mcp__mail__send_invoice", PAYLOAD, f"toolu_b{n}")] for n in (1, 2)] + [text("One was sent.")]
    with model_server(script) as url:
        hook = HookMatcher(
            matcher="mcp__mail__.*", hooks=[claude_agent.pre_tool_use(agate, timeout_seconds=100)], timeout=120
        )
        options = ClaudeAgentOptions(
            mcp_servers={"mail": mail_server(sent)}, allowed_tools=["mcp__mail__send_invoice"], hooks={"PreToolUse": [hook]},
            env=surroundings(url, tmp_path), cwd=tmp_path, setting_sources=[], max_turns=5,
        )  # fmt: skip
        assert await asyncio.wait_for(told(options), 120) == "One was sent."
    answering.done()
    assert sent == [PAYLOAD]


async def test_a_hook_that_is_gated_blocks_whatever_fails_in_it(agate, desk, raw, tmp_path, monkeypatch):
    """Claude Code itself, with its own blocking failure mode: a fault in our code must not let the tool run."""
    sent = []
    script = [[use("mcp__mail__send_invoice", PAYLOAD, f"toolu_g{n}")] for n in (1, 2)] + [text("None was sent.")]

    def broken(*_):
        raise RuntimeError("secret words")

    monkeypatch.setattr(claude_agent, "judge", broken)
    matcher = claude_agent.gated(agate, "mcp__mail__.*", timeout_seconds=20)
    assert (matcher.on_failure, matcher.timeout) == ("block", 80)
    raising = HookMatcher(matcher="mcp__mail__.*", hooks=[lambda *_: broken()], timeout=60, on_failure="block")
    for one in (matcher, raising):
        with model_server(script) as url:
            options = ClaudeAgentOptions(
                mcp_servers={"mail": mail_server(sent)}, allowed_tools=["mcp__mail__send_invoice"], hooks={"PreToolUse": [one]},
                env=surroundings(url, tmp_path), cwd=tmp_path, setting_sources=[], max_turns=5,
            )  # fmt: skip
            assert await asyncio.wait_for(told(options), 120) == "None was sent."
    assert sent == []


async def test_whatever_goes_wrong_in_a_callback_is_a_denial(agate, monkeypatch):
    context = claude_agent_sdk.ToolPermissionContext(tool_use_id="toolu_h1")
    for wrong in (RuntimeError("secret words"), KeyError("x"), OSError(), RecursionError()):

        def broken(*_, wrong=wrong):
            raise wrong

        monkeypatch.setattr(claude_agent, "judge", broken)
        denied = await claude_agent.can_use_tool(agate)("Bash", {}, context)
        assert denied.behavior == "deny" and "secret words" not in denied.message
        hook = claude_agent.pre_tool_use(agate, timeout_seconds=5)
        for given in (
            {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {}},
            {"hook_event_name": "PostToolUse"},
            {},
            None,
        ):
            said = await hook(given, "toolu_h1", {"signal": None})
            assert said["hookSpecificOutput"]["permissionDecision"] == "deny", given


def claude_code(url, home, *arguments, **extra):
    """Claude Code as a person runs it, on one prompt."""
    environment = {"PATH": os.environ["PATH"], **surroundings(url, home), **extra}
    ran = subprocess.run(
        [str(CLAUDE), "-p", "Send invoice 4711.", "--output-format", "json", *arguments], cwd=home, env=environment,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180,
    )  # fmt: skip
    assert ran.returncode == 0, ran
    return json.loads(ran.stdout)["result"]


def test_the_hook_command_gates_claude_code(running, desk, raw, tmp_path):
    """Bash is allowed by the settings; the hook asks all the same."""
    hook = {
        "type": "command", "command": sys.executable, "args": ["-m", "placet.claude_code", "--timeout", "100"], "timeout": 120,
        "onFailure": "block",
    }  # fmt: skip
    settings = {"permissions": {"allow": ["Bash"]}, "hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [hook]}]}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    answering = desk.answers(raw("agent"), "claude.Bash", "approve", "reject", reason="no")
    script = [
        [use("Bash", {"command": "echo yes > approved.txt", "description": "d"}, "toolu_c1")],
        [use("Bash", {"command": "echo yes > rejected.txt", "description": "d"}, "toolu_c2")],
        text("Done."),
    ]
    with model_server(script) as url:
        result = claude_code(
            url, tmp_path, "--settings", str(tmp_path / "settings.json"),
            PLACET_URL=running.url, PLACET_CLIENT="agent", PLACET_SECRET=raw("agent").secret, PLACET_TOKEN_ALG="HS256",
        )  # fmt: skip
    answering.done()
    assert result == "Done."
    assert (tmp_path / "approved.txt").read_text() == "yes\n" and not (tmp_path / "rejected.txt").exists()


@pytest.mark.parametrize("hook", [
    {"command": "/nowhere/placet-claude-hook", "args": [], "onFailure": "block"}, {"command": "/nowhere/placet-claude-hook || exit 2"},
    {"command": f"PYTHONPATH=/nowhere {sys.executable} -S -m placet.claude_code", "onFailure": "block"}, {"command": f"{sys.executable} -c 'import os; os.abort()'", "onFailure": "block"},
])  # fmt: skip
def test_a_hook_that_cannot_even_start_blocks_by_the_settings_that_are_told(tmp_path, hook):
    settings = {
        "permissions": {"allow": ["Bash"]},
        "hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [{"type": "command", "timeout": 60, **hook}]}]},
    }
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    script = [[use("Bash", {"command": "echo yes > ran.txt", "description": "d"}, "toolu_i1")], text("Done.")]
    with model_server(script) as url:
        assert claude_code(url, tmp_path, "--settings", str(tmp_path / "settings.json")) == "Done."
    assert not (tmp_path / "ran.txt").exists()


def test_two_settings_files_with_the_hook_let_an_approved_tool_run(running, desk, raw, tmp_path):
    hook = {
        "type": "command",
        "command": sys.executable,
        "args": ["-m", "placet.claude_code", "--timeout", "100"],
        "timeout": 120,
        "onFailure": "block",
    }
    settings = {"permissions": {"allow": ["Bash"]}, "hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [hook]}]}}
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    (tmp_path / ".claude").mkdir()
    # The same errand in other words, so that Claude Code does not take the two for one.
    twin = {**hook, "command": "env", "args": [sys.executable, *hook["args"]]}
    (tmp_path / ".claude/settings.json").write_text(
        json.dumps({"hooks": {"PreToolUse": [{"matcher": "Bash", "hooks": [twin]}]}})
    )
    answering = desk.answers(raw("agent"), "claude.Bash", "approve")
    script = [[use("Bash", {"command": "echo yes > approved.txt", "description": "d"}, "toolu_j1")], text("Done.")]
    with model_server(script) as url:
        result = claude_code(
            url, tmp_path, "--settings", str(tmp_path / "settings.json"),
            PLACET_URL=running.url, PLACET_CLIENT="agent", PLACET_SECRET=raw("agent").secret, PLACET_TOKEN_ALG="HS256",
        )  # fmt: skip
    answering.done()
    assert result == "Done." and (tmp_path / "approved.txt").exists()


def test_the_permission_prompt_tool_of_placet_mcp_gates_claude_code(running, desk, raw, tmp_path):
    server = {
        "command": str(BINARY),
        "args": ["mcp", "--permission-prompt", "--client", "agent", "--data", str(running.data)],
    }
    (tmp_path / "mcp.json").write_text(json.dumps({"mcpServers": {"placet": server}}))
    answering = desk.answers(raw("agent"), "claude.Bash", "approve", "reject")
    script = [
        [use("Bash", {"command": "touch approved.txt", "description": "d"}, "toolu_d1")],
        [use("Bash", {"command": "touch rejected.txt", "description": "d"}, "toolu_d2")],
        text("Done."),
    ]
    with model_server(script) as url:
        result = claude_code(
            url, tmp_path, "--mcp-config", str(tmp_path / "mcp.json"), "--strict-mcp-config",
            "--permission-prompt-tool", "mcp__placet__permission_prompt",
        )  # fmt: skip
    answering.done()
    assert result == "Done."
    assert (tmp_path / "approved.txt").exists() and not (tmp_path / "rejected.txt").exists()


# ---------------------------------------------------------------- the hook alone


def hook(stdin, seconds=30, **environment):
    return subprocess.run(
        [sys.executable, "-m", "placet.claude_code", "--timeout", str(seconds)], input=stdin, capture_output=True, text=True,
        timeout=120, env={"PATH": os.environ["PATH"], "NO_PROXY": "127.0.0.1", **environment},
    )  # fmt: skip


@pytest.mark.parametrize(
    "stdin",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"tool_name":"Bash","tool_name":"Read","tool_input":{}}',
        '{"tool_name":"Bash"}',
        '{"tool_name":"Bash","tool_input":{"n":1e999}}',
    ],
)
def test_a_hook_that_cannot_ask_denies(running, raw, stdin):
    ran = hook(
        stdin,
        PLACET_URL=running.url,
        PLACET_CLIENT="agent",
        PLACET_SECRET=raw("agent").secret,
        PLACET_TOKEN_ALG="HS256",
    )
    assert denied(ran), ran


def test_a_hook_without_a_gate_or_settings_denies(free_url):
    stdin = json.dumps({"tool_name": "Bash", "tool_input": {}, "tool_use_id": "toolu_e1"})
    assert denied(hook(stdin))
    assert denied(hook(stdin, seconds=1, PLACET_URL=free_url, PLACET_CLIENT="agent", PLACET_SECRET="whsec_x"))


def test_a_hook_that_nobody_answers_denies_in_time(running, raw):
    stdin = json.dumps({"tool_name": "Slow", "tool_input": {}, "tool_use_id": "toolu_f1"})
    ran = hook(
        stdin,
        seconds=1,
        PLACET_URL=running.url,
        PLACET_CLIENT="agent",
        PLACET_SECRET=raw("agent").secret,
        PLACET_TOKEN_ALG="HS256",
    )
    assert denied(ran), ran


def denied(ran):
    return ran.returncode == 2 or json.loads(ran.stdout)["hookSpecificOutput"]["permissionDecision"] == "deny"
