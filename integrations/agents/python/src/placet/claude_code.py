"""A `PreToolUse` hook for Claude Code: `placet-claude-hook`. It reads the hook's JSON and writes the decision.

In `.claude/settings.json`:

    {"hooks": {"PreToolUse": [{"matcher": "Bash|Write", "hooks": [{
        "type": "command", "command": "placet-claude-hook", "args": ["--timeout", "540"],
        "timeout": 600, "onFailure": "block"}]}]}}

with `PLACET_URL`, `PLACET_CLIENT` and `PLACET_SECRET` in the environment. `"onFailure": "block"` is what blocks the tool
where this program cannot even start, and `--timeout` must be less than the hook's own `timeout`. For a Claude Code
without `onFailure`, the command `placet-claude-hook --timeout 540 || exit 2` (no `args`) does the same, but for the time.

Exit 0 means allowed, and is reached by one way only: a person's approval of exactly this input, used up at the gate, and
the answer written to its last byte. Everything else is exit 2, with the reason on stderr, which Claude Code shows.
"""

# Nothing but what every Python has is imported before the guard: a missing module must block, too.
from __future__ import annotations

import os
import sys
import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from types import FrameType
    from typing import Any, NoReturn

ALLOWS = 0
BLOCKS = 2
INPUT_BYTES = 4 * 1024 * 1024
# The end of the time is for saying no in good order, before the clock does it.
SPARE_SECONDS = 2.0


class Stopped(BaseException):
    """A signal says that this program is to end."""


def main() -> NoReturn:
    """Exit 0 with a decision, or 2, in `--timeout` seconds, whatever goes wrong."""
    began = time.monotonic()
    reason = "this hook did not come to an end"
    try:
        options = _options()
        _watch(options.timeout)
        _heed_signals()
        approved = _ask(options.timeout, began + options.timeout)
        _say(
            {
                "hookEventName": "PreToolUse",
                "permissionDecision": "allow",
                "permissionDecisionReason": "approved",
                "updatedInput": approved,
            }
        )
        if time.monotonic() < began + options.timeout:
            os._exit(ALLOWS)
        reason = "the answer came too late"
    except BaseException as error:
        reason = _reason(error)
    _block(reason)


def _options() -> argparse.Namespace:
    import argparse

    def seconds(text: str) -> float:
        value = float(text)
        if not 0 < value <= 30 * 86400:
            raise ValueError
        return value

    parser = argparse.ArgumentParser(prog="placet-claude-hook", description="Claude Code's PreToolUse hook for Placet")
    parser.add_argument(
        "--timeout", type=seconds, default=540.0, metavar="SECONDS", help="deny after so long (default 540)"
    )
    try:
        return parser.parse_args()
    except SystemExit:
        # Its words are out. `--help` is no approval, either.
        sys.stdout.flush()
        os._exit(BLOCKS)


def _ask(timeout: float, until: float) -> dict[str, Any]:
    """The input that was approved, and used up. Raises otherwise."""
    # A closed stream's number is given to the next file that is opened: what is said would go astray.
    if sys.stdin is None or sys.stdout is None:
        raise OSError("stdin and stdout are needed")
    raw = sys.stdin.buffer.read(INPUT_BYTES + 1)
    if len(raw) > INPUT_BYTES:
        raise ValueError("the hook's input is too long")

    from .canonical import strict_object
    from .client import Placet
    from .uses import judge

    # Claude Code reads its own bytes as UTF-8, wherever it runs; so does this, whatever the console's encoding.
    asked = strict_object(raw.decode("utf-8", "strict"))
    if asked.get("hook_event_name", "PreToolUse") != "PreToolUse":
        raise ValueError("this hook is for PreToolUse")
    until -= min(SPARE_SECONDS, timeout / 4)
    with Placet.from_env(patience_seconds=min(60.0, timeout)) as gate:
        # The gate is told the whole time: hooks of one use ask the same question, however long each took to start.
        return gate.run(judge(
            gate.settings, asked.get("tool_name"), asked.get("tool_input"), asked.get("tool_use_id"), timeout, until, asked.get("session_id")
        ))  # fmt: skip


def _say(decision: dict[str, Any]) -> None:
    import json

    left = memoryview(json.dumps({"hookSpecificOutput": decision}).encode("ascii") + b"\n")
    assert sys.stdout is not None
    number = sys.stdout.fileno()
    while left:
        left = left[os.write(number, left) :]


def _block(reason: str) -> NoReturn:
    def say() -> None:
        if sys.stderr is not None:
            os.write(sys.stderr.fileno(), f"Not approved, and not done. {reason}\n".encode("utf-8", "replace"))

    try:
        # From a thread: nobody may be reading, and the exit code says it as well.
        saying = threading.Thread(target=say, daemon=True)
        saying.start()
        saying.join(0.5)
    except BaseException:
        pass
    os._exit(BLOCKS)


def _reason(error: BaseException) -> str:
    try:
        from .errors import PlacetError

        if isinstance(error, PlacetError):
            return str(error)
    except BaseException:
        pass
    if isinstance(error, (ValueError, OSError, ImportError)):
        return f"placet-claude-hook: {type(error).__name__}: {error}"
    return f"placet-claude-hook: {type(error).__name__}"


def _watch(seconds: float) -> None:
    """Ends this program when its time is over, whatever it is doing then, and whatever its clocks say."""

    def wait() -> None:
        time.sleep(seconds)
        _block("the time for it is over")

    threading.Thread(target=wait, daemon=True).start()


def _heed_signals() -> None:
    """Whoever ends this program ends the question, too: the flow withdraws on its way out."""
    import signal

    def stop(number: int, _frame: FrameType | None) -> None:
        for one in numbers:
            signal.signal(one, signal.SIG_IGN)
        raise Stopped(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    for number in numbers:
        signal.signal(number, stop)


if __name__ == "__main__":
    main()
