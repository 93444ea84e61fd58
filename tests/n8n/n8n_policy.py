"""The gate's policy for these tests: the shared one (tests/testgate/README.md) and more. A rule is picked by the action that a workflow asks for."""

import testgate

POLICY = testgate.policy("""
[[clients]]
id = "n8n"
roles = ["requester"]
executors = ["payments"]
callback_hosts = ["127.0.0.1"]
rate_per_minute = 60000
max_pending = 100000

[[clients]]
id = "shared"
roles = ["requester"]
token = "HS256"
callback_hosts = ["127.0.0.1"]
rate_per_minute = 60000

[[clients]]
id = "payments"
roles = ["executor"]
rate_per_minute = 60000

[[clients]]
id = "watcher"
roles = ["auditor"]
callback_hosts = ["127.0.0.1"]
rate_per_minute = 60000

[[clients]]
id = "far-watcher"
roles = ["auditor"]
rate_per_minute = 60000

[[clients]]
id = "answerer"
roles = ["decider"]
queues = ["backup"]
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

[[rules]]
name = "auto no"
when = 'action == "auto.no"'
decide = "reject"

[[rules]]
name = "refunds"
when = 'action == "refund.create"'
stages = [{ ask = ["finance"], within = "1h" }]

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
""")
