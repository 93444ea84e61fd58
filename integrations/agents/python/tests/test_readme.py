"""Every Python and JSON block of the READMEs runs as it stands."""

import json
import re
from pathlib import Path

import pytest

AGENTS = Path(__file__).resolve().parents[2]
READMES = ["README.md", "python/README.md"]


def blocks(kind):
    return [
        (name, text)
        for name in READMES
        for text in re.findall(rf"```{kind}\n(.*?)```", (AGENTS / name).read_text(), re.DOTALL)
    ]


@pytest.mark.parametrize(("name", "text"), blocks("python"))
def test_a_python_block_runs(name, text, running, raw, desk):
    client = "agent" if "requires_approval" in text else "payments"
    secret = raw("agent").secret
    text = text.replace("http://127.0.0.1:8484", running.url).replace(
        '"my-agent", "whsec_…"', f'"agent", "{secret}", algorithm="HS256"'
    )
    made = {}
    answering = desk.answers(raw("agent"), "payment.send", "approve") if client == "agent" else None
    exec(compile(text, name, "exec"), made)
    if answering is None:
        from placet import InvalidToken

        with pytest.raises(InvalidToken, match="missing"):
            made["pay"]("acme@example.com", 5000)
        return
    if not answering.asked and answering.is_alive():
        assert made["pay"]("acme@example.com", 5000) == "paid 5000 to acme@example.com"
    assert len(answering.done()) == 1


@pytest.mark.parametrize(("name", "text"), blocks("json"))
def test_a_json_block_is_json(name, text):
    assert json.loads(text)
