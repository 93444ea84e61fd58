"""An OpenAI agent sends an invoice by email, if a person approves.

    PLACET_URL=http://127.0.0.1:8484 PLACET_CLIENT=my-agent PLACET_SECRET=whsec_… SMTP=localhost:1025 python openai_invoice.py

With OPENAI_API_KEY the real model writes; without, recorded answers are played on loopback.
"""

import asyncio
import os
import smtplib
import sys
from contextlib import nullcontext
from email.message import EmailMessage

from agents import Agent, OpenAIResponsesModel, Runner, function_tool, set_tracing_disabled
from openai import AsyncOpenAI
from placet import Approval, AsyncPlacet
from recorded import model_server


def mail(to: str, number: str, amount: str) -> str:
    letter = EmailMessage()
    letter["From"], letter["To"], letter["Subject"] = "billing@example.com", to, f"Invoice {number}"
    letter.set_content(f"Please pay {amount} for invoice {number}.")
    host, _, port = os.environ["SMTP"].partition(":")
    with smtplib.SMTP(host, int(port or 25), "localhost") as server:
        server.send_message(letter)
    return f"Invoice {number} was sent to {to}."


def waiting(approval: Approval) -> None:
    print(f"A person of rule {approval.rule!r} was asked (stage {approval.stage}): {approval.summary}. "
          f"Waiting until {approval.deadline}; Ctrl-C withdraws it.", file=sys.stderr)  # fmt: skip


async def main() -> None:
    key = os.environ.get("OPENAI_API_KEY")
    set_tracing_disabled(key is None)
    with nullcontext() if key else model_server("openai") as url:
        client = AsyncOpenAI() if key else AsyncOpenAI(base_url=f"{url}/v1", api_key="recorded")
        async with AsyncPlacet.from_env() as gate:

            @function_tool
            @gate.requires_approval(
                "invoice.send", summary=lambda call: f"Mail invoice {call['number']} to {call['to']}", notify=waiting
            )
            async def send_invoice(to: str, number: str, amount: str) -> str:
                """Send an invoice by email. A person is asked first."""
                return await asyncio.to_thread(mail, to, number, amount)

            model = OpenAIResponsesModel(os.environ.get("OPENAI_MODEL", "gpt-5-mini"), client)
            clerk = Agent(name="Clerk", model=model, tools=[send_invoice])
            result = await Runner.run(clerk, "Send invoice 4711 over EUR 5000.00 to acme@example.com.")
            print(result.final_output)


asyncio.run(main())
