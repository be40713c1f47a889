"""The dataset read without us: the documentation's query, in DuckDB, against our own reading."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb
import pytest
from synthetic_dataset import Campaign, add_campaign

from analysis.dataset import good_runs, open_dataset

PAGE = Path(__file__).parents[2] / "docs" / "contracts.md"


def query() -> str:
    (found,) = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    return str(found)


@pytest.mark.parametrize("superseded", [[], [["web-1", 3, 1], ["web-2", 1, 1]]])
def test_the_documented_query_gives_our_medians(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, superseded: list[list[object]]
) -> None:
    add_campaign(tmp_path, Campaign("web-1", histograms=False), superseded)
    add_campaign(tmp_path, Campaign("web-2", histograms=False, seed=8, started=1.8e9))
    add_campaign(tmp_path, Campaign("other-1", "other", histograms=False))
    runs = good_runs(open_dataset(tmp_path).runs())
    mine = runs[(runs["experiment"] == "web") & (runs["copy"] == "a")].groupby("arm")
    monkeypatch.chdir(tmp_path)
    with duckdb.connect() as connection:
        found = connection.execute(query()).fetchall()
    assert [(row[5], row[6]) for row in found] == [(arm, len(own)) for arm, own in mine]
    medians = mine["throughput_rps"].median()
    assert [row[7] for row in found] == pytest.approx([medians[row[5]] for row in found])
