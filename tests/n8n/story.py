"""What most tests tell: a run asks, somebody decides, the run ends."""

import uuid

from placet_client import wait_until
from workflows import gated, placet


class Story:
    """One workflow with our node before a dangerous step, and one run of it."""

    def __init__(self, pair, made, path):
        self.pair, self.made, self.path = pair, made, path

    @classmethod
    def begin(cls, pair, items, action="ask.pay", **parameters):
        settings = parameters.pop("settings", {})
        parameters.setdefault("message", "Pay the invoice")
        path = uuid.uuid4().hex[:12]
        step = placet(pair.credential, action=action, **parameters)
        made = pair.n8n.workflow(gated(path, step, **settings))
        story = cls(pair, made, path)
        story.number = pair.n8n.trigger(path, {"items": items})
        return story

    def asked(self, count=1, seconds=60):
        """The approvals of this run, in the order of the items."""

        def found():
            answer = self.pair.client.list(limit=100).json()["requests"]
            mine = [one for one in answer if one["metadata"].get("execution_id") == self.number]
            return sorted(mine, key=lambda one: int(one["metadata"]["item"])) if len(mine) >= count else None

        return wait_until(found, seconds, f"{count} requests of run {self.number}")

    def waiting(self):
        return self.pair.n8n.waiting(self.number)

    def ended(self):
        return self.pair.n8n.ended(self.number)

    def approve(self, approval):
        return self.pair.gate.link(approval, "bob").approve()

    def reject(self, approval, reason="too expensive"):
        return self.pair.gate.link(approval, "bob").reject(reason=reason)
