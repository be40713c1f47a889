"""``python -m collector``: ``parse`` runs with the standard library alone, the rest with typer."""

from __future__ import annotations

import sys


def main() -> int:
    """Dispatch; the exit codes are those of docs/contracts.md."""
    if sys.argv[1:2] == ["parse"]:
        from collector.parse.command import main as parse

        return parse(sys.argv[2:])
    from collector.cli import app

    app(prog_name="collector")
    return 0


if __name__ == "__main__":
    sys.exit(main())
