"""Mail, as a real SMTP server receives it."""

import json
import os
import re
import subprocess
from html.parser import HTMLParser

import pytest
from local_gate import BINARY, environment
from placet_client import wait_until

FROM = "Placet <gate@example.com>"


class Links(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.found, self.loaded = [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.found += [values["href"]] if tag == "a" else []
        self.loaded += [value for name, value in attributes if name in ("src", "background", "srcset") or tag == "link"]


def test_a_mail_has_text_and_html_with_one_link_and_no_program_answers_it(local_gate, mailbox):
    gate = local_gate()
    gate.settings = {"PLACET_SMTP_URL": mailbox.url, "PLACET_MAIL_FROM": FROM}
    gate.start()
    words = "See https://evil.com?x@y <script>alert(1)</script>"
    asked = gate.client("agent").asked(summary=words, payload={"amount": 5, "to": "Müller", "site": "evil.com,a@b"})
    mail = wait_until(lambda: mailbox.to("bob@example.com"), what="bob's mail")
    url = gate.message(asked, "bob")["url"]

    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert re.fullmatch(r"<[^@\s]+@example\.com>", mail["Message-ID"])
    assert mail["From"] == FROM and mail["Date"]
    assert mail["Subject"].startswith("Approve? ") and "Müller" in mail["Subject"] and "evil.com" not in mail["Subject"]

    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    text, html = (part.get_content() for part in mail.iter_parts())
    links = Links(html)
    assert (links.found, links.loaded) == ([url], [])
    assert "<script" not in html
    for words in (text, html):
        assert url in words and "evil.com" not in words and "Müller" in words
        assert re.search(
            r"by \d\d:\d\d UTC (today|tomorrow) \(in \d+ (minutes?|seconds?|hours?)\)|in less than a minute", words
        )
    if folder := os.environ.get("PLACET_KEEP_MAILS"):
        (gate.folder / "mail.html").write_text(html)
        os.replace(gate.folder / "mail.html", os.path.join(folder, "mail.html"))


def test_mails_about_one_request_are_one_thread_and_others_are_not(local_gate, mailbox):
    policy_text = """
issuer = "https://gate.example.com"
[[clients]]
id = "agent"
[[reviewers]]
id = "bob"
email = "bob@example.com"
roles = ["first", "second"]
[[rules]]
name = "two stages"
stages = [{ ask = ["first"], within = "2s" }, { ask = ["second"], within = "10m" }]
"""
    gate = local_gate(policy_text)
    gate.settings = {"PLACET_SMTP_URL": mailbox.url, "PLACET_MAIL_FROM": FROM}
    gate.start()
    asked = gate.client("agent").asked(payload={"to": "ACME"})

    def of(approval):
        return [mail for _, mail in list(mailbox.mails) if approval["approval_id"] in mail["Message-ID"]]

    first, second = wait_until(lambda: (mails := of(asked)) and len(mails) == 2 and mails, 20, "a mail of each stage")
    assert first["References"] is None and first["In-Reply-To"] is None
    assert first["Message-ID"] in second["References"].split() and second["In-Reply-To"] == first["Message-ID"]
    assert first["Subject"] == second["Subject"] and first["Message-ID"] != second["Message-ID"]
    link = gate.message(asked, "bob")["url"].rsplit("/", 1)[-1]
    for mail in (first, second):
        assert link not in mail["Message-ID"] + (mail["References"] or "")
    other = gate.client("agent").asked(payload={"to": "ACME"})
    [mail] = wait_until(lambda: of(other), 20, "the mail of another request")
    assert mail["References"] is None and asked["approval_id"] not in mail["Message-ID"]


def test_who_wants_it_is_mailed_how_it_ended_quietly_and_in_the_same_thread(local_gate, mailbox):
    people = "".join(
        f'[[reviewers]]\nid = "{name}"\nemail = "{name}@example.com"\nroles = ["finance"]\n{more}\n'
        for name, more in (("bob", "settled_mail = true"), ("carol", "settled_mail = true"), ("dan", ""))
    )
    gate = local_gate(f"""
issuer = "https://gate.example.com"
[[clients]]
id = "agent"
{people}
[[rules]]
name = "short"
when = 'action == "short.pay"'
stages = [{{ ask = ["finance"], within = "2s" }}]
[[rules]]
name = "all"
stages = [{{ ask = ["finance"], within = "10m" }}]
""")
    gate.settings = {"PLACET_SMTP_URL": mailbox.url, "PLACET_MAIL_FROM": FROM}
    gate.start()

    def of(approval, name):
        mails = [mail for to, mail in list(mailbox.mails) if to == [f"{name}@example.com"]]
        return [mail for mail in mails if approval["approval_id"] in mail["Message-ID"]]

    def two(approval, name):
        return wait_until(
            lambda: (mails := of(approval, name)) and len(mails) == 2 and mails, 20, "the mail of the end"
        )

    asked = gate.client("agent").asked(payload={"to": "ACME"})
    for name in ("bob", "carol", "dan"):
        wait_until(lambda name=name: of(asked, name), 20, f"{name}'s mail")
    gate.link(asked, "carol").approve()
    first, last = two(asked, "bob")
    assert last["In-Reply-To"] == first["Message-ID"] and first["Message-ID"] in last["References"].split()
    assert last["Subject"] == f"Re: {first['Subject']}" and last["Message-ID"] != first["Message-ID"]
    assert (last["Importance"], last["X-Priority"], first["Importance"]) == ("low", "5", None)
    assert last["Auto-Submitted"] == "auto-generated" and last["X-Auto-Response-Suppress"] == "All"
    for part in ("plain", "html"):
        words = last.get_body((part,)).get_content()
        assert "Approved by carol" in words and "There is nothing left for you to do." in words
        assert gate.message(asked, "bob")["url"] in words
    expired = gate.client("agent").asked("short.pay", payload={"to": "ACME"})
    for name in ("bob", "carol"):
        _, last = two(expired, name)
        assert "Expired: nobody answered" in last.get_body(("plain",)).get_content()
    # Carol has decided the first one, and Dan's entry does not ask for more mail.
    assert [len(of(asked, "carol")), len(of(asked, "dan")), len(of(expired, "dan"))] == [1, 1, 1]


def doctor(gate, **settings):
    ran = subprocess.run(
        [str(BINARY), "doctor", "--json", "--data", str(gate.data)],
        env=environment() | {"PLACET_MAIL_FROM": FROM} | settings, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return [
        check
        for check in json.loads(ran.stdout)["checks"]
        if "mail server" in check["text"] or "PLACET_SMTP_URL" in check["text"]
    ]


def test_doctor_talks_to_the_mail_server(local_gate, mailbox):
    gate = local_gate().start()
    assert [check["result"] for check in doctor(gate, PLACET_SMTP_URL=mailbox.url)] == ["ok"]
    mailbox.close()
    [check] = doctor(gate, PLACET_SMTP_URL=mailbox.url)
    assert check["result"] != "ok", check
    assert mailbox.mails == []


@pytest.mark.parametrize(
    "url",
    ["smtp://user:hunter2@mail.example.com:587", "smtp://mail.example.com", "smtp://user:hun/ter2@mail.example.com"],
)
def test_no_mail_goes_out_unencrypted_and_no_password_is_shown(local_gate, url):
    gate = local_gate()
    gate.settings = {"PLACET_SMTP_URL": url, "PLACET_MAIL_FROM": FROM}
    with pytest.raises(AssertionError):
        gate.start()
    assert gate.process.returncode == 2
    assert "hunter2" not in gate.logs() and "ter2" not in gate.logs()
    assert "smtps://" in gate.logs()
