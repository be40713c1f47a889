"""The cloud that several files ask, each test one of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloudlab import Cloud, Lab, make_images, make_role, running_cloud


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with running_cloud() as cloud:
        make_role(cloud)
        make_images("x86_64", "arm64")
        yield cloud


@pytest.fixture
def lab(cloud: Cloud, tmp_path: Path) -> Lab:
    return Lab(tmp_path, cloud)
