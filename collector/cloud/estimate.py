"""What the hosts would cost, by the dated table ``prices.toml``. Unknown stays unknown."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

from collector.cloud.settings import Settings

TABLE: Final = Path(__file__).with_name("prices.toml")
HOURS_A_MONTH: Final = 730  # as AWS counts


@dataclass(frozen=True, slots=True)
class Estimate:
    """USD an hour by host (None where a price is unknown), and the date of the list prices."""

    dated: date
    hourly: Mapping[str, float | None]

    def line(self, hours: float) -> str:
        """Say what all of it costs for ``hours``; what is unknown is named and not counted."""
        known = [price for price in self.hourly.values() if price is not None]
        unknown = sorted(name for name, price in self.hourly.items() if price is None)
        if not known:
            total = "unknown"
        else:
            at_least = "at least " if unknown else ""
            total = f"{at_least}{sum(known) * hours:.2f} USD ({sum(known):.3f} USD an hour)"
        which = f", unknown for {', '.join(unknown)}" if unknown and known else ""
        return (
            f"cost of {hours:g} h: {total}{which}; list prices of {self.dated}: hosts, their "
            "disks and public addresses, not traffic and taxes"
        )


def estimate(settings: Settings, table: Mapping[str, Any] | None = None) -> Estimate:
    """Price every host of the lab; ``table`` is a test's."""
    prices = tomllib.loads(TABLE.read_text()) if table is None else table
    hosts = prices["host_hour"].get(settings.region, {})
    disk = prices["disk_gb_month"].get(settings.region)
    hourly: dict[str, float | None] = {}
    for one in settings.hosts:
        price = hosts.get(one.type)
        known = price is not None and disk is not None
        hourly[one.host.name] = (
            price + prices["address_hour"] + disk * settings.disk_gb / HOURS_A_MONTH
            if known
            else None
        )
    return Estimate(prices["date"], hourly)
