"""The gate's policy for these tests. A rule is picked by the action that a workflow asks for."""

POLICY = """
issuer = "https://gate.example.test"

[[clients]]
id = "n8n"
roles = ["requester"]
callback_hosts = ["127.0.0.1"]
rate_per_minute = 60000

[[clients]]
id = "signer"
roles = ["requester"]
token = "EdDSA"
callback_hosts = ["127.0.0.1"]
rate_per_minute = 60000

[[clients]]
id = "far"
roles = ["requester"]
rate_per_minute = 60000

[[clients]]
id = "slow"
roles = ["requester"]
callback_hosts = ["127.0.0.1"]
rate_per_minute = 3

[[clients]]
id = "auditor"
roles = ["auditor"]
callback_hosts = ["127.0.0.1"]
rate_per_minute = 60000

[[reviewers]]
id = "bob"
name = "Bob"
email = "bob@example.com"
roles = ["finance"]

[[rules]]
name = "auto yes"
when = 'action == "auto.yes"'
decide = "approve"

[[rules]]
name = "auto no"
when = 'action == "auto.no"'
decide = "reject"

[[rules]]
name = "brief"
when = 'action == "brief.pay"'
stages = [{ ask = ["finance"], within = "1h" }]
valid_for = "1s"

[[rules]]
name = "quick"
when = 'action.startsWith("quick.")'
stages = [{ ask = ["finance"], within = "3s" }]

[[rules]]
name = "last"
when = 'action.startsWith("last.")'
stages = [{ ask = ["finance"], within = "25s" }]
on_timeout = "reject"

[[rules]]
name = "people"
when = 'true'
stages = [{ ask = ["finance"], within = "1h" }]
"""
