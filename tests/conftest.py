"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def fixture_folder() -> Path:
    """Small data files that belong to the tests."""
    return REPOSITORY / "tests" / "fixtures"


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder with golden values and annotations: $ARTQUANT_SHARED, or `shared` beside the repository."""
    folder = Path(os.environ.get("ARTQUANT_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"no golden values in {folder}: set ARTQUANT_SHARED to their folder")
    return folder
