"""One service of a chain: it asks the next one, adds itself to the answer, and answers.

``NEXT`` says where the next one is (``unix:/path``, ``http://host:port``); the last has none, and
answers as the web application does. ``WITHIN`` more services are in this very process: with
``ENCODED=true`` each takes the JSON of the next one, as over a connection, else the object itself.
What a caller gets is the web application's answer with ``services``, the length of the chain.

A next service that cannot be reached, or answers anything else, is a 502 with the reason, which
every service before it passes on: nobody waits for what will not come. Before it says so, a service
asks again ``RETRIES`` times. ``DELAY_MS`` makes it wait before it answers, and of its own answers
the share ``FAILING`` is a 503, drawn from a fixed seed: in turn, a retry would find the good one.

With ``DATABASE`` each service of the chain, those within one process too, reads a record of that
database for its part, and the answer has ``records``, how many they were (``records.py``).

With ``TRACE`` a ``traceparent`` goes through all of them, as OpenTelemetry hands it on, and of the
requests that come without one so large a share keeps its spans (``spans.py``).
"""

import asyncio
import json
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import records
import spans
from application import said
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

NEXT = os.environ.get("NEXT", "")
WITHIN = int(os.environ.get("WITHIN", "0"))
ENCODED = os.environ.get("ENCODED", "true") == "true"
RETRIES = int(os.environ.get("RETRIES", "0"))
DELAY_MS = float(os.environ.get("DELAY_MS", "0"))
FAILING = float(os.environ.get("FAILING", "0"))
TIMEOUT_S = 5.0
REASON_LIMIT = 200
DRAWN = random.Random(1)  # noqa: S311 (the same failures in every deployment)


class NoAnswerError(Exception):
    """What the next service did instead of answering; the text is for a person."""


def encode(body: dict) -> bytes:
    """JSON without blanks, as Starlette writes it."""
    return json.dumps(body, separators=(",", ":")).encode()


def decode(data: bytes) -> dict:
    """Read the answer of a service; raises NoAnswerError for anything else."""
    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict) or body.get("hello") != "world" or not counts(body):
        raise NoAnswerError(f"not a service's answer: {data[:REASON_LIMIT]!r}")
    return body


def counts(body: dict) -> bool:
    """Whether what services add to can be added to."""
    return all(isinstance(body.get(name, 0), int) for name in ("services", "records"))


async def answered(session: aiohttp.ClientSession) -> dict:
    """Answer of the next service, which is asked again where it has none."""
    for _ in range(RETRIES):
        try:
            return await asked(session)
        except NoAnswerError:
            continue
    return await asked(session)


async def asked(session: aiohttp.ClientSession) -> dict:
    """Ask the next service over its connection."""
    # What comes before the path is of no use to a Unix socket, and HTTP wants a host.
    url = "http://next/" if NEXT.startswith("unix:") else NEXT
    try:
        with spans.asking() as headers:
            async with session.get(url, headers=headers) as response:
                data = await response.read()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise NoAnswerError(f"{NEXT}: {type(error).__name__}: {error}") from None
    if response.status != 200:
        raise NoAnswerError(data.decode("utf-8", "replace")[:REASON_LIMIT])
    return decode(data)


async def served(request: Request, within: int) -> dict:
    """Answer of a service that has ``within`` more before it in this process."""
    if within:
        below = await served(request, within - 1)
        body = decode(encode(below)) if ENCODED else below
    elif NEXT:
        body = await answered(request.app.state.session)
    else:
        body = said()
    body["services"] = body.get("services", 0) + 1
    if records.DATABASE:
        read = await records.looked_up(request.app.state.records)
        body["records"] = body.get("records", 0) + read
    return body


async def answer(request: Request) -> Response:
    """Answer for the chain from here on."""
    with spans.serving(request.headers):
        if DELAY_MS:
            await asyncio.sleep(DELAY_MS / 1000)
        if FAILING and DRAWN.random() < FAILING:
            return Response("fails on purpose", 503, media_type="text/plain")
        try:
            body = await served(request, WITHIN)
        except (NoAnswerError, records.NoRecordError) as reason:
            return Response(str(reason), 502, media_type="text/plain")
        return Response(encode(body), media_type="application/json")


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    """Keep the connections to the next service for as long as this one runs."""
    app.state.session = aiohttp.ClientSession(
        connector=(
            aiohttp.UnixConnector(NEXT.removeprefix("unix:"), limit=0)
            if NEXT.startswith("unix:")
            else aiohttp.TCPConnector(limit=0)
        ),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
    try:
        async with records.kept() as app.state.records:
            yield
    finally:
        await app.state.session.close()


app = Starlette(routes=[Route("/", answer)], lifespan=lifespan)
