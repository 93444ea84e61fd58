"""When a call is tried again, and for how long. One table for every call; `patience.ts` is the same.

| what comes back                          | tried again                      | for how long                          |
| ---------------------------------------- | -------------------------------- | ------------------------------------- |
| no answer: refused, reset, too slow, TLS | after 0.2 s, 0.4 s … 5 s         | `patience_seconds` from the first one |
| 408, 425, 500, 502, 504 and other 5xx    | the same                         | the same                              |
| 429, 503 with `Retry-After`              | when it says, and a little later | ten times `patience_seconds`          |
| any other answer                         | never                            |                                       |

The time limit of the whole errand is never passed.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
BUSY_FACTOR = 10


def is_tried_again(status: int) -> bool:
    """Whether an answer says that the gate is away or busy, and not that the call is wrong."""
    return status >= 500 or status in (408, 425, 429)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds of `Retry-After` (RFC 9110, 10.2.3: seconds, or a date), or none."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdecimal() and len(text) <= 9:
        return float(text)
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0.0, (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now)


class Patience:
    """The pauses of one call. Times are seconds of a monotonic clock."""

    def __init__(self, seconds: float, until: float | None) -> None:
        self._seconds, self._until = seconds, until
        self._away_since: float | None = None
        self._since: float | None = None
        self._pause = FIRST_PAUSE

    def pause(self, now: float, told: float | None) -> float | None:
        """How long to pause before the next try, or none: give up. `told` is what `Retry-After` says."""
        self._since = now if self._since is None else self._since
        if told is None:
            self._away_since = now if self._away_since is None else self._away_since
            pause, end = self._pause, self._away_since + self._seconds
        else:
            # Whoever says when to come back is there: this is no outage. Not all are to come back at once.
            self._away_since = None
            pause = max(told, FIRST_PAUSE) + random.uniform(0, self._pause)
            end = self._since + BUSY_FACTOR * self._seconds
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        if self._until is not None:
            end = min(end, self._until)
        return None if now + pause >= end else pause
