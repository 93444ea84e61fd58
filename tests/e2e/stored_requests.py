"""Requests of the past, written straight into a gate's database: what `policy replay` and `policy suggest` read."""

import json

HOUR = 60 * 60 * 1000
DAY = 24 * HOUR


def replace(connection, cases, now):
    """Puts these requests in the place of all that was asked. The gate's terms are those of the first that it was asked itself."""
    (text,) = connection.execute("SELECT question FROM questions ORDER BY id LIMIT 1").fetchone()
    question = json.loads(text)
    terms = question["terms"]
    for table in ("questions", "requests", "outbox"):
        connection.execute(f"DELETE FROM {table}")
    for one in cases:
        asked, state = stored(one, question, terms, now)
        connection.execute(
            "INSERT INTO requests (id, key, version, client, approval_id, action, payload_sha256, status, closes_at, "
            "ended_at, state) VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                one["number"] + 1, one["number"].to_bytes(16, "big"), one["client"], one["id"], asked["action"],
                asked["payload_sha256"], status(one), now + 30 * DAY if one["then"] == "pending" else None,
                one["decided"], json.dumps(state),
            ),
        )  # fmt: skip
        connection.execute("INSERT INTO questions VALUES (?, ?)", (one["number"] + 1, json.dumps(asked)))


def stored(one, question, terms, now):
    asked = dict(
        question, approval_id=one["id"], client=one["client"], request_id=f"gen-{one['number']}", action=one["action"],
        payload=json.dumps(one["payload"], sort_keys=True, separators=(",", ":")), created_at=one["asked"], rule="all",
    )  # fmt: skip
    asked.pop("terms", None)
    if not one["then"].startswith("policy"):
        asked["terms"] = terms
    state = {
        "v": 1, "chain_seq": 1, "chain_hash": "0" * 64, "updated_at": one["decided"] or one["asked"],
        "votes": [
            {"reviewer": "bob", "approve": one["then"] == "people_approved", "at": at, "stage": 0}
            | ({"opened_at": opened} if opened else {})
            for opened, at in one["votes"]
        ],
    }  # fmt: skip
    if one["then"] == "pending":
        state["pending"] = {"stage": 0, "closes_at": now + 30 * DAY, "asked": []}
    else:
        by = {
            "people": {"reviewer": "bob"}, "policy": {"policy": "all"}, "expired": {"timeout": "all"},
            "withdrawn": {"client": one["client"]},
        }[one["then"].split("_")[0]]  # fmt: skip
        state["outcome"] = {"status": status(one), "decided_at": one["decided"], "decided_by": [by]}
    if one["flag"]:
        state["flag"] = {"by": "client:auditor", "at": one["flag"]}
    if one["redeemed"]:
        state["redemption"] = {"by": "x", "at": one["redeemed"]}
    return asked, state


def status(one):
    return {"expired": "expired", "withdrawn": "cancelled", "pending": "pending"}.get(
        one["then"], one["then"].split("_")[-1]
    )
