"""Servers that play Slack and Telegram by their documents, limits included, and press buttons as their users would.

Slack: https://docs.slack.dev/reference/methods/chat.postMessage, https://docs.slack.dev/reference/block-kit/blocks.
Telegram: https://core.telegram.org/bots/api.
"""

import itertools
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlencode

from placet_client import wait_until
from slack_sdk.signature import SignatureVerifier

TEAM, APP = "T012AB3CD", "A012AB3CD"
BOT_TOKEN, SIGNING_SECRET = "xoxb-1-2-abcdefghijklmnop", "8f742231b10e8888abcd99yyyzzz85a5"
TELEGRAM_TOKEN = "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"


class Played:
    """A server whose next answers a test may choose: `(status, headers, body)`, for one method or for all.

    Status 0: the call is taken, and its answer is lost.
    """

    def __init__(self):
        self.lock = threading.RLock()
        self.calls, self.answers = [], []
        played = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with played.lock:
                    status, headers, answer = played.answer(self.path, self.headers, body)
                if status == 0:
                    self.close_connection = True
                    return
                content = json.dumps(answer).encode()
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def next(self, method, *answers):
        """What that method answers next, before it works again."""
        with self.lock:
            self.answers += [(method, answer) for answer in answers]

    def chosen(self, method):
        for at, (of, answer) in enumerate(self.answers):
            if of in (method, "*"):
                del self.answers[at]
                return answer
        return None

    def count(self, method):
        with self.lock:
            return sum(1 for called, _ in self.calls if called == method)


def plain(text, most, least=1):
    """A text object of Slack's, and its length."""
    assert set(text) <= {"type", "text", "emoji", "verbatim"}, text
    assert text["type"] in ("plain_text", "mrkdwn") and least <= len(text["text"]) <= most, (most, text)
    assert text["type"] == "plain_text" or "emoji" not in text
    return len(text["text"])


def check_blocks(blocks):
    """Raises for what Slack refuses as `invalid_blocks`; the number of characters in all."""
    assert isinstance(blocks, list) and 1 <= len(blocks) <= 50
    total, ids, actions = 0, [], []
    for block in blocks:
        ids.append(block.get("block_id"))
        assert len(block.get("block_id") or "") <= 255
        match block["type"]:
            case "header":
                assert block["text"]["type"] == "plain_text"
                total += plain(block["text"], 150)
            case "section":
                total += plain(block["text"], 3000)
            case "context":
                assert 1 <= len(block["elements"]) <= 10
                total += sum(plain(element, 3000) for element in block["elements"])
            case "input":
                total += plain(block["label"], 2000)
                element = block["element"]
                assert element["type"] == "plain_text_input" and 1 <= element.get("max_length", 3000) <= 3000
                actions.append(element["action_id"])
            case "actions":
                assert 1 <= len(block["elements"]) <= 25
                for element in block["elements"]:
                    assert element["type"] == "button" and element.get("style") in (None, "primary", "danger")
                    assert element["text"]["type"] == "plain_text"
                    total += plain(element["text"], 75)
                    assert len(element.get("value", "")) <= 2000 and len(element.get("url", "")) <= 3000
                    assert "value" not in element or element["value"]
                    actions.append(element["action_id"])
            case other:
                raise AssertionError(f"a block of type {other}")
    named = [name for name in ids if name is not None]
    assert len(set(named)) == len(named), "a block_id is used twice"
    assert len(set(actions)) == len(actions) and all(1 <= len(action) <= 255 for action in actions)
    return total


class Slack(Played):
    """A workspace with direct messages: `messages[(channel, ts)]` is what its user sees."""

    def __init__(self):
        super().__init__()
        self.messages, self.order, self.whispers = {}, [], []
        self.stamps = itertools.count(1)
        self.gone = set()

    def answer(self, path, headers, body):
        method = path.removeprefix("/api/")
        assert headers["Authorization"] == f"Bearer {BOT_TOKEN}", "another token"
        assert headers["Content-Type"].split(";")[0] == "application/json"
        call = json.loads(body)
        self.calls.append((method, call))
        if (chosen := self.chosen(method)) is not None:
            return chosen

        def refuse(error):
            return 200, {}, {"ok": False, "error": error}

        if method == "auth.test":
            return 200, {}, {"ok": True, "team_id": TEAM, "team": "Acme", "user_id": "U0BOT", "bot_id": "B0BOT"}
        if len(call.get("text", "")) > 40_000:
            return refuse("msg_too_long")
        if method in ("chat.postMessage", "chat.update"):
            try:
                total = check_blocks(call["blocks"])
            except (AssertionError, KeyError) as error:
                self.fault = error
                return refuse("invalid_blocks")
            if total > 13_200:
                return refuse("msg_blocks_too_long")
        match method:
            case "chat.postMessage":
                if call["channel"] in self.gone or not re.fullmatch("[UW][A-Z0-9]+", call["channel"]):
                    return refuse("channel_not_found")
                place = (f"D{call['channel'][1:]}", f"{int(time.time())}.{next(self.stamps):06d}")
                self.messages[place] = {**call, "user": call["channel"]}
                self.order.append(place)
                return 200, {}, {"ok": True, "channel": place[0], "ts": place[1], "message": {"ts": place[1]}}
            case "chat.update":
                place = (call["channel"], call["ts"])
                if not call["channel"].startswith("D"):
                    return refuse("channel_not_found")
                if place not in self.messages:
                    return refuse("message_not_found")
                self.messages[place] = {**self.messages[place], "text": call["text"], "blocks": call["blocks"]}
                return 200, {}, {"ok": True, "channel": place[0], "ts": place[1], "text": call["text"]}
            case "chat.postEphemeral":
                self.whispers.append((call["channel"], call["user"], call["text"]))
                return 200, {}, {"ok": True, "message_ts": "1.1"}
        return refuse("unknown_method")

    def to(self, user):
        """The places of that user's messages, in their order."""
        with self.lock:
            return [place for place in self.order if self.messages[place]["user"] == user]

    def wait(self, user, count=1, seconds=10):
        return wait_until(lambda: len(found := self.to(user)) >= count and found, seconds, f"messages to {user}")

    def shows(self, place):
        """Everything that is read in a message, the buttons' words included."""
        with self.lock:
            return texts(self.messages[place]["blocks"])

    def buttons(self, place):
        with self.lock:
            elements = [one for block in self.messages[place]["blocks"] for one in block.get("elements", [])]
        return {one["action_id"]: one for one in elements if one["type"] == "button"}

    def payload(self, place, action_id, presser, /, reason=None, **changes):
        """What Slack sends when that user presses that button."""
        with self.lock:
            message = self.messages[place]
        button = self.buttons(place)[action_id]
        values = {
            block["block_id"]: {block["element"]["action_id"]: {"type": "plain_text_input", "value": reason}}
            for block in message["blocks"]
            if block["type"] == "input"
        }
        return {
            "type": "block_actions",
            "user": {"id": presser, "username": "x", "team_id": TEAM},
            "team": {"id": TEAM, "domain": "acme"},
            "enterprise": None,
            "is_enterprise_install": False,
            "api_app_id": APP,
            "token": "gone",
            "container": {"type": "message", "message_ts": place[1], "channel_id": place[0], "is_ephemeral": False},
            "trigger_id": "1.2.3",
            "channel": {"id": place[0], "name": "directmessage"},
            "message": {"ts": place[1], "text": message["text"]},
            "state": {"values": values},
            "response_url": "https://hooks.slack.com/actions/never",
            "actions": [{**button, "block_id": "b", "action_ts": "1.1"}],
            **changes,
        }

    def press(self, gate, place, action_id, presser, /, reason=None, **changes):
        """Presses it. Slack shows its user an error unless the answer comes within three seconds."""
        return send_press(gate, self.payload(place, action_id, presser, reason=reason, **changes))


def send_press(gate, payload, secret=SIGNING_SECRET, at=None, headers=None):
    body = urlencode({"payload": json.dumps(payload)}).encode()
    at = str(int(time.time()) if at is None else at)
    signature = SignatureVerifier(secret).generate_signature(timestamp=at, body=body)
    sent = {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": at,
        "X-Slack-Signature": signature,
        **(headers or {}),
    }
    began = time.monotonic()
    answer = gate.http.send("POST", "/v1/slack/interactions", sent, body, fresh=True)
    assert time.monotonic() - began < 3, "Slack waits for three seconds"
    return answer


def texts(value):
    """Every text in a JSON value, joined."""
    if isinstance(value, dict):
        return "\n".join(
            filter(None, (texts(one) for name, one in value.items() if name in ("text", "elements", "label")))
        )
    if isinstance(value, list):
        return "\n".join(filter(None, map(texts, value)))
    return value if isinstance(value, str) else ""


class Telegram(Played):
    """Chats with a bot: `messages[(chat, message id)]` is what its user sees."""

    def __init__(self):
        super().__init__()
        self.messages, self.order, self.webhook = {}, [], None
        self.numbers, self.updates = itertools.count(1), itertools.count(1000)
        self.blocked = set()

    def answer(self, path, headers, body):
        assert headers["Content-Type"].split(";")[0] == "application/json"
        token, method = re.fullmatch(r"/bot([^/]+)/(\w+)", path).groups()
        if token != TELEGRAM_TOKEN:
            return 401, {}, {"ok": False, "error_code": 401, "description": "Unauthorized"}
        call = json.loads(body)
        self.calls.append((method, call))
        if (chosen := self.chosen(method)) is not None:
            return chosen

        def refuse(status, words):
            return status, {}, {"ok": False, "error_code": status, "description": words}

        def done(result):
            return 200, {}, {"ok": True, "result": result}

        if method == "getMe":
            return done({"id": 123456, "is_bot": True, "first_name": "Placet", "username": "placet_bot"})
        if method == "setWebhook":
            if not call["url"].startswith("https://"):
                return refuse(400, "Bad Request: bad webhook: An HTTPS URL must be provided for webhook")
            assert re.fullmatch(r"[A-Za-z0-9_-]{1,256}", call["secret_token"])
            self.webhook = call
            return done(True)
        try:
            visible = visible_text(call["text"])
            # Telegram counts in UTF-16 units: https://core.telegram.org/api/entities#entity-length
            assert 1 <= len(visible.encode("utf-16-le")) // 2 <= 4096
            assert call["parse_mode"] == "HTML" and call["link_preview_options"] == {"is_disabled": True}
            for button in itertools.chain(*call["reply_markup"]["inline_keyboard"]):
                assert ("url" in button) != ("callback_data" in button) and button["text"]
                assert len(button.get("callback_data", "x").encode()) in range(1, 65)
                assert button.get("url", "https://x").startswith("https://"), "Wrong HTTP URL"
        except AssertionError as error:
            self.fault = error
            return refuse(400, "Bad Request: can't parse entities, or a wrong button")
        if call["chat_id"] in self.blocked:
            return refuse(403, "Forbidden: bot was blocked by the user")
        shown = {"text": visible, "keyboard": call["reply_markup"]["inline_keyboard"]}
        if method == "sendMessage":
            place = (call["chat_id"], next(self.numbers))
            self.messages[place] = shown
            self.order.append(place)
            return done({"message_id": place[1], "chat": {"id": place[0], "type": "private"}})
        assert method == "editMessageText", method
        place = (call["chat_id"], call["message_id"])
        if place not in self.messages:
            return refuse(400, "Bad Request: message to edit not found")
        if self.messages[place] == shown:
            return refuse(400, "Bad Request: message is not modified")
        self.messages[place] = shown
        return done({"message_id": place[1], "chat": {"id": place[0], "type": "private"}})

    def to(self, user):
        with self.lock:
            return [place for place in self.order if place[0] == user]

    def wait(self, user, count=1, seconds=10):
        return wait_until(lambda: len(found := self.to(user)) >= count and found, seconds, f"messages to {user}")

    def shows(self, place):
        with self.lock:
            return self.messages[place]["text"]

    def buttons(self, place):
        with self.lock:
            return {one["text"]: one for one in itertools.chain(*self.messages[place]["keyboard"])}

    def update(self, place, words, user, number=None):
        return {
            "update_id": next(self.updates) if number is None else number,
            "callback_query": {
                "id": "4382bfdwdsb323b2d9",
                "from": {"id": user, "is_bot": False, "first_name": "x"},
                "message": {"message_id": place[1], "chat": {"id": place[0], "type": "private"}},
                "chat_instance": "1",
                "data": self.buttons(place)[words]["callback_data"],
            },
        }

    def press(self, gate, secret, place, words, user):
        return send_update(gate, self.update(place, words, user), secret)


def send_update(gate, update, secret):
    headers = {"Content-Type": "application/json"}
    if secret is not None:
        headers["X-Telegram-Bot-Api-Secret-Token"] = secret
    body = json.dumps(update).encode()
    return gate.http.send("POST", "/v1/telegram/updates", headers, body, fresh=True)


def set_slack(gate, slack, **options):
    """`placet channel set slack`, as its operator types it."""
    ran = gate.cli(
        "channel", "set", "slack", "--api-url", f"{slack.url}/api", stdin=f"{BOT_TOKEN}\n{SIGNING_SECRET}\n", **options
    )
    assert ran.returncode == 0, ran
    return ran


def set_telegram(gate, telegram):
    """The secret that Telegram then sends with each update."""
    ran = gate.cli("channel", "set", "telegram", "--api-url", telegram.url, stdin=f"bot_token={TELEGRAM_TOKEN}\n")
    assert ran.returncode == 0, ran
    return telegram.webhook["secret_token"]


def about(chat, user, words):
    """The places of that user's messages that show those words."""
    return [place for place in chat.to(user) if words in chat.shows(place)]


def settled(gate, bobs, carols, words, seconds=10):
    """Both messages say the same, and have no buttons any more."""

    def both():
        return words in gate.slack.shows(bobs) and words in gate.telegram.shows(carols)

    wait_until(both, seconds, f"`{words}` in both messages")
    assert not gate.slack.buttons(bobs) and not gate.telegram.buttons(carols)


def visible_text(html):
    """What Telegram shows of its kind of HTML; refuses every tag that it does not know."""
    without = re.sub(r"</?(b|i|u|s|code|pre)>", "", html)
    assert "<" not in without and ">" not in without, "an unknown tag"
    assert not re.search(r"&(?!(lt|gt|amp|quot);)", without), "an entity that Telegram does not know"
    return without.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", '"').replace("&amp;", "&")
