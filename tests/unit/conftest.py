"""Fixtures of the unit tests."""

import json

import pytest

from artquant.prepare.prepare import Settings, prepare

BAID = "image,score\na.jpg,7.5\nb.jpg,3\nsub/c.jpg,10\n"


@pytest.fixture
def prepared(tmp_path):
    """Prepares a data set from texts; returns the card."""

    def run(name, text=BAID, split=None, **settings):
        file = tmp_path / "scores.csv"
        file.write_bytes(text.encode("utf-8"))
        return prepare(name, [(file, split)], tmp_path / "out", Settings(**settings), "artquant prepare")

    return run


@pytest.fixture
def prepared_file(tmp_path):
    """A file of the prepared folder."""
    return lambda name: json.loads((tmp_path / "out" / f"{name}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def auto_model(tmp_path_factory):
    """Gives a small network of the generic family by its model type; each is made once, and only read."""
    from auto_models import make

    models = {}

    def get(kind):
        if kind not in models:
            models[kind] = make(kind, tmp_path_factory.mktemp("auto") / kind)
        return models[kind]

    return get
