"""The collector's command line, but for ``parse``, which needs nothing installed."""

from __future__ import annotations

import typer

from collector import daily, top
from collector.campaign import commands as campaign
from collector.cloud import commands as cloud
from collector.dataset import commands as dataset
from collector.plan import commands as plan
from collector.publish import commands as publish

app = typer.Typer(
    name="collector",
    help="Plan, measure, collect, publish. (parse: python -m collector parse --help)",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for room in (plan, campaign, dataset, publish, cloud, daily, top):
    room.register(app)
