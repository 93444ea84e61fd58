#!/usr/bin/env python3
"""Which of AWS's documented limits an approval rate meets first: a model, for what no test on one machine can show.

    python3 tests/bench/lambda/load_model.py            the tables below, for 10, 100, 1,000 and 10,000 approvals a second
    python3 tests/bench/lambda/load_model.py --clients 200 --reviewers 50 --wait 25

It has two parts. What one approval writes, by the key that it is written under, is compared with what a key takes. And
transactions that meet at one item are played: DynamoDB cancels one of them, and the store tries it again with its own
pauses, ten times (`crates/dynamodb/src/commit.rs`). "before" has the policy's newness in one item, as until 2026-11-26.

The demand of an approval follows the store's transactions (`crates/dynamodb/in-process/tests/calls.rs` counts them): an
ask that one reviewer is told of, one decision, one callback.
"""

import argparse
import heapq
import random
from dataclasses import dataclass

# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/bp-partition-key-design.html
KEY_WRITE_UNITS = 1_000
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/ServiceQuotas.html
TABLE_WRITE_UNITS, NEW_TABLE_WRITE_UNITS = 40_000, 4_000
# https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html, and what a new account may have
EXECUTIONS, EXECUTIONS_OF_A_NEW_ACCOUNT = 1_000, 10
# https://docs.aws.amazon.com/general/latest/gr/sns.html: mails a second to a topic's subscribers
SNS_MAILS = 10
# https://docs.aws.amazon.com/general/latest/gr/apigateway.html: calls a second of an account and region
API_CALLS = 10_000

# Assumed, as nobody can measure them here: how long a transaction holds its items, and how long a function works.
TRANSACTION_SECONDS = 0.015
ASK_SECONDS, DECIDE_SECONDS, SWEEP_SECONDS = 0.030, 0.040, 0.060

# Of the store: tries and pauses of a transaction, partitions of the index by time, places that mark a policy.
TRIES, FIRST_PAUSE, LONGEST_PAUSE = 10, 0.025, 1.0
INDEX_PARTITIONS = 8
MARKS = {"before": 1, "after": 80}

# One approval: two transactions by the gate. A write in a transaction costs two units for each started KB.
ITEM_UNITS = {"request": 2 * 3, "entry": 2 * 1, "message": 2 * 1, "counter": 2 * 1, "check": 2 * 1}


@dataclass
class Limit:
    """One limit: what it is, how much an approval takes of it, and what to do."""

    name: str
    approvals: float
    advice: str


def limits(clients, reviewers, wait, marks, concurrency, mails):
    """Each limit as the approvals a second at which it is met."""
    checks = 2 * ITEM_UNITS["check"]
    counters = 3 * ITEM_UNITS["counter"]
    written = (
        2 * ITEM_UNITS["request"] + 4 * ITEM_UNITS["entry"] + 2 * ITEM_UNITS["message"] + counters + checks
        + 2 * ITEM_UNITS["counter"] + 2 * (1 + 1)
    )  # fmt: skip
    # A request enters the index of what closes and leaves it; each of two messages enters, moves when claimed, and leaves.
    closes, sends = 2, 2 * 4
    busy = ASK_SECONDS + wait + DECIDE_SECONDS + 2 * SWEEP_SECONDS
    return [
        Limit("the check of the policy, by key", KEY_WRITE_UNITS * marks / checks, "-"),
        Limit("the counters of one client, by key", clients * KEY_WRITE_UNITS / counters, "more clients"),
        Limit("the list of one client, by key", clients * KEY_WRITE_UNITS / 2, "more clients"),
        Limit("the index of what closes, by key", INDEX_PARTITIONS * KEY_WRITE_UNITS / closes, "SHARDS in items.rs"),
        Limit("the index of messages, by key", INDEX_PARTITIONS * KEY_WRITE_UNITS / sends, "SHARDS in items.rs"),
        Limit(
            "a new table's throughput", NEW_TABLE_WRITE_UNITS / written, "it doubles within 30 minutes; or pre-warm it"
        ),
        Limit("a table's throughput", TABLE_WRITE_UNITS / written, "Service Quotas, DynamoDB"),
        Limit("executions", concurrency / busy, "Service Quotas, Lambda; callbacks instead of long polls"),
        Limit("calls of the API", API_CALLS / (3 if wait else 2), "Service Quotas, API Gateway; ThrottleRate"),
        *([Limit("mails by SNS", mails, "another way to tell reviewers")] if mails else []),
        Limit("one person, 3 seconds each", reviewers / 3, "more reviewers; rules that decide alone"),
    ]


def play(rate, items_of, seconds, seed):
    """Plays transactions that arrive at random; which share of them fails, and the 99th percentile of their time.

    `items_of(random)` draws the shared items that one transaction holds.
    """
    dice = random.Random(seed)
    events, number, at = [], 0, 0.0
    while at < seconds:
        at += dice.expovariate(rate)
        number += 1
        heapq.heappush(events, (at, number, 0, at, tuple(items_of(dice))))
    held, times, failed = {}, [], 0
    while events:
        now, name, tried, began, items = heapq.heappop(events)
        if all(held.get(item, 0.0) <= now for item in items):
            for item in items:
                held[item] = now + TRANSACTION_SECONDS
            times.append(now + TRANSACTION_SECONDS - began)
            continue
        if tried + 1 == TRIES:
            failed += 1
            continue
        longest = min(FIRST_PAUSE * 2**tried, LONGEST_PAUSE)
        pause = TRANSACTION_SECONDS + longest * dice.uniform(0.5, 1.0)
        heapq.heappush(events, (now + pause, name, tried + 1, began, items))
    times.sort()
    return failed / max(number, 1), times[int(len(times) * 0.99)] if times else float("inf")


def conflicts(approvals, clients, marks, seconds, seed):
    """Both transactions of an approval hold one of the policy's marks, and the counters of their client."""

    def items_of(dice):
        return ("mark", dice.randrange(marks)), ("client", dice.randrange(clients))

    return play(2 * approvals, items_of, seconds, seed)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=100, help="programs that ask, all as often")
    parser.add_argument(
        "--reviewers", type=int, default=100_000, help="people; by default so many that they are no limit"
    )
    parser.add_argument("--wait", type=float, default=0.0, help="seconds that a client's call waits for the outcome")
    parser.add_argument("--executions", type=int, default=EXECUTIONS, help="functions that the account runs at once")
    parser.add_argument(
        "--mails",
        type=float,
        default=None,
        help=f"mails a second, where reviewers are told by them; SNS takes {SNS_MAILS}",
    )
    parser.add_argument("--seconds", type=float, default=10.0, help="how long transactions are played")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()

    print("| met first at | before | after | then |")
    print("| --- | --- | --- | --- |")
    sides = {
        side: limits(given.clients, given.reviewers, given.wait, marks, given.executions, given.mails)
        for side, marks in MARKS.items()
    }
    for before, after in sorted(zip(*sides.values(), strict=True), key=lambda pair: pair[1].approvals):
        print(f"| {after.name} | {before.approvals:,.0f}/s | {after.approvals:,.0f}/s | {after.advice} |")

    print("\n| approvals a second | before: failed, p99 | after: failed, p99 |")
    print("| --- | --- | --- |")
    for approvals in (10, 100, 1_000, 10_000):
        cells = []
        for marks in MARKS.values():
            seconds = min(given.seconds, 20_000 / approvals)
            failed, p99 = conflicts(approvals, given.clients, marks, seconds, given.seed)
            cells.append(f"{failed:.1%}, {p99 * 1000:,.0f} ms")
        print(f"| {approvals:,} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
