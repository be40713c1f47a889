"""What belongs to a publication, and what a bucket lacks: no call is made."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blockfiles import Campaign

from collector.dataset.errors import DatasetError, DatasetMissingError
from collector.dataset.store import Places, collect
from collector.publish.compare import Stored, compare
from collector.publish.errors import NotReadyError, PublishError
from collector.publish.site import IMMUTABLE, SHORT, Item, Site, headers_of, read_site

MADE = Campaign(blocks=2)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A collected campaign with a report of two files."""
    MADE.write(tmp_path)
    collect(Places(tmp_path))
    folder = tmp_path / "results" / "report" / "web"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text(f"<title>web: {MADE.name}</title>")
    (folder / "aa.csv").write_text("cell\n")
    return tmp_path


def read(state: Path, name: str = "web") -> Site:
    return read_site(Places(state), name, lambda done, total: None)


def names(site: Site) -> list[str]:
    return [item.name for item in site.items]


def test_the_objects_and_their_order(state: Path) -> None:
    site = read(state)
    parts, rest = names(site)[:6], names(site)[6:]
    assert all(name.startswith("results/dataset/parts/") for name in parts)
    assert rest == [
        f"results/campaigns/{MADE.name}/plan.json", "aa.csv", "report.html",
        "results/dataset/index.json", "SHA256SUMS",
    ]  # fmt: skip
    assert (site.campaign, site.left_out) == (MADE.name, ())


def test_the_index_is_of_this_campaign_alone(state: Path) -> None:
    (before,) = (item.source for item in read(state).items if item.name.endswith("index.json"))
    other = Campaign(name="web-20261122t000000-0002", blocks=1)
    other.write(state)
    other.write_block(state, 1, attempt=2)
    collect(Places(state))
    (after,) = (item.source for item in read(state).items if item.name.endswith("index.json"))
    assert before == after
    assert isinstance(after, bytes)
    index = json.loads(after)
    assert {part["campaign"] for part in index["parts"]} == {MADE.name}
    assert (list(index["plans"]), index["superseded"], index["files"]) == ([MADE.name], [], [])


def test_the_same_results_give_the_same_site(state: Path) -> None:
    assert read(state) == read(state, MADE.name)


@pytest.mark.parametrize(
    ("name", "kind", "cache"),
    [
        ("report.html", "text/html; charset=utf-8", SHORT),
        ("a.csv", "text/csv; charset=utf-8", SHORT),
        ("a.txt", "text/plain; charset=utf-8", SHORT),
        ("a.json", "application/json", SHORT),
        ("a.jsonl", "application/x-ndjson", SHORT),
        ("a.png", "image/png", SHORT),
        ("a.svg", "image/svg+xml", SHORT),
        ("SHA256SUMS", "text/plain; charset=utf-8", SHORT),
        ("results/dataset/parts/runs-0.parquet", "application/vnd.apache.parquet", IMMUTABLE),
        ("results/dataset/index.json", "application/json", SHORT),
    ],
)
def test_headers(name: str, kind: str, cache: str) -> None:
    plain = {"Content-Type": kind, "Cache-Control": cache}
    assert headers_of(name, b"text") == plain
    assert headers_of(name, b"") == plain
    assert headers_of(name, gzip.compress(b"text")) == {**plain, "Content-Encoding": "gzip"}


# Which campaign


def test_a_report_about_another_campaign(state: Path) -> None:
    other = Campaign(name="web-20261122t000000-0002", blocks=1)
    other.write(state)
    with pytest.raises(
        NotReadyError, match=rf"is about web {MADE.name}, not {other.name}; make one"
    ):
        read(state, other.name)


def test_no_report_yet(state: Path) -> None:
    (state / "results/report/web/report.html").unlink()
    for name, more in (("web", "$"), (MADE.name, f" --campaign {MADE.name}$")):
        with pytest.raises(NotReadyError, match=f"no report yet; .* --experiment web{more}"):
            read(state, name)


@pytest.mark.parametrize("page", [b"<title>x</title>", b"", b"\x1f\x8b\x08 broken"])
def test_a_page_that_is_no_report(state: Path, page: bytes) -> None:
    (state / "results/report/web/report.html").write_bytes(page)
    with pytest.raises(NotReadyError, match="is about nothing that can be told"):
        read(state)


def test_an_encoded_report_is_read(state: Path) -> None:
    page = state / "results/report/web/report.html"
    page.write_bytes(gzip.compress(page.read_bytes()))
    assert read(state).campaign == MADE.name


@pytest.mark.parametrize("name", ["mesh", "", "../web", "web/../../secrets", "-x", "a" * 200])
def test_an_unknown_name(state: Path, name: str) -> None:
    with pytest.raises(PublishError) as found:
        read(state, name)
    assert found.value.code == 2


def test_a_campaign_that_is_not_collected(state: Path) -> None:
    index = state / "results/dataset/index.json"
    data = json.loads(index.read_text())
    index.write_text(json.dumps({**data, "parts": []}))
    with pytest.raises(NotReadyError, match="is not in the dataset yet"):
        read(state)
    index.unlink()
    with pytest.raises(DatasetMissingError):
        read(state)


# Names and links that lead elsewhere


def change_part(file: str) -> Callable[[Path], None]:
    def change(state: Path) -> None:
        path = state / "results/dataset/index.json"
        data = json.loads(path.read_text())
        data["parts"][0]["file"] = file
        path.write_text(json.dumps(data))

    return change


def link(name: str, target: str) -> Callable[[Path], None]:
    """Put ``target`` in the place of ``name``, which moves there."""

    def change(state: Path) -> None:
        (state / target).parent.mkdir(parents=True, exist_ok=True)
        (state / name).rename(state / target)
        (state / name).symlink_to(state / target)

    return change


def break_part(state: Path) -> None:
    part = next((state / "results/dataset/parts").glob("runs-*"))
    part.chmod(0o640)
    part.write_bytes(part.read_bytes() + b"x")


def name_in_plan(experiment: str) -> Callable[[Path], None]:
    def change(state: Path) -> None:
        path = MADE.folder(state) / "plan.json"
        data: dict[str, Any] = json.loads(path.read_text())
        path.chmod(0o640)
        path.write_text(json.dumps({**data, "experiment": experiment}))

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_part("../../secrets/tls/ca.key"), "is no part"),
        (change_part("/etc/passwd"), "is no part"),
        (change_part("parts/runs-" + "0" * 64 + ".parquet"), "is no part"),
        (change_part("parts/../../x.parquet"), "is no part"),
        (break_part, "was changed"),
        (link("results/report/web", "secrets"), "links are not followed"),
        (link("results/report", "elsewhere"), "links are not followed"),
        (link(f"results/campaigns/{MADE.name}", "secrets"), "links are not followed"),
        (link("results/dataset/parts", "secrets"), "links are not followed"),
        (link("results/report/web/report.html", "secrets/x"), "links are not followed"),
        (name_in_plan("../../secrets"), "is no experiment's name"),
    ],
    ids=lambda it: it if isinstance(it, str) else "",
)
def test_what_leads_elsewhere_is_refused(
    state: Path, change: Callable[[Path], None], said: str
) -> None:
    change(state)
    with pytest.raises((PublishError, DatasetError), match=said) as found:
        read(state, MADE.name)
    assert getattr(found.value, "code", 2) == 2


def test_what_the_report_does_not_write_is_left_out_and_said(state: Path) -> None:
    folder = state / "results/report/web"
    (state / "secrets").mkdir()
    (state / "secrets" / "key.txt").write_text("canary")
    (folder / "key.txt").symlink_to(state / "secrets" / "key.txt")
    (folder / "run.log").write_text("canary")
    (folder / ".report.html.1.part").write_text("canary")
    (folder / "a\nb.csv").write_text("canary")
    (folder / "more").mkdir()
    os.mkfifo(folder / "pipe.csv")
    site = read(state)
    assert [line.partition(":")[0] for line in site.left_out] == [
        "'.report.html.1.part'", "'a\\nb.csv'", "'key.txt'", "'more'", "'pipe.csv'", "'run.log'",
    ]  # fmt: skip
    assert [name for name in names(site) if "/" not in name] == [
        "aa.csv", "report.html", "SHA256SUMS",
    ]  # fmt: skip


def test_both_hashes_are_of_the_bytes(state: Path) -> None:
    for item in read(state).items:
        data = item.source if isinstance(item.source, bytes) else item.source.path.read_bytes()
        assert item.sha256 == hashlib.sha256(data).hexdigest()
        assert item.md5 == hashlib.md5(data).hexdigest()


def test_a_file_that_cannot_be_read(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def refuse(path: Any, *given: Any, **more: Any) -> int:
        if Path(path).name == "aa.csv":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *given, **more)

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(PublishError, match=r"aa\.csv: Permission denied; nothing was published"):
        read(state)


# What a bucket lacks

MD5 = "9dd4e461268c8034f5c8564e155c67a6"  # of b"x"
ITEM = Item("aa.csv", b"x", 1, "ab", MD5, {"Content-Type": "text/csv", "Cache-Control": "short"})
RIGHT = Stored(1, "ab", dict(ITEM.headers))


@pytest.mark.parametrize(
    ("stored", "cure", "why"),
    [
        (None, "send", "missing"),
        (Stored(2), "send", "2 bytes, expected 1"),
        (Stored(1, None, ITEM.headers), "send", "has no sha256 in its metadata"),
        (Stored(1, "cd", ITEM.headers), "send", "other content by its sha256"),
        # What went up in parts, or is encrypted by a key of KMS, has an ETag that proves nothing.
        (Stored(1, None, {}, f'"{MD5}-2"'), "send", "has no sha256 in its metadata"),
        (Stored(1, "cd", ITEM.headers, f'"{MD5[::-1]}"'), "send", "other content by its sha256"),
        (Stored(1, None, ITEM.headers, f'"{MD5}"'), "mend", "has no sha256 in its metadata"),
        (Stored(1, "cd", ITEM.headers, f'"{MD5}"'), "mend", "another sha256 in its metadata"),
        (
            Stored(1, None, {"Content-Type": "text/csv"}, f'"{MD5}"'),
            "mend",
            "has no sha256 in its metadata; Cache-Control none, expected 'short'",
        ),
        (
            Stored(1, "ab", {"Content-Type": "a", "Content-Encoding": "gzip"}),
            "mend",
            "Content-Type 'a', expected 'text/csv'; Content-Encoding 'gzip', expected none; "
            "Cache-Control none, expected 'short'",
        ),
    ],
)
def test_a_deviation_and_its_cure(stored: Stored | None, cure: str, why: str) -> None:
    (found,) = compare([ITEM], {} if stored is None else {"aa.csv": stored})
    assert (found.cure, found.name, found.why, found.item) == (cure, "aa.csv", why, ITEM)


def test_what_is_as_it_should_be_is_no_deviation() -> None:
    assert compare([ITEM], {"aa.csv": RIGHT}) == []


def test_what_does_not_belong_comes_last() -> None:
    found = compare([ITEM], {"z": Stored(1), "\x1b": Stored(1)})
    assert [(one.cure, one.name) for one in found] == [
        ("send", "aa.csv"), ("foreign", "'\\x1b'"), ("foreign", "'z'"),
    ]  # fmt: skip
