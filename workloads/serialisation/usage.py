"""What a process has used: each end says it of itself."""

from __future__ import annotations

import gc
import resource
import time


def used(word: str) -> list[int]:
    """Return this process's CPU in ns, user's and system's, and context switches.

    ``before`` a cell, what the last one left is collected first.
    """
    if word == "before":
        gc.collect()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return [time.process_time_ns(), usage.ru_nvcsw + usage.ru_nivcsw]
