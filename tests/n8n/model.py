"""A language model that says what the test tells it to: OpenAI's chat API, on loopback."""

import json
import threading
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Model:
    """Calls one tool with the arguments given, then repeats what the tool answered."""

    def __init__(self):
        self.lock, self.plans, self.requests = threading.Lock(), {}, []
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                answer = json.dumps(model.answer(body)).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def plan(self, name, arguments):
        """A prompt that makes the model call this tool."""
        prompt = f"task-{uuid.uuid4().hex[:10]}"
        self.plans[prompt] = (name, arguments)
        return prompt

    def answer(self, body):
        with self.lock:
            self.requests.append(body)
        said = json.dumps(body["messages"])
        heard = [message for message in body["messages"] if message["role"] == "tool"]
        if heard:
            message = {"role": "assistant", "content": "The tool said: " + text_of(heard[-1]["content"])}
            reason = "stop"
        else:
            name, arguments = next(plan for prompt, plan in self.plans.items() if prompt in said)
            known = [tool["function"]["name"] for tool in body.get("tools", [])]
            assert name in known, f"the agent offers {known}, not {name}"
            call = {
                "id": f"call_{uuid.uuid4().hex[:12]}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments)},
            }
            message, reason = {"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls"
        return {
            "id": f"chatcmpl-{uuid.uuid4().hex}", "object": "chat.completion", "created": 0, "model": body.get("model", "fake"),
            "choices": [{"index": 0, "message": message, "finish_reason": reason, "logprobs": None}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }  # fmt: skip

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def text_of(content):
    return content if isinstance(content, str) else json.dumps(content)
