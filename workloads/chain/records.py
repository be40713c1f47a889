"""A service's records: of each answer one part comes out of its database.

``DATABASE`` says where that is (``unix:/path``, ``host:port``; none: the service keeps nothing),
and ``PASSWORD_FILE`` names the file with the password of its account. The table is that of the
image with the database (``workloads/database/prepare.sql``).
"""

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

DATABASE = os.environ.get("DATABASE", "")
ROWS = 10_000
CONNECTIONS = 32
CONNECT_S = 2
ANSWER_S = 5.0

if DATABASE:
    import aiomysql


class NoRecordError(Exception):
    """Why the database gave none; the text is for a person."""


@asynccontextmanager
async def kept() -> AsyncIterator[Any]:
    """Keep connections to the database, each made when it is first needed; None without one."""
    if not DATABASE:
        yield None
        return
    host, _, port = DATABASE.rpartition(":")
    where = (
        {"unix_socket": DATABASE.removeprefix("unix:")}
        if DATABASE.startswith("unix:")
        else {"host": host, "port": int(port)}
    )
    pool = await aiomysql.create_pool(
        minsize=0, maxsize=CONNECTIONS, connect_timeout=CONNECT_S, autocommit=True,
        user="bench", password=Path(os.environ["PASSWORD_FILE"]).read_text().strip(), db="sbtest",
        **where,
    )  # fmt: skip
    try:
        yield pool
    finally:
        pool.close()
        await pool.wait_closed()


async def looked_up(pool: Any) -> int:
    """Read a record by its key, any of them; return how many that were: one."""
    key = random.randint(1, ROWS)  # noqa: S311 (no secret, only another one each time)
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            pool.acquire() as connection,
            connection.cursor() as cursor,
        ):
            await cursor.execute("SELECT c FROM sbtest1 WHERE id = %s", (key,))
            found = await cursor.fetchall()
    except (aiomysql.MySQLError, OSError) as error:
        raise NoRecordError(f"{DATABASE}: {type(error).__name__}: {error}") from None
    if len(found) != 1:
        raise NoRecordError(f"{DATABASE}: no record {key}")
    return 1
