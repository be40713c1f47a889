"""Random order from a seed, the same on every machine and under every version of Python.

``random.shuffle`` is not promised to give the same order in another Python, and a plan is
reproduced years later. So: SHA-256 over a text and a counter gives 64-bit draws, and Fisher-Yates
takes an unbiased index from each.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

Item = TypeVar("Item")
_DRAWS: Final = 2**64


def _draws(text: str) -> Iterator[int]:
    counter = 0
    while True:
        digest = hashlib.sha256(f"{text}#{counter}".encode()).digest()
        for start in range(0, len(digest), 8):
            yield int.from_bytes(digest[start : start + 8], "big")
        counter += 1


def shuffled(items: Sequence[Item], seed: int, *what: str | int) -> list[Item]:
    """Return the items in random order.

    The order depends on the seed, on ``what`` is ordered (a key of words and numbers), and on the
    number of items; orders of different keys are independent. Source: Knuth, The Art of Computer
    Programming 2, 3.4.2, algorithm P.
    """
    order = list(items)
    draws = _draws(json.dumps([seed, *what]))
    for last in range(len(order) - 1, 0, -1):
        # A draw in the last, incomplete stretch of 64 bits would favour small indices.
        fair = _DRAWS - _DRAWS % (last + 1)
        draw = next(number for number in draws if number < fair)
        chosen = draw % (last + 1)
        order[last], order[chosen] = order[chosen], order[last]
    return order
