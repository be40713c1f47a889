"""The live view: what was used between two looks, and what is not known."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from collector.top import _screen, containers_used, hosts_used

ID = "c" * 64


def look(at_s: float, cpu_s: float, ticks: list[int], **counters: Any) -> dict[str, Any]:
    cgroup = {
        "cpu_ns": int(cpu_s * 1e9), "throttled_ns": 0, "context_switches": int(100 * at_s),
        "memory_bytes": 30 << 20, "memory_cache_bytes": 10 << 20,
        "net": {"ActiveOpens": int(at_s), "PassiveOpens": int(2 * at_s)}, **counters,
    }  # fmt: skip
    return {
        "lab-2": {"monotonic_ns": int(at_s * 1e9), "cpu": {"1": ticks}, "cgroups": {ID: cgroup}}
    }


BEFORE = look(10, 5.0, [100, 0, 100, 700, 100, 0, 0, 0])
NOW = look(12, 6.5, [200, 0, 120, 740, 100, 0, 20, 20])
NAMED = {("lab-2", ID): ("sl-web-20261121t113000-1f3a-b0001-a1-tcp-loopback-a", "proxy")}


def test_shares_of_a_hosts_cpus() -> None:
    (host,) = hosts_used(BEFORE, NOW)
    assert (host.host, host.cpus) == ("lab-2", 1)
    assert (host.busy, host.softirq, host.steal) == pytest.approx((0.7, 0.1, 0.1))


def test_a_container_between_two_looks() -> None:
    (use,) = containers_used(BEFORE, NOW, NAMED)
    assert (use.job, use.task) == ("tcp-loopback/a", "proxy")
    assert (use.cpu, use.throttled) == pytest.approx((0.75, 0.0))
    assert (use.switches_per_s, use.connections_per_s) == pytest.approx((100, 3))
    assert (use.memory, use.cache) == (30 << 20, 10 << 20)


def test_what_came_meanwhile_or_is_not_said_is_not_known() -> None:
    new = {"lab-2": {**BEFORE["lab-2"], "cgroups": {}}}
    (use,) = containers_used(new, NOW, NAMED)
    assert (use.cpu, use.connections_per_s, use.memory) == (None, None, 30 << 20)
    silent = look(12, 6.5, [200, 0, 120, 740, 100, 0, 20, 20], throttled_ns=None)
    (use,) = containers_used(BEFORE, silent, NAMED)
    assert (use.throttled, use.cpu) == (None, 0.75)
    assert hosts_used({}, NOW)[0].busy is None


def test_the_busiest_come_first_and_the_rest_is_counted() -> None:
    uses = containers_used(BEFORE, NOW, {**NAMED, ("lab-2", "d" * 64): ("other", "app")})
    console = Console(width=80, record=True)
    console.print(_screen(hosts_used(BEFORE, NOW), uses, ["lab-9: does not answer"], 1))
    shown = console.export_text()
    assert "tcp-loopback/a" in shown
    assert "other" not in shown
    assert "and 1 more" in shown
    assert "lab-9: does not answer" in shown
    assert "70 %" in shown
