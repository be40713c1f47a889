"""The measured application: one JSON answer that nothing can cache.

``GET /`` answers ``{"hello": "world", "utcnow": ..., "random": ...}``, as in the published
experiment; with ``RESPONSE_BYTES`` set, ``pad`` fills a shorter body up to that many bytes. With
``WORK`` set, a request costs a fixed amount of work besides: ``cpu`` hashes, ``memory`` copies,
``files`` reads one of the files that this worker wrote as it began, which the kernel keeps in
memory as long as the container's limit lets it.
``GET /health`` answers 204 and is never the measured path.
"""

import hashlib
import itertools
import os
import random
from datetime import UTC, datetime
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

RESPONSE_BYTES = int(os.environ.get("RESPONSE_BYTES", "0"))
WORK = os.environ.get("WORK", "none")
ROUNDS = 4_000  # of SHA-256: about 2 ms of a core, all of it in the core's own cache
COPIED = bytearray(
    16 << 20 if WORK == "memory" else 0
)  # more than the cache of a core: memory's pace
FILES = Path("/alloc/data") / f"files-{os.getpid()}"
NUMBER, LENGTH = 64, 1 << 20
TURN = itertools.cycle(range(NUMBER))

if WORK == "files":
    FILES.mkdir()
    for number in range(NUMBER):
        (FILES / str(number)).write_bytes(os.urandom(LENGTH))


def work() -> None:
    """Do a request's share of ``WORK``."""
    if WORK == "cpu":
        hashlib.pbkdf2_hmac("sha256", b"socklab", b"socklab", ROUNDS)
    elif WORK == "memory":
        bytes(COPIED)
    elif WORK == "files":
        (FILES / str(next(TURN))).read_bytes()


def said() -> dict:
    """What every answer says: the time and a random number."""
    return {
        "hello": "world",
        "utcnow": datetime.now(UTC).isoformat(),
        "random": random.random(),  # noqa: S311 (not a secret: it keeps caches out)
    }


async def hello(request: Request) -> JSONResponse:
    """Answer with the time and a random number."""
    work()
    body = said()
    if RESPONSE_BYTES:
        # Measured, not assumed: the length of the number and of the time varies.
        body["pad"] = ""
        body["pad"] = "x" * (RESPONSE_BYTES - len(JSONResponse(body).body))
    return JSONResponse(body)


async def health(request: Request) -> Response:
    """Answer that the worker runs."""
    return Response(status_code=204)


app = Starlette(routes=[Route("/", hello), Route("/health", health)])
