"""Latency curves from recorded histograms.

Histograms are merged only within one deployment of a cell, a quantile is taken of the merged one,
and a curve is drawn from the median over deployments, with the smallest and largest beside it.
Percentiles of runs are never averaged. A quantile q needs 100 / (1 - q) samples in every
deployment, else the curve ends before it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from analysis.contrast import CELL

QUANTILES: Final = (
    *(round(0.02 + step * 0.02, 2) for step in range(45)),
    *(round(0.91 + step * 0.01, 2) for step in range(9)),
    0.992, 0.994, 0.995, 0.996, 0.997, 0.998, 0.999, 0.9995, 0.9999,
)  # fmt: skip
ALL: Final = np.array(QUANTILES)
LEAST_ABOVE: Final = 100  # samples above the quantile
COLUMNS: Final = [*CELL, "arm", "quantile", "latency_s", "lowest_s", "highest_s", "deployments"]


def quantile_curves(runs: pd.DataFrame, histograms: pd.DataFrame) -> pd.DataFrame:
    """Curves by cell and arm (copy a): columns ``COLUMNS``, seconds.

    ``runs``: good runs. Arms without a histogram have no curve.
    """
    chosen = runs.loc[runs["copy"] == "a", ["run", "attempt", *CELL, "arm", "deployment"]]
    joined = histograms.merge(chosen, on=["run", "attempt"], how="inner")
    if joined.empty:
        return pd.DataFrame(columns=COLUMNS)
    by_deployment = [*CELL, "arm", "deployment"]
    merged = joined.groupby([*by_deployment, "value_us"], dropna=False)["count"].sum().reset_index()
    rows: list[tuple[object, ...]] = []
    for key, group in merged.groupby(by_deployment, sort=True, dropna=False):
        ordered = group.sort_values("value_us")
        seconds = ordered["value_us"].to_numpy(dtype=np.float64) / 1e6
        cumulative = ordered["count"].to_numpy(dtype=np.float64).cumsum()
        quantiles = ALL[cumulative[-1] * (1 - ALL) >= LEAST_ABOVE - 1e-6]
        at = np.searchsorted(cumulative, quantiles * cumulative[-1] - 1e-9)
        rows.extend((*key, q, s) for q, s in zip(quantiles, seconds[at], strict=True))
    table = pd.DataFrame(rows, columns=[*by_deployment, "quantile", "value"])
    curve = table.groupby([*CELL, "arm", "quantile"], dropna=False)["value"].agg(
        latency_s="median", lowest_s="min", highest_s="max", deployments="size"
    )
    curve = curve.reset_index()
    deployments = chosen[chosen["run"].isin(joined["run"].unique())].groupby(
        [*CELL, "arm"], dropna=False
    )
    expected = deployments["deployment"].nunique().rename("expected").reset_index()
    curve = curve.merge(expected, on=[*CELL, "arm"], how="left")
    return curve.loc[curve["deployments"] == curve["expected"], COLUMNS].reset_index(drop=True)
