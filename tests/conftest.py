"""Fixtures for all tests."""

import gc
import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # before anything imports it: no test asks the real hub

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Without the garbage collector, which finds nothing while modules are imported."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item, nextitem):
    """What a file leaves behind are modules: the garbage collector, often asked in training, walks them no more."""
    yield
    if nextitem is not None and nextitem.path != item.path:
        gc.collect()
        gc.freeze()


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


@pytest.fixture(scope="module")
def one_thread():
    """Small networks on one thread: beside other jobs, threads that wait for each other take five times as long."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory) -> Path:
    """A base model folder of 200 KB with a tokenizer trained on a few sentences (tests only read it)."""
    from golden import write_base

    return write_base(tmp_path_factory.mktemp("models") / "base")


@pytest.fixture(scope="session")
def tiny_processor(tiny_base):
    """The processor of `tiny_base`."""
    from artquant.models.mplug_owl2 import MPLUGOwl2Processor

    return MPLUGOwl2Processor.from_pretrained(tiny_base)
