"""Drives the flows: `Blocking` blocks, `Awaiting` awaits. The only modules with I/O are this one and `address.py`.

An interrupt (Ctrl-C, a cancelled task, SIGTERM) is raised inside the flow, which then withdraws its open question.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Self, TypeVar

import httpx2

from . import address
from .deadline import within
from .errors import Unreachable
from .flows import Flow, Pause, Reply, Send

R = TypeVar("R")

ANSWER_BYTES = 4 * 1024 * 1024
# How long a program that was told to end waits for its tasks to withdraw.
END_SECONDS = 6.0


class Blocking:
    """For programs that block. Threads may share it."""

    def __init__(self, url: str) -> None:
        self._http = address.client(url)

    def run(self, flow: Flow[R]) -> R:
        with _sigterm_raises():
            reply: Reply | None = None
            trouble: BaseException | None = None
            while True:
                try:
                    thrown, trouble, sent, reply = trouble, None, reply, None
                    step = flow.send(sent) if thrown is None else flow.throw(thrown)
                    if isinstance(step, Pause):
                        time.sleep(step.seconds)
                    else:
                        reply = self._send(step)
                except StopIteration as end:
                    value: R = end.value
                    return value
                except BaseException as error:
                    if inspect.getgeneratorstate(flow) == inspect.GEN_CLOSED:  # the flow itself has ended with it
                        raise
                    trouble = error

    def _send(self, step: Send) -> Reply:
        try:
            with (
                within(step.seconds),
                self._http.stream(
                    step.method, step.path, headers=dict(step.headers), content=step.body or None, timeout=step.seconds
                ) as answer,
            ):
                body = bytearray()
                for chunk in answer.iter_bytes():
                    body += chunk
                    _limit(body)
                return Reply(answer.status_code, answer.headers, bytes(body))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            raise Unreachable(f"the gate does not answer: {error or type(error).__name__}") from error

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Awaiting:
    """For asyncio."""

    def __init__(self, url: str) -> None:
        self._http = address.async_client(url)
        self._last_words: set[asyncio.Task[None]] = set()

    async def run(self, flow: Flow[R]) -> R:
        with _sigterm_cancels():
            reply: Reply | None = None
            trouble: BaseException | None = None
            while True:
                try:
                    thrown, trouble, sent, reply = trouble, None, reply, None
                    step = flow.send(sent) if thrown is None else flow.throw(thrown)
                    if isinstance(step, Pause):
                        await asyncio.sleep(step.seconds)
                    else:
                        reply = await self._send(step)
                except StopIteration as end:
                    value: R = end.value
                    return value
                except Exception as error:
                    if inspect.getgeneratorstate(flow) == inspect.GEN_CLOSED:  # the flow itself has ended with it
                        raise
                    trouble = error
                except BaseException as error:
                    if inspect.getgeneratorstate(flow) != inspect.GEN_CLOSED:
                        # In a task of its own: whoever cancels this one may do it again at its every `await`.
                        last = asyncio.ensure_future(self._end(flow, error))
                        self._last_words.add(last)
                        last.add_done_callback(self._last_words.discard)
                        await asyncio.shield(last)
                    raise

    async def _end(self, flow: Flow[R], trouble: BaseException) -> None:
        """Lets a flow that was interrupted come to its end. What that end is, its caller does not hear: it was interrupted."""
        reply: Reply | None = None
        thrown: BaseException | None = trouble
        try:
            while True:
                step = flow.send(reply) if thrown is None else flow.throw(thrown)
                thrown, reply = None, None
                try:
                    if isinstance(step, Pause):
                        await asyncio.sleep(step.seconds)
                    else:
                        reply = await self._send(step)
                except Exception as error:
                    thrown = error
        except BaseException as end:
            if end is not trouble and not isinstance(end, (Exception, asyncio.CancelledError)):
                raise

    async def _send(self, step: Send) -> Reply:
        try:
            async with (
                asyncio.timeout(step.seconds),
                self._http.stream(
                    step.method, step.path, headers=dict(step.headers), content=step.body or None, timeout=step.seconds
                ) as answer,
            ):
                body = bytearray()
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    _limit(body)
                return Reply(answer.status_code, answer.headers, bytes(body))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:  # TimeoutError is an OSError
            raise Unreachable(f"the gate does not answer: {error or type(error).__name__}") from error

    async def close(self) -> None:
        if self._last_words:
            await asyncio.wait(self._last_words, timeout=END_SECONDS)
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _limit(body: bytearray) -> None:
    if len(body) > ANSWER_BYTES:
        raise Unreachable("the answer is too long: this does not seem to be a gate", final=True)


# ---------------------------------------------------------------- SIGTERM


class _Terminated(BaseException):
    """SIGTERM, as an exception."""


@contextmanager
def _sigterm_raises() -> Iterator[None]:
    """While a flow runs in the main thread: SIGTERM lets it withdraw, and then ends the program as it always does.

    A program that handles SIGTERM itself keeps its own way.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    ):
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise _Terminated

    signal.signal(signal.SIGTERM, stop)
    terminated = False
    try:
        yield
    except _Terminated:
        terminated = True
        raise
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if terminated:
            os.kill(os.getpid(), signal.SIGTERM)


_flows: dict[asyncio.AbstractEventLoop, list[asyncio.Task[object]]] = {}


@contextmanager
def _sigterm_cancels() -> Iterator[None]:
    """As `_sigterm_raises`, for the tasks of an event loop in the main thread: all of them withdraw."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    tasks = _flows.get(loop)
    if tasks is None:
        if (
            threading.current_thread() is not threading.main_thread()
            or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        ):
            yield
            return
        try:
            loop.add_signal_handler(signal.SIGTERM, _cancel_all, loop)
        except (NotImplementedError, RuntimeError, ValueError):  # Windows' loops have none
            yield
            return
        tasks = _flows[loop] = []
    assert task is not None
    tasks.append(task)
    try:
        yield
    finally:
        tasks.remove(task)
        if not tasks:
            del _flows[loop]
            loop.remove_signal_handler(signal.SIGTERM)


def _cancel_all(loop: asyncio.AbstractEventLoop) -> None:
    tasks = list(_flows.get(loop, ()))

    async def end() -> None:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=END_SECONDS)
        loop.remove_signal_handler(signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)

    _ending.add(loop.create_task(end()))


# A task that nobody holds may be collected before it is done.
_ending: set[asyncio.Task[None]] = set()
