"""Plays recorded answers of a model server on loopback, so that the examples run without a key.

It speaks OpenAI's Responses and Chat Completions APIs and Anthropic's Messages API, streamed or not. Which answer comes
next is read from the conversation itself: the one after as many tool results as it holds. `{{approval_token}}` in an
answer is filled in as a model would do it, with what the last tool result says.

`python recorded.py FILE` serves the answers of a JSON file until its standard input ends; it prints its address.
"""

import json
import re
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent


@contextmanager
def model_server(answers):
    """A model server at the yielded address. `answers`: a list, or the name of a file in `recorded/`."""
    if isinstance(answers, str):
        answers = json.loads((HERE / "recorded" / f"{answers}.json").read_text())
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(answers))
    server.daemon_threads = True
    server.calls = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield Address(f"http://127.0.0.1:{server.server_address[1]}", server.calls)
    finally:
        server.shutdown()
        server.server_close()


class Address(str):
    """The server's address; `calls` holds the bodies that it was sent."""

    def __new__(cls, url, calls):
        address = super().__new__(cls, url)
        address.calls = calls
        return address


def handler(answers):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self):
            self.reply({"data": [], "has_more": False})

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
            path = self.path.split("?")[0]
            self.server.calls.append(asked)
            if path.endswith("/count_tokens"):
                return self.reply({"input_tokens": 1})
            speak = {"/v1/responses": responses, "/v1/chat/completions": chat, "/v1/messages": messages}.get(path)
            if speak is None:
                return self.reply({"error": {"type": "not_found_error", "message": path}}, status=404)
            results, whole = speak(asked)
            answer = fill(answers[min(len(results), len(answers) - 1)], results)
            if path == "/v1/messages" and asked.get("stream"):
                return self.stream(asked, answer)
            self.reply(whole(asked, answer))
            return None

        def reply(self, body, status=200):
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def stream(self, asked, answer):
            raw = b"".join(
                f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events(asked, answer)
            )
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

    return Handler


def responses(asked):
    items = asked["input"] if isinstance(asked["input"], list) else []
    results = [item["output"] for item in items if item.get("type") == "function_call_output"]

    def whole(asked, output):
        return {
            "id": "resp_1", "object": "response", "created_at": 1, "model": asked.get("model"), "status": "completed",
            "output": output, "parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "usage": {
                "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 1,
                "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 2},
        }  # fmt: skip

    return results, whole


def chat(asked):
    results = [message["content"] for message in asked["messages"] if message["role"] == "tool"]

    def whole(asked, message):
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason, "logprobs": None}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        return {
            "id": "chat_1",
            "object": "chat.completion",
            "created": 1,
            "model": asked["model"],
            "choices": [choice],
            "usage": usage,
        }

    return results, whole


def messages(asked):
    blocks = [block for one in asked["messages"] if isinstance(one["content"], list) for block in one["content"]]
    results = [text_of(block.get("content")) for block in blocks if block.get("type") == "tool_result"]
    return results, message


def message(asked, content):
    reason = "tool_use" if any(block["type"] == "tool_use" for block in content) else "end_turn"
    return {
        "id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "content": content,
        "stop_reason": reason, "stop_sequence": None, "usage": {"input_tokens": 1, "output_tokens": 1},
    }  # fmt: skip


def events(asked, content):
    """A message as Anthropic streams it."""
    whole = message(asked, content)
    yield {"type": "message_start", "message": {**whole, "content": [], "stop_reason": None}}
    for index, block in enumerate(content):
        if block["type"] == "tool_use":
            empty, delta = (
                {**block, "input": {}},
                {"type": "input_json_delta", "partial_json": json.dumps(block["input"])},
            )
        else:
            empty, delta = {"type": "text", "text": ""}, {"type": "text_delta", "text": block["text"]}
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": whole["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": 1},
    }
    yield {"type": "message_stop"}


def text_of(content):
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def fill(answer, results):
    found = re.search(r'"approval_token": ?"([^"]+)"', results[-1]) if results else None
    return json.loads(json.dumps(answer).replace("{{approval_token}}", found.group(1) if found else ""))


if __name__ == "__main__":
    with model_server(json.loads(Path(sys.argv[1]).read_text())) as url:
        print(url, flush=True)
        sys.stdin.read()
