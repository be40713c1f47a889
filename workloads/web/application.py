"""The measured application: one JSON answer that nothing can cache.

``GET /`` answers ``{"hello": "world", "utcnow": ..., "random": ...}``, as in the published
experiment; with ``RESPONSE_BYTES`` set, ``pad`` fills a shorter body up to that many bytes.
``GET /health`` answers 204 and is never the measured path.
"""

import os
import random
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

RESPONSE_BYTES = int(os.environ.get("RESPONSE_BYTES", "0"))


async def hello(request: Request) -> JSONResponse:
    """Answer with the time and a random number."""
    body = {
        "hello": "world",
        "utcnow": datetime.now(UTC).isoformat(),
        "random": random.random(),  # noqa: S311 (not a secret: it keeps caches out)
    }
    if RESPONSE_BYTES:
        # Measured, not assumed: the length of the number and of the time varies.
        body["pad"] = ""
        body["pad"] = "x" * (RESPONSE_BYTES - len(JSONResponse(body).body))
    return JSONResponse(body)


async def health(request: Request) -> Response:
    """Answer that the worker runs."""
    return Response(status_code=204)


app = Starlette(routes=[Route("/", hello), Route("/health", health)])
