"""The stream program beside independent peers, on this machine, pinned alike, round by round.

Prints MB/s over a Unix socket and over loopback TCP of the stream program and of socat (both ends,
the same block size), iperf3's over loopback TCP, and the ratio that matters: Unix over TCP. Bar:
the ratios agree within 15 %. socat reads, polls and writes for each message on top of what the
kernel does for both, which draws its ratio towards 1: the microseconds a message show how much.
Compiles the program; socat and iperf3 are Debian's.

    python benchmarks/stream.py [--rounds N] [--cpu CPU]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "workloads" / "stream" / "stream.c"
MESSAGE = 32768
SECONDS = 2
SOCAT_BYTES = 4 << 30
PORT = 21399
BAR = 0.15


@contextlib.contextmanager
def serving(argv: Sequence[str], cpu: int, ready: Path | None = None) -> Iterator[None]:
    """Run a server, pinned, until the block ends."""
    process = subprocess.Popen(
        ["taskset", "-c", str(cpu), *argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 5
        while ready is not None and not ready.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        process.wait(10)


def stream(program: Path, address: str, ready: Path | None, cpu: int) -> float:
    """MB/s of the stream program over one connection."""
    with serving([str(program), "serve", address], cpu, ready):
        done = subprocess.run(
            ["taskset", "-c", str(cpu), str(program), "send", address, "--flows", "1",
             "--message-bytes", str(MESSAGE), "--time", str(SECONDS), "--direction", "to"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    return float(json.loads(done.stdout)["bytes_per_s"]) / 1e6


def socat(sender: str, receiver: str, ready: Path | None, cpu: int) -> float:
    """MB/s of socat, from one end's start to its end."""
    with serving(["socat", "-u", "-b", str(MESSAGE), receiver, "OPEN:/dev/null"], cpu, ready):
        began = time.monotonic()
        subprocess.run(
            ["taskset", "-c", str(cpu), "socat", "-u", "-b", str(MESSAGE),
             f"OPEN:/dev/zero,readbytes={SOCAT_BYTES}", sender],
            check=True,
        )  # fmt: skip
        return SOCAT_BYTES / 1e6 / (time.monotonic() - began)


def iperf3(cpu: int) -> float:
    """MB/s of iperf3 over loopback TCP."""
    with serving(["iperf3", "--server", "--one-off", "--port", str(PORT)], cpu):
        done = subprocess.run(
            ["taskset", "-c", str(cpu), "iperf3", "--client", "127.0.0.1", "--port", str(PORT),
             "--length", str(MESSAGE), "--time", str(SECONDS), "--json"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    return float(json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"]) / 8e6


def main() -> int:
    """Measure and print; exit 0, 2 if a peer is missing."""
    parser = argparse.ArgumentParser(description="The stream program beside socat and iperf3.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cpu", type=int, default=max(os.sched_getaffinity(0)))
    arguments = parser.parse_args()
    missing = [name for name in ("gcc", "socat", "iperf3", "taskset") if not shutil.which(name)]
    if missing:
        print(f"missing: {', '.join(missing)} (apt-get install gcc socat iperf3)", file=sys.stderr)
        return 2
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="socklab-stream-") as folder:
        program, path = Path(folder, "stream"), Path(folder, "s")
        subprocess.run(
            ["gcc", "-std=c11", "-O2", "-pthread", "-o", str(program), str(SOURCE)], check=True
        )
        tcp, cpu = f"127.0.0.1:{PORT}", arguments.cpu
        for number in range(1, arguments.rounds + 1):
            for name, value in (
                ("stream unix", stream(program, f"unix:{path}", path, cpu)),
                ("stream tcp", stream(program, f"tcp:{tcp}", None, cpu)),
                ("socat unix", socat(f"UNIX-CONNECT:{path}", f"UNIX-LISTEN:{path}", path, cpu)),
                ("socat tcp", socat(f"TCP:{tcp}", f"TCP-LISTEN:{PORT},reuseaddr", None, cpu)),
                ("iperf3 tcp", iperf3(cpu)),
            ):
                figures.setdefault(name, []).append(value)
            print(f"round {number} of {arguments.rounds}", file=sys.stderr)
    for name, values in figures.items():
        middle = statistics.median(values)
        print(f"{name:12} median {middle:9,.0f} MB/s, {MESSAGE / middle:6.2f} us a message")
    ratios = {
        name: statistics.median(
            unix / over for unix, over in zip(figures[f"{name} unix"], figures[f"{name} tcp"],
                                              strict=True)
        )
        for name in ("stream", "socat")
    }  # fmt: skip
    apart = ratios["stream"] / ratios["socat"] - 1
    print(f"Unix over TCP: stream {ratios['stream']:.3f}, socat {ratios['socat']:.3f}; "
          f"apart {apart:+.1%} (bar {BAR:.0%})")  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
