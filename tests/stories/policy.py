"""The policy of the stories: the shared one (tests/fixtures/policy.toml) and more. Tests pick a rule by the action they ask for."""

from datetime import UTC, datetime, timedelta

import testgate

ISSUER = "https://gate.example.test"


def racers(pace):
    """Who is in the crowd."""
    return [f"racer{number:02}" for number in range(pace.crowd)]


def day(offset):
    return (datetime.now(UTC) + timedelta(days=offset)).date().isoformat()


OWN = f"""
[[clients]]
id = "lister"
roles = ["requester"]
token = "HS256"
rate_per_minute = 60000

[[clients]]
id = "closed"
roles = ["requester"]
token = "HS256"
rate_per_minute = 60000

[[clients]]
id = "newcomer"
roles = ["requester"]
rate_per_minute = 60000

[[clients]]
id = "often"
name = "Often"
roles = ["requester"]
rate_per_minute = 60000

[[clients]]
id = "slow"
roles = ["requester"]
token = "HS256"
rate_per_minute = 5

[[clients]]
id = "executor2"
roles = ["requester"]
rate_per_minute = 60000

[[reviewers]]
id = "olga"
name = "Olga"
email = "olga@example.com"
roles = ["owners"]

[[reviewers]]
id = "bob"
name = "Bob"
email = "bob@example.com"
phone = "+15550100"
roles = ["finance"]

[[reviewers]]
id = "dave"
name = "Dave"
email = "dave@example.com"
roles = ["support"]
away = [{{ from = {day(-3)}, until = {day(3)}, backup = "erin" }}]

[[reviewers]]
id = "erin"
name = "Erin"
email = "erin@example.com"
roles = []

[[reviewers]]
id = "amy"
name = "Amy"
email = "amy@example.com"
roles = ["gone"]
away = [{{ from = 1999-01-01, until = 1999-01-02, backup = "ava" }}]

[[reviewers]]
id = "ann"
name = "Ann"
email = "ann@example.com"
roles = ["gone"]

[[reviewers]]
id = "ava"
name = "Ava"
email = "ava@example.com"
roles = []

[[reviewers]]
id = "ida"
name = "Ida"
email = "ida@example.com"
roles = ["inboxes"]

[[reviewers]]
id = "ivo"
name = "Ivo"
email = "ivo@example.com"
roles = ["inboxes"]

[[reviewers]]
id = "tim"
name = "Tim"
email = "tim@example.com"
roles = ["turns"]

[[reviewers]]
id = "tom"
name = "Tom"
email = "tom@example.com"
roles = ["turns"]

[[reviewers]]
id = "tia"
name = "Tia"
email = "tia@example.com"
roles = ["turns"]
"""


def crowd(pace):
    return "".join(
        f'\n[[reviewers]]\nid = "{racer}"\nname = "{racer.title()}"\nemail = "{racer}@example.com"\nroles = ["crowd"]\n'
        for racer in racers(pace)
    )


# No rule matches other actions than these: they are rejected.
RULES = """
[[rules]]
name = "large titles"
when = 'action == "title.edit" && payload.amount > 10000'
stages = [{ ask = ["owners"], within = "10m" }]

[[rules]]
name = "titled"
when = 'action == "title.pay"'
title = "Pay {payload.amount} {payload.currency} to {payload.to}"
mask = ["payload.pin"]
stages = [{ ask = ["finance"], within = "10m" }]

[[rules]]
name = "confirmed"
when = 'action == "title.confirm"'
title = "Pay {payload.amount} to {payload.to}"
confirm = true
stages = [{ ask = ["finance"], within = "10m" }]

[[rules]]
name = "edited"
when = 'action == "title.edit"'
title = "Pay {payload.amount} {payload.currency} to {payload.to}"
editable = ["payload.amount"]
stages = [{ ask = ["finance"], within = "10m" }]

[[rules]]
name = "edited by two"
when = 'action == "title.pair"'
editable = ["payload.amount"]
approvals = 2
stages = [{ ask = ["finance"], within = "10m" }]

[[rules]]
name = "broken alone"
when = 'action == "broken.alone" && payload.missing.deeper > 3'
decide = "approve"

[[rules]]
name = "broken asks"
when = 'action == "broken.asks" && payload.missing.deeper > 3'
stages = [{ ask = ["finance"], within = "QUICK" }]

[[rules]]
name = "people"
when = 'action.startsWith("ask.")'
stages = [{ ask = ["finance"], within = "1h" }]

# An inbox shows a hundred: stories about one have reviewers of their own, for what others leave open in a shared gate.
[[rules]]
name = "inboxes"
when = 'action.startsWith("inbox.")'
stages = [{ ask = ["inboxes"], within = "1h" }]

[[rules]]
name = "quick"
when = 'action.startsWith("quick.")'
stages = [{ ask = ["finance"], within = "QUICK" }]

[[rules]]
name = "lapse"
when = 'action.startsWith("lapse.")'
stages = [{ ask = ["finance"], within = "QUICK" }]

[[rules]]
name = "ladder"
when = 'action.startsWith("ladder.")'
stages = [
  { ask = ["finance"], within = "RUNG" },
  { ask = ["owners"], within = "RUNG" },
  { queue = "backup", within = "1h" },
]

[[rules]]
name = "carry"
when = 'action.startsWith("carry.")'
approvals = 2
stages = [
  { ask = ["finance"], within = "CARRY" },
  { ask = ["owners"], within = "1h" },
]

[[rules]]
name = "owned"
when = 'action.startsWith("owned.")'
stages = [{ ask = ["owners"], within = "1h" }]

[[rules]]
name = "owner allowed"
when = 'action.startsWith("mine.")'
stages = [{ ask = ["owners"], within = "1h" }]
owner_may_approve = true

[[rules]]
name = "support"
when = 'action.startsWith("away.")'
stages = [{ ask = ["support"], within = "1h" }]

[[rules]]
name = "gone"
when = 'action.startsWith("gone.")'
stages = [{ ask = ["gone"], within = "1h" }]

[[rules]]
name = "turns"
when = 'action.startsWith("turn.")'
notify = "rotate"
stages = [{ ask = ["turns"], within = "1h" }]

[[rules]]
name = "much"
when = 'action.startsWith("total.") && total("payload.amount", "24h", "payload.to") > 100'
stages = [{ ask = ["finance"], within = "1h" }]

[[rules]]
name = "little"
when = 'action.startsWith("total.")'
decide = "approve"

[[rules]]
name = "crowd"
when = 'action.startsWith("crowd.")'
stages = [{ ask = ["crowd"], within = "1h" }]

[[rules]]
name = "crowd of five"
when = 'action.startsWith("five.")'
approvals = 5
stages = [{ ask = ["crowd"], within = "1h" }]
"""


def shared(pace):
    """The policy for a backend of that pace: its crowd, and stages as short as it can bear."""
    rules = RULES.replace("QUICK", f"{pace.quick}s").replace("RUNG", f"{pace.rung}s").replace("CARRY", f"{pace.carry}s")
    return testgate.policy(OWN + crowd(pace) + rules)
