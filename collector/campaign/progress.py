"""What the engine tells while it works: one event, three renderings.

``json`` for the Ansible plugin and other programs, ``terminal`` (rich, with a bar), ``plain`` lines
for logs. The events are those of docs/contracts.md.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class Renderer(Protocol):
    """Shows events."""

    def show(self, event: dict[str, Any]) -> None:
        """Show one event."""


class JsonLines:
    """One JSON object a line."""

    def __init__(self, stream: TextIO = sys.stdout) -> None:
        self._stream = stream

    def show(self, event: dict[str, Any]) -> None:
        """Print the event."""
        print(json.dumps(event), file=self._stream, flush=True)


class Plain:
    """The events' texts, with the time of day."""

    def show(self, event: dict[str, Any]) -> None:
        """Print the text."""
        print(f"{time.strftime('%H:%M:%S')} {event['text']}", flush=True)


class Terminal:
    """A bar of the blocks, and above it what has been measured."""

    def __init__(self) -> None:
        console = Console(markup=False, emoji=False, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[left]}"),
            TimeElapsedColumn(),
            console=console,
        )
        self._task = self._progress.add_task("starting", total=None, left="")
        self._progress.start()

    def show(self, event: dict[str, Any]) -> None:
        """Print results; update the bar with everything else."""
        if event["event"] in ("run", "block", "campaign", "error", "done"):
            self._progress.console.print(event["text"])
        left = event.get("left_s")
        self._progress.update(
            self._task,
            description=event["text"][:60],
            total=event.get("blocks"),
            completed=event.get("finished"),
            left=f"{left / 60:.1f} min left" if left is not None else "",
        )

    def close(self) -> None:
        """Take the bar away."""
        self._progress.stop()


class Events:
    """Sends events to a renderer; a context that takes a bar away at the end."""

    def __init__(self, how: str) -> None:
        renderers: dict[str, Any] = {"json": JsonLines, "plain": Plain, "terminal": Terminal}
        self._renderer: Renderer = renderers[how]()
        self._common: dict[str, Any] = {}

    def __enter__(self) -> Events:
        return self

    def __exit__(self, *_: object) -> None:
        if isinstance(self._renderer, Terminal):
            self._renderer.close()

    def update(self, **common: Any) -> None:
        """Set what every later event carries: block, blocks, finished, left_s."""
        self._common |= common

    def tell(self, event: str, text: str, **more: Any) -> None:
        """Send one event; ``text`` is a whole line for a person."""
        self._renderer.show({"event": event, "text": text, **self._common, **more})
