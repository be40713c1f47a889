"""``collector.parse`` works where nothing is installed, and touches nothing but its own input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests" / "fixtures" / "parse"
# -I -S: no environment, no user's and no site's packages; only the repository is put on the path.
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
from collector.parse.command import main
code = main(sys.argv[2:])
own = {name for name in sys.modules if name.partition(".")[0] == "collector"}
others = {name.partition(".")[0] for name in sys.modules} - sys.stdlib_module_names
others -= {"__main__", "collector"}
room = {name for name in own if name.startswith("collector.parse")}
assert own - room == {"collector", "collector.schema"}, own - room
assert not others, others
assert not {"subprocess", "socket", "ctypes"} & set(sys.modules)
sys.exit(code)
"""


def bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_parse_runs_with_nothing_installed() -> None:
    names = ("wrk/several", "ab/plain", "sysbench/events", "stream/unix_to")
    files = [str(FIXTURES / f"{name}.txt") for name in names]
    result = bare(*files)
    assert (result.returncode, result.stderr) == (0, "")
    tools = [json.loads(line)["record"]["tool"] for line in result.stdout.splitlines()]
    assert tools == ["wrk", "wrk", "ab", "sysbench", "stream"]


def test_reader_that_goes_away_is_no_traceback() -> None:
    files = [str(FIXTURES / "ab" / "plain.txt")] * 500
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", PROGRAM, str(ROOT), *files],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    errors = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) in (0, 1)
    assert errors == b""
