"""A Claude agent sends an invoice by email, if a person approves.

    PLACET_URL=http://127.0.0.1:8484 PLACET_CLIENT=my-agent PLACET_SECRET=whsec_… SMTP=localhost:1025 python claude_invoice.py

With ANTHROPIC_API_KEY the real model writes; without, recorded answers are played on loopback.
"""

import os
import smtplib
import sys
from contextlib import nullcontext
from email.message import EmailMessage

from anthropic import Anthropic, beta_tool
from placet import Approval, NotApproved, Placet
from recorded import model_server

key = os.environ.get("ANTHROPIC_API_KEY")


def waiting(approval: Approval) -> None:
    print(f"A person of rule {approval.rule!r} was asked (stage {approval.stage}): {approval.summary}. "
          f"Waiting until {approval.deadline}; Ctrl-C withdraws it.", file=sys.stderr)  # fmt: skip


with Placet.from_env() as gate, nullcontext() if key else model_server("claude") as url:
    client = Anthropic() if key else Anthropic(base_url=url, api_key="recorded")

    @gate.requires_approval(
        "invoice.send", summary=lambda call: f"Mail invoice {call['number']} to {call['to']}", notify=waiting
    )
    def mail(to: str, number: str, amount: str) -> str:
        letter = EmailMessage()
        letter["From"], letter["To"], letter["Subject"] = "billing@example.com", to, f"Invoice {number}"
        letter.set_content(f"Please pay {amount} for invoice {number}.")
        host, _, port = os.environ["SMTP"].partition(":")
        with smtplib.SMTP(host, int(port or 25), "localhost") as server:
            server.send_message(letter)
        return f"Invoice {number} was sent to {to}."

    @beta_tool
    def send_invoice(to: str, number: str, amount: str) -> str:
        """Send an invoice by email. A person is asked first.

        Args:
            to: The address.
            number: The invoice's number.
            amount: What is to be paid, with its currency.
        """
        try:
            return mail(to, number, amount)
        except NotApproved as refused:
            return f"Not sent. {refused}"

    runner = client.beta.messages.tool_runner(
        model=os.environ.get("ANTHROPIC_MODEL", "claude-sonnet-4-5"), max_tokens=1000, tools=[send_invoice],
        messages=[{"role": "user", "content": "Send invoice 4711 over EUR 5000.00 to acme@example.com."}],
    )  # fmt: skip
    print(runner.until_done().content[0].text)
