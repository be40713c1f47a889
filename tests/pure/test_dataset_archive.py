"""Export and import: the same bytes out, and nothing in that the manifest does not name."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from blockfiles import Campaign

from collector.dataset import archive
from collector.dataset.archive import export_campaign, import_archive
from collector.dataset.errors import DatasetError
from collector.dataset.store import Places, collect

MADE = Campaign(blocks=2)
Members = list[tuple[tarfile.TarInfo, bytes]]


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    MADE.write(tmp_path / "from")
    target = tmp_path / "web.tar.gz"
    assert export_campaign(Places(tmp_path / "from"), MADE.name, target) == []
    return target


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_round_trip(tmp_path: Path, exported: Path) -> None:
    done = import_archive(Places(tmp_path / "to"), exported)
    assert (done.campaign, done.written, done.present) == (MADE.name, 3, 0)
    assert tree(MADE.folder(tmp_path / "to")) == tree(MADE.folder(tmp_path / "from"))
    sums = [
        {part.sha256 for part in collect(Places(tmp_path / side)).parts} for side in ("from", "to")
    ]
    assert sums[0] == sums[1]
    assert [path.name for path in Places(tmp_path / "to").campaigns.iterdir()] == [MADE.name]


def test_same_campaign_same_bytes(tmp_path: Path, exported: Path) -> None:
    import_archive(Places(tmp_path / "to"), exported)
    export_campaign(Places(tmp_path / "to"), MADE.name, tmp_path / "again.tar.gz")
    assert (tmp_path / "again.tar.gz").read_bytes() == exported.read_bytes()


def test_import_twice_and_more(tmp_path: Path, exported: Path) -> None:
    places = Places(tmp_path / "to")
    MADE.write(places.state, [1])
    done = import_archive(places, exported)
    assert (done.written, done.present) == (1, 2)
    assert import_archive(places, exported).written == 0


def test_export_leaves_out_what_is_not_its_own(tmp_path: Path) -> None:
    places = Places(tmp_path)
    first, second = MADE.write(tmp_path)
    (first.parent / "notes.txt").write_text("x")
    (first.parent / f"b0001-a1.{'0' * 64}.blob").symlink_to("/etc/hostname")
    second.chmod(0o640)
    second.write_bytes(second.read_bytes()[:-3])
    left_out = export_campaign(places, MADE.name, tmp_path / "out.tar.gz")
    assert left_out == [
        f"blocks/b0001-a1.{'0' * 64}.blob: no regular file",
        'blocks/b0002-a1.jsonl:5: torn line: expected {"hash":...,"body":...}',
        "blocks/notes.txt: no file of a campaign, or too large",
    ]
    with tarfile.open(tmp_path / "out.tar.gz") as tar:
        names = [Path(name).name for name in tar.getnames()]
    assert names == ["MANIFEST.json", "b0001-a1.jsonl", "plan.json"]


@pytest.mark.parametrize("name", ["nothing", "../etc", "a/b", ""])
def test_export_of_no_campaign(tmp_path: Path, name: str) -> None:
    with pytest.raises(DatasetError, match="no such campaign"):
        export_campaign(Places(tmp_path), name, tmp_path / "out.tar.gz")


def members(path: Path) -> Members:
    found = []
    with tarfile.open(path) as tar:
        for info in tar:
            stream = tar.extractfile(info)
            found.append((info, stream.read() if stream else b""))
    return found


def pack(path: Path, found: Members, form: int = tarfile.USTAR_FORMAT) -> Path:
    with gzip.open(path, "wb") as out, tarfile.open(fileobj=out, mode="w|", format=form) as tar:
        for info, data in found:
            tar.addfile(info, io.BytesIO(data) if info.isreg() else None)
    return path


def info(name: str, data: bytes = b"", **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    made = tarfile.TarInfo(name)
    made.size = len(data)
    for key, value in facts.items():
        setattr(made, key, value)
    return made, data


def remanifest(found: Members, change: Callable[[dict[str, Any]], None]) -> Members:
    manifest = json.loads(found[0][1])
    change(manifest)
    return [info(found[0][0].name, json.dumps(manifest).encode()), *found[1:]]


def evil(found: Members) -> dict[str, tuple[Members, str]]:
    name = MADE.name
    listed = {"bytes": 2, "sha256": hashlib.sha256(b"hi").hexdigest()}

    def list_too(path: str) -> Callable[[dict[str, Any]], None]:
        return lambda manifest: manifest["files"].update({path: listed})

    def resize(manifest: dict[str, Any]) -> None:
        manifest["files"]["plan.json"]["bytes"] += 1

    def rehash(manifest: dict[str, Any]) -> None:
        manifest["files"]["plan.json"]["sha256"] = "0" * 64

    def huge(manifest: dict[str, Any]) -> None:
        manifest["files"]["plan.json"]["bytes"] = 2**50

    def foreign(manifest: dict[str, Any]) -> None:
        manifest["campaign"] = "other"

    first, *rest = found
    link = {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}
    hard = {"type": tarfile.LNKTYPE, "linkname": "plan.json"}
    return {
        "parent": ([*found, info(f"{name}/../../evil", b"hi")], "is not in the manifest"),
        "absolute": ([*found, info("/tmp/evil", b"hi")], "is not in the manifest"),
        "extra": ([*found, info(f"{name}/blocks/b0009-a1.jsonl", b"hi")], "is not in the manifest"),
        "twice": ([*found, rest[-1]], "or is there twice"),
        "link": ([first, info(f"{name}/plan.json", **link)], "is no regular file"),
        "hard link": ([first, info(f"{name}/plan.json", **hard)], "is no regular file"),
        "device": ([first, info(f"{name}/plan.json", type=tarfile.CHRTYPE)], "no regular file"),
        "folder": ([first, info(f"{name}/blocks", type=tarfile.DIRTYPE)], "no regular file"),
        "missing": (found[:-1], "is in the manifest and not in the archive"),
        "late manifest": ([*rest, first], "expected <campaign>/MANIFEST.json first"),
        "no manifest": ([], "expected <campaign>/MANIFEST.json first"),
        "bad campaign": ([info("../MANIFEST.json", first[1]), *rest], "MANIFEST.json first"),
        "other campaign": (remanifest(found, foreign), "of another campaign"),
        "parent listed": (remanifest(found, list_too("blocks/../../x")), "has no place"),
        "name listed": (remanifest(found, list_too("blocks/-oProxyCommand")), "has no place"),
        "cron listed": (remanifest(found, list_too("/etc/cron.d/x")), "has no place"),
        "size": (remanifest(found, resize), "the manifest says"),
        "hash": (remanifest(found, rehash), "was changed: the hash is not the manifest's"),
        "huge": (remanifest(found, huge), "size or hash is none that can be"),
    }


@pytest.mark.parametrize("case", sorted(evil([info("c/MANIFEST.json", b'{"files":{"plan.json":{"bytes":1}}}'), info("c/plan.json")])))  # fmt: skip # noqa: E501
def test_evil_archives_write_nothing(tmp_path: Path, exported: Path, case: str) -> None:
    found, reason = evil(members(exported))[case]
    path = pack(tmp_path / "evil.tar.gz", found)
    places = Places(tmp_path / "to")
    with pytest.raises(DatasetError, match=reason):
        import_archive(places, path)
    assert list(places.campaigns.iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_extended_headers_are_refused_unread(tmp_path: Path, exported: Path) -> None:
    found = members(exported)
    found[0][0].pax_headers = {"comment": "x" * 5_000_000}
    path = pack(tmp_path / "pax.tar.gz", found, tarfile.PAX_FORMAT)
    with pytest.raises(DatasetError, match="is no regular file"):
        import_archive(Places(tmp_path / "to"), path)


def test_every_cut_is_refused(tmp_path: Path, exported: Path) -> None:
    data = exported.read_bytes()
    cut = tmp_path / "cut.tar.gz"
    places = Places(tmp_path / "to")
    for length in range(0, len(data), max(len(data) // 60, 1)):
        cut.write_bytes(data[:length])
        with pytest.raises(DatasetError):
            import_archive(places, cut)
    assert list(places.campaigns.iterdir()) == []


def test_no_room(tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "TOTAL_LIMIT", 1000)
    with pytest.raises(DatasetError, match="bytes to unpack; there is room for 1000"):
        import_archive(Places(tmp_path / "to"), exported)


def test_conflicts_are_refused(tmp_path: Path, exported: Path) -> None:
    places = Places(tmp_path / "to")
    path = MADE.write_block(places.state, 1, change={1: lambda b: b["measure"].update(exit_code=1)})
    before = tree(places.state)
    with pytest.raises(DatasetError, match=r"already, with another blocks/b0001-a1\.jsonl"):
        import_archive(places, exported)
    assert tree(places.state) == before
    path.unlink()
    plan = MADE.folder(places.state) / "plan.json"
    plan.write_bytes(plan.read_bytes() + b" ")
    with pytest.raises(DatasetError, match=r"already, with another plan\.json"):
        import_archive(places, exported)


def test_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no exported campaign"):
        import_archive(Places(tmp_path), tmp_path / "nothing.tar.gz")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(DatasetError, match="no exported campaign"):
        import_archive(Places(tmp_path), tmp_path / "text")
