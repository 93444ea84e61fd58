"""What a story may do with a gate, whatever it runs on. `LocalGate` and `AwsGate` say how."""

import time
from dataclasses import dataclass

from placet_client import Client, Link, wait_until

ENDINGS = {"approved", "rejected", "expired", "cancelled"}


@dataclass(frozen=True)
class Pace:
    """How fast a backend is, so that the same story runs on each: stages in seconds, crowds in heads.

    A stage must be long enough for what the story does while it is open, and no longer, because the story waits for its end.
    """

    patience: int  # factor on every wait for a condition
    quick: int  # the stage that nobody is to answer
    rung: int  # each of the first stages of the ladder
    carry: int  # a first stage in which one reviewer votes
    shortest: int  # the shortest `timeout_seconds` in which a link still arrives
    crowd: int  # who race each other
    rounds: int  # how often a race is run
    scans: int  # how often a scanner opens each URL
    hooks: float  # after so many seconds a new subscription is known to every process
    calm: float  # after so long without a write, nothing is under way
    slack: float  # how late a deadline may be heard of, with a machine under load


class Backend:
    """A gate with a policy, and the ways to see what it did. What differs is below the line."""

    pace: Pace
    url = None  # where its links lead
    http = None  # how it is reached
    issuer = None  # `iss` of its tokens
    keeps_bytes = True  # whether a request reaches it byte by byte, as it was sent

    def client(self, client_id):
        return Client(self.http, client_id, self.secret(client_id), self.issuer)

    def message(self, approval, reviewer, channel="*", seconds=10):
        what = f"a message to {reviewer} about {approval['approval_id']}"
        return wait_until(lambda: self.messages(approval, reviewer, channel), seconds, what)[0]

    def link(self, approval, reviewer, seconds=10):
        return Link(self.http, self.message(approval, reviewer, seconds=seconds)["url"])

    def told(self, approval):
        """Who has been sent a message."""
        return {message["reviewer"] for message in self.messages(approval)}

    def queued(self, approval, queue="backup", seconds=10):
        """The message in the queue from which another system answers."""
        mine = lambda message: message["approval"]["approval_id"] == approval["approval_id"]  # noqa: E731
        found = wait_until(
            lambda: list(filter(mine, self.queue_messages(queue))), seconds, f"a message in queue {queue}"
        )
        return found[0]

    def hook(self, client, url, events=("approval.requested", "approval.decided")):
        """A subscription that every process of the gate knows."""
        made = client.hook(url, events)
        known_at = time.time() + self.pace.hooks
        wait_until(lambda: time.time() >= known_at, self.pace.hooks + 1, "the subscription to be known")
        return made

    def audit_of(self, approval):
        return [entry for entry in self.audit() if entry["subject"] == approval["approval_id"]]

    def endings_of(self, approval):
        return [entry for entry in self.audit_of(approval) if is_ending(entry)]

    def settled_dump(self, seconds=20):
        """A dump after which nothing is under way: deliveries and timers of earlier steps are done."""
        last = {"dump": None, "since": 0.0}

        def calm():
            now = self.dump()
            if now != last["dump"] or not self.is_sealed(now):
                last.update(dump=now, since=time.monotonic())
                return None
            return now if time.monotonic() - last["since"] > self.pace.calm else None

        return wait_until(calm, seconds, "the database to settle")

    def is_sealed(self, dump):
        """Whether what a backend does by itself has come to rest: the log holds every entry of a dump that it is part of."""
        return True

    # ---------------------------------------------------------------- what each backend does its own way

    def secret(self, client_id):
        """What the operator's command prints for a client."""
        raise NotImplementedError

    def messages(self, approval=None, reviewer="*", channel="*"):
        """Messages to reviewers so far, about that approval or any: `reviewer`, `channel`, `subject`, `text`, `url`."""
        raise NotImplementedError

    def queue_messages(self, queue="backup"):
        """Everything that was ever put into that queue."""
        raise NotImplementedError

    def inbox(self, reviewer):
        """A reviewer's inbox."""
        raise NotImplementedError

    def practice(self, reviewer):
        """The URL of a reviewer's practice round."""
        raise NotImplementedError

    def push_policy(self, text):
        """Installs another policy, as an operator does."""
        raise NotImplementedError

    def rotate(self):
        """Rotates the keys while the gate serves; returns once it has taken the new ones up."""
        raise NotImplementedError

    def audit(self):
        """Every audit entry, as it is stored."""
        raise NotImplementedError

    def dump(self):
        """All that is stored, so that two dumps are equal exactly when nothing was written."""
        raise NotImplementedError

    def logs(self):
        """What the gate has logged so far."""
        raise NotImplementedError

    def alive(self):
        raise NotImplementedError


def is_ending(entry):
    """Whether an audit entry says that a request ended; a vote that did not end it is another event."""
    event = str(entry.get("event", "")).lower()
    return event.split(".")[-1] in ENDINGS and not event.startswith("vote")


def kids(gate):
    """Names of the published signing keys."""
    return [key["kid"] for key in gate.http.send("GET", "/.well-known/jwks.json").json()["keys"]]
