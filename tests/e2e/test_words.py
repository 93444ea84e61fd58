"""Hostile words on the operator's terminal, in the command's JSON and in the gate's files."""

import json
import unicodedata

from placet_client import wait_until

HIDING = (
    "\x7f\x85\x9b\u00ad\u061c\u070f\u115f\u200b\u202e\u2028\u3164\ufeff\ue000\U000110bd\U00016fe4\U000e0041\U000f0000"
)
HONEST = "Müller 山田 \U0001f469\u200d\U0001f467 \u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645"
BAD = {"Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp"}


def hidden(text):
    joiners = {"\n", "\u200c", "\u200d"}
    return [f"U+{ord(c):04X}" for c in text if c not in joiners and (unicodedata.category(c) in BAD or c in HIDING)]


def test_no_output_of_the_command_carries_what_hides(local_gate):
    gate = local_gate().start()
    summary = f"{HONEST} \x1b[2J {'x'.join(HIDING)} o{chr(0x301) * 40} https://evil.com"
    asked = gate.client("agent").asked(
        summary=summary[:500], payload={f"k{HIDING}": HIDING, "to": HONEST, "bell": "\x07"}
    )
    wait_until(lambda: gate.messages(asked, "bob"), what="bob's message")
    for command in (["inbox"], ["inbox", "--reviewer", "bob"]):
        shown = gate.cli(*command)
        assert shown.returncode == 0 and hidden(shown.stdout) == [], command
        assert "<U+001B>[2J" in shown.stdout and "evil.com" not in shown.stdout
        ran = gate.cli(*command, "--json")
        assert hidden(ran.stdout) == [], command
        [waiting] = json.loads(ran.stdout)["waiting"]
        assert waiting["summary"] == summary[:500]
        assert "\U0001f469\u200d\U0001f467" in ran.stdout, "what shows itself is left as it is"
    for path in (gate.data / "outbox").glob("*.json"):
        assert hidden(path.read_text()) == [], path.name
        assert hidden(json.loads(path.read_text())["text"]) == []
