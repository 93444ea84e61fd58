"""An MCP server that writes down every line it gets, and reads lines as loosely as servers do (`universal newlines`).

    python line_server.py LOG TOOLS.json

TOOLS.json is read whenever the tools are listed. The tool `slow` answers when a file LOG.go is there, `env` with its
environment, `die` ends the server, `change` says that the tools have changed; every other tool says what it was called with. Where a file
LOG.changing is there, the tools change between two pages of their list, once.
"""

import json
import os
import sys
import threading
import time

log, tools = sys.argv[1:3]
MODERN = "io.modelcontextprotocol/protocolVersion"


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def answer(message):
    params = message.get("params") or {}
    match message.get("method"):
        case "initialize":
            info = {"name": "lines", "version": "1"}
            return {
                "protocolVersion": "2025-11-25", "capabilities": {"tools": {"listChanged": True}, "vendor": {"x": [1.0, None]}},
                "serverInfo": info, "instructions": "ä  unchanged",
            }  # fmt: skip
        case "server/discover":
            return {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}, "resultType": "complete"}
        case "tools/list":
            listed = json.load(open(tools))
            first = params.get("cursor") is None
            if not first and os.path.exists(f"{log}.changing"):
                os.remove(f"{log}.changing")
                say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
            page = {"tools": listed[:1] if first else listed[1:]}
            return page | ({"nextCursor": "rest"} if first and len(listed) > 1 else {})
        case "tools/call":
            return call(message, params)
        case "resources/read":
            return {"contents": [{"uri": params["uri"], "text": "read"}]}
    return {}


def call(message, params):
    token = (params.get("_meta") or {}).get("progressToken")
    if token is not None:
        say({"jsonrpc": "2.0", "method": "notifications/progress", "params": {"progressToken": token, "progress": 1}})
    match params["name"]:
        case "slow":
            while not os.path.exists(f"{log}.go"):
                time.sleep(0.02)
        case "env":
            return {"content": [{"type": "text", "text": json.dumps(dict(os.environ))}]}
        case "die":
            os._exit(9)
        case "change":
            say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
    text = json.dumps({"did": params["name"], "with": params.get("arguments")})
    return {"content": [{"type": "text", "text": text}], "structuredContent": {"n": 1.0}}


def handle(message):
    result = answer(message)
    if MODERN in ((message.get("params") or {}).get("_meta") or {}):
        result.setdefault("resultType", "complete")
    say({"jsonrpc": "2.0", "id": message["id"], "result": result})


# A line that is no message is skipped, as the official Python server does.
with open(log, "a") as lines:
    for line in sys.stdin:
        lines.write(line if line.endswith("\n") else line + "\n")
        lines.flush()
        try:
            message = json.loads(line)
        except ValueError:
            continue
        if isinstance(message, dict) and "method" in message and "id" in message:
            threading.Thread(target=handle, args=(message,), daemon=True).start()
