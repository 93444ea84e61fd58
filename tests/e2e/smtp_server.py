"""A real SMTP server that keeps what it is sent."""

from email import message_from_bytes, policy

from aiosmtpd.controller import Controller


class OnAnyPort(Controller):
    """aiosmtpd asks its own port whether it is up, before it knows which one the system has picked."""

    def _trigger_server(self):
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


class Mailbox:
    """Takes every mail, but for the addresses in `gone`."""

    def __init__(self):
        self.mails, self.gone = [], set()
        self.controller = OnAnyPort(self, hostname="127.0.0.1", port=0)
        self.controller.start()
        self.url = f"smtp://127.0.0.1:{self.controller.port}"
        self.listens = True

    def close(self):
        if self.listens:
            self.listens = False
            self.controller.stop()

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address in self.gone:
            return f"550 5.1.1 {address} is unknown here"
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 taken"

    def to(self, address):
        return next((mail for recipients, mail in list(self.mails) if recipients == [address]), None)
