"""Functions that run only with an approval of their real arguments.

The arguments become the payload, the payload's canonical text is what is hashed and shown, and the function gets what
that text says: not the objects that were passed in, which somebody may have changed while a person was thinking.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar, cast

from .canonical import canonical, decoded
from .errors import InvalidToken, TimedOut, Unreachable

if TYPE_CHECKING:
    from .approval import Approval
    from .client import AsyncPlacet, Placet

P = ParamSpec("P")
R = TypeVar("R")

TOKEN_PARAMETER = "approval_token"

Notify = Callable[["Approval"], object]
Text = str | Callable[[dict[str, Any]], str]


class Gated:
    """How a function's arguments become a payload, and a payload becomes arguments again.

    `context` names parameters that are no part of what is approved and are handed on as they are: `self`, a session,
    a database. Whatever decides *what* is done must not be among them.
    """

    def __init__(self, function: Callable[..., Any], context: Collection[str] = ()) -> None:
        self.function, self.context = function, frozenset(context)
        self.signature = inspect.signature(function)
        unknown = self.context - self.signature.parameters.keys()
        if unknown:
            raise TypeError(f"{function.__name__} has no parameter {', '.join(sorted(unknown))}")
        if TOKEN_PARAMETER in self.signature.parameters:
            raise TypeError(f"{TOKEN_PARAMETER} is the wrapper's own parameter")

    def payload(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """The payload of a call, and its context. Defaults are filled in: they are done, too."""
        bound = self.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        kept = {name: value for name, value in bound.arguments.items() if name in self.context}
        asked = {name: value for name, value in bound.arguments.items() if name not in self.context}
        return decoded(canonical(asked)), kept

    def arguments(self, payload: dict[str, Any], context: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments that a payload stands for."""
        bound = inspect.BoundArguments(self.signature, {
            name: tuple(value) if parameter.kind is parameter.VAR_POSITIONAL else value
            for name, parameter in self.signature.parameters.items()
            for value in [context[name] if name in self.context else payload[name]]
        })  # fmt: skip
        return bound.args, bound.kwargs

    def question(
        self, action: str, payload: dict[str, Any], summary: Text | None, request_id: Text | None,
        timeout_seconds: float | None, notify: Notify | None,
    ) -> dict[str, Any]:  # fmt: skip
        if summary is None:
            summary = (inspect.getdoc(self.function) or "").strip().split("\n")[0] or action
        return {
            "action": action,
            "payload": payload,
            "summary": summary(decoded(canonical(payload))) if callable(summary) else summary,
            "request_id": request_id(decoded(canonical(payload))) if callable(request_id) else request_id,
            "timeout_seconds": timeout_seconds,
            "notify": notify,
        }


def requires_approval(
    gate: Placet,
    action: str,
    *,
    summary: Text | None = None,
    request_id: Text | None = None,
    timeout_seconds: float | None = None,
    fallback: Callable[..., Any] | None = None,
    context: Collection[str] = (),
    notify: Notify | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Asks, waits, verifies, redeems, and only then runs the function, with exactly the arguments that were approved.

    `summary` and `request_id` may be functions of the arguments; a `request_id` that is the same for the same deed
    asks once and runs once. After `timeout_seconds` without an answer the request is withdrawn and `fallback` is
    called instead (or `TimedOut` raised). A rejection is `NotApproved`: no fallback. `notify` is called with the pending
    approval, once a person has to decide.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.iscoroutinefunction(function):
            raise TypeError("an async function needs an AsyncPlacet: Placet would hold up the event loop")
        gated = Gated(function, context)

        @functools.wraps(function)
        def asking(*args: P.args, **kwargs: P.kwargs) -> R:
            payload, kept = gated.payload(args, kwargs)
            try:
                authorized = gate.authorize(
                    **gated.question(action, payload, summary, request_id, timeout_seconds, notify)
                )
            except (TimedOut, Unreachable):
                if fallback is None:
                    raise
                positional, named = gated.arguments(payload, kept)
                return cast(R, fallback(*positional, **named))
            positional, named = gated.arguments(authorized.payload, kept)
            return function(*positional, **named)

        return asking

    return decorate


def requires_approval_async(
    gate: AsyncPlacet,
    action: str,
    *,
    summary: Text | None = None,
    request_id: Text | None = None,
    timeout_seconds: float | None = None,
    fallback: Callable[..., Any] | None = None,
    context: Collection[str] = (),
    notify: Notify | None = None,
) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """As `requires_approval`, for coroutine functions."""

    def decorate(function: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
        gated = Gated(function, context)

        @functools.wraps(function)
        async def asking(*args: P.args, **kwargs: P.kwargs) -> R:
            payload, kept = gated.payload(args, kwargs)
            try:
                authorized = await gate.authorize(
                    **gated.question(action, payload, summary, request_id, timeout_seconds, notify)
                )
            except (TimedOut, Unreachable):
                if fallback is None:
                    raise
                positional, named = gated.arguments(payload, kept)
                result = fallback(*positional, **named)
                return cast(R, await result if inspect.isawaitable(result) else result)
            positional, named = gated.arguments(authorized.payload, kept)
            return await function(*positional, **named)

        return asking

    return decorate


class TokenUser(Protocol):
    """Whoever can use a token: a client of the gate, or an `Executor` without a secret."""

    def use_token(self, token: object, payload: Mapping[str, Any], action: str) -> dict[str, Any]: ...


def requires_token(
    user: TokenUser, action: str, *, context: Collection[str] = ()
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """The executor's side, where somebody else asks: `approval_token` becomes a parameter, and nothing runs without.

    The token must be for this action and these very arguments, and is used up before the function runs.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        gated = Gated(function, context)

        @functools.wraps(function)
        def checking(*args: Any, approval_token: object = None, **kwargs: Any) -> R:
            payload, kept = gated.payload(args, kwargs)
            if approval_token is None:
                raise InvalidToken("missing")
            positional, named = gated.arguments(user.use_token(approval_token, payload, action), kept)
            return function(*positional, **named)

        checking.__signature__ = _with_token(gated.signature)  # type: ignore[attr-defined]
        checking.__annotations__ = {**function.__annotations__, TOKEN_PARAMETER: str}
        return checking

    return decorate


def requires_token_async(
    gate: AsyncPlacet, action: str, *, context: Collection[str] = ()
) -> Callable[[Callable[..., Awaitable[R]]], Callable[..., Awaitable[R]]]:
    """As `requires_token`, for coroutine functions."""

    def decorate(function: Callable[..., Awaitable[R]]) -> Callable[..., Awaitable[R]]:
        gated = Gated(function, context)

        @functools.wraps(function)
        async def checking(*args: Any, approval_token: object = None, **kwargs: Any) -> R:
            payload, kept = gated.payload(args, kwargs)
            if approval_token is None:
                raise InvalidToken("missing")
            positional, named = gated.arguments(await gate.use_token(approval_token, payload, action), kept)
            return await function(*positional, **named)

        checking.__signature__ = _with_token(gated.signature)  # type: ignore[attr-defined]
        checking.__annotations__ = {**function.__annotations__, TOKEN_PARAMETER: str}
        return checking

    return decorate


def _with_token(signature: inspect.Signature) -> inspect.Signature:
    """The signature that frameworks make a tool's schema from: with the token, as a required text."""
    token = inspect.Parameter(TOKEN_PARAMETER, inspect.Parameter.KEYWORD_ONLY, annotation=str)
    parameters = list(signature.parameters.values())
    at = next((n for n, one in enumerate(parameters) if one.kind is one.VAR_KEYWORD), len(parameters))
    return signature.replace(parameters=[*parameters[:at], token, *parameters[at:]])
