"""The report in a real browser: it draws, fetches nothing, and no label runs.

Needs Debian's chromium; without it the layer fails.
"""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright import sync_api as playwright

sys.path.insert(0, str(Path(__file__).parents[1] / "pure"))

from synthetic_dataset import Campaign, add_campaign

from analysis.dataset import open_dataset
from analysis.report import render
from analysis.summary import analyse
from analysis.tables import tables

CHROMIUM = shutil.which("chromium")

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
HOSTILE = "</script><script>alert(1)</script>"
IMAGE = "<img src=x onerror=alert(2)>"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cells = [
        {"host": "lab-2", "variant": variant, "tool": "wrk", "concurrency": 16}
        for variant in ("", IMAGE)
    ]
    return made(tmp_path_factory.mktemp("state"), cells)


@pytest.fixture(scope="module")
def across(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three hosts of one architecture, one of another, one emulated, asked for."""
    common = {"variant": "", "tool": "wrk", "concurrency": 16}
    real = [{**common, "host": host} for host in ("lab-2", "lab-3", "lab-4")]
    arm = {**common, "host": IMAGE, "arch": "aarch64"}
    emulated = {**common, "host": "arm-9", "arch": "aarch64", "emulated": True}
    return made(tmp_path_factory.mktemp("across"), [*real, arm, emulated], emulated=True)


def made(state: Path, cells: list[dict[str, Any]], *, emulated: bool = False) -> Path:
    """The report of a campaign in which every label is hostile."""
    arms = {"tcp-loopback": 1.0, HOSTILE: 1.1, "combined": 1.0}
    sidecar = {"host": IMAGE, "version": HOSTILE, "ciphers": [IMAGE] * 5}
    lost = {"proof": "intention", "claim": IMAGE, "passed": False, "evidence": f'["{IMAGE}"]'}
    campaign = Campaign(
        arms=arms,
        cells=cells,
        blocks=6,
        question=HOSTILE,
        sidecars={HOSTILE: {IMAGE: sidecar, "app-0": sidecar}},
        proofs=[lost],
        images={IMAGE: {IMAGE: {"arch": "aarch64", "digest": HOSTILE, "bytes": 1, "layers": 2}}},
    )
    add_campaign(state, campaign)
    analysis = analyse(open_dataset(state), "web", emulated=emulated)
    analysis = dataclasses.replace(analysis, warnings=(IMAGE,))
    path = state / "report.html"
    path.write_text(render(analysis, tables(analysis)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    assert CHROMIUM is not None, "chromium is missing: make setup installs it"
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield started
        started.close()


class Visit:
    """One opening of the report, with everything that the browser said of it."""

    def __init__(self, browser: Any, path: Path, width: int, scheme: str) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        self.said: list[str] = []
        self.requests: list[str] = []
        self.dialogs: list[str] = []
        self.page.on("console", lambda message: self.said.append(message.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("dialog", self._dismiss)
        self.page.goto(path.as_uri())
        # Playwright's wait_for_function evaluates strings, which the page's policy forbids.
        playwright.expect(self.page.locator("#verdicts > figure [data-drawn] svg")).to_have_count(1)

    def unfolded(self) -> Any:
        """Open every part of the page, and wait until all charts are drawn."""
        self.page.evaluate(
            "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
        )
        playwright.expect(self.page.locator("[data-spec]:not([data-drawn])")).to_have_count(0)
        return self.page

    def _dismiss(self, dialog: Any) -> None:
        self.dialogs.append(dialog.message)
        dialog.dismiss()


@pytest.mark.parametrize(("width", "scheme"), [(1180, "light"), (390, "dark")])
def test_it_draws_fetches_nothing_and_runs_no_label(
    browser: Any, report: Path, width: int, scheme: str
) -> None:
    visit = Visit(browser, report, width, scheme)
    page = visit.unfolded()
    assert visit.said == []
    assert visit.dialogs == []
    assert visit.requests == [report.as_uri()]
    assert page.locator("[data-spec] svg").count() == page.locator("[data-spec]").count() == 11
    assert page.locator("svg path[aria-roledescription], svg path").count() > 50
    assert page.locator("h1").inner_text().startswith(HOSTILE)
    assert page.locator("td", has_text=HOSTILE).count() > 0
    assert page.locator("img").count() == 0
    assert page.locator("#mesh td", has_text=IMAGE).count() > 0
    assert page.locator("#answer [role=alert]").first.inner_text().startswith("Proof failed: 1 of")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize(("width", "scheme"), [(1180, "light"), (390, "dark")])
def test_the_sections_across_hosts_draw_and_run_no_label(
    browser: Any, across: Path, width: int, scheme: str
) -> None:
    visit = Visit(browser, across, width, scheme)
    page = visit.unfolded()
    assert (visit.said, visit.dialogs) == ([], [])
    real, emulated = page.locator("#across-1"), page.locator("#across-2")
    assert real.locator("h2").inner_text() == "Across hosts: aarch64 against x86_64"
    assert real.locator("[data-spec] svg").count() == 8
    assert real.locator("td", has_text=IMAGE).count() > 0
    # One legend entry an architecture: colour and shape are one legend.
    assert real.locator("[data-spec='across-1-hosts-1'] .mark-group.role-legend-entry").count() == 1
    assert emulated.locator("h2").inner_text().startswith("Across hosts: aarch64 (emulated)")
    assert emulated.locator("[data-spec] svg").count() == 4
    notes = emulated.locator("[role=note]").all_inner_texts()
    assert notes[0].startswith("Emulated: arm-9.")
    assert "emulated: False (lab-2, lab-3, lab-4) and True (arm-9)" in notes[1]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_a_change_of_colour_scheme_redraws(browser: Any, report: Path) -> None:
    visit = Visit(browser, report, 1180, "light")
    label = visit.page.locator("[data-spec] svg text").first
    light = label.get_attribute("fill")
    assert light
    visit.page.emulate_media(color_scheme="dark")
    playwright.expect(label).not_to_have_attribute("fill", light)
    assert visit.said == []
    visit.page.close()


def test_the_policy_stops_a_script_that_got_in(browser: Any, report: Path, tmp_path: Path) -> None:
    text = report.read_text(encoding="utf-8").replace(
        "<footer>", "<script>alert(3)</script><footer>"
    )
    path = tmp_path / "injected.html"
    path.write_text(text, encoding="utf-8")
    visit = Visit(browser, path, 1180, "light")
    assert visit.dialogs == []
    assert any("Content Security Policy" in said for said in visit.said)
    visit.page.close()
