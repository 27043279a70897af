"""Models by their names on the hub: one on the loopback, a filled cache, and none."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from hub_server import COMMIT, serving
from huggingface_hub import constants

from artquant.models.family import CheckpointError
from artquant.models.hub import KnownModel, Place, known_models, locate
from artquant.models.model_folder import ModelFolder

REPOSITORY = "someone/Small-Model"


@pytest.fixture
def hub(lab, tmp_path, monkeypatch):
    """The tiny base as a repository, with files beside it that nobody needs, and an empty cache."""
    folder = tmp_path / "repository"
    shutil.copytree(lab.base, folder)
    (folder / "modeling.py").write_text("raise SystemExit('executed')")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "checkpoint-5").mkdir()
    (folder / "checkpoint-5" / "model.safetensors").write_bytes(b"another state")
    with serving({REPOSITORY: folder}) as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        form = server.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", form)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.chdir(tmp_path)
        yield server


def test_only_what_is_read_is_fetched_and_once(hub, lab):
    place = locate(REPOSITORY)
    assert str(place.name) == f"{REPOSITORY}@{COMMIT}"
    assert {file.name for file in place.folder.iterdir()} == hub.files_asked()
    assert not {"modeling.py", "pytorch_model.bin", "checkpoint-5"} & hub.files_asked()
    assert (place.folder / "model.safetensors").read_bytes() == (lab.base / "model.safetensors").read_bytes()
    before = sum("/resolve/" in asked for asked in hub.asked)
    assert locate(f"{REPOSITORY}@v1").folder == place.folder
    assert sum("/resolve/" in asked for asked in hub.asked) == before


def test_pickles_are_fetched_where_there_is_nothing_else_and_no_weights_where_none_are_needed(hub):
    (hub.repositories[REPOSITORY] / "model.safetensors").unlink()
    assert not list(locate(REPOSITORY, weights=False).folder.glob("*.bin"))
    assert (locate(REPOSITORY).folder / "pytorch_model.bin").read_bytes() == b"a pickle"


def test_an_interrupted_download_goes_on_with_the_files_that_are_missing(hub, lab, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)  # before it tries again
    hub.broken.add("model.safetensors")
    with pytest.raises(CheckpointError, match=r"someone/Small-Model: no such folder here, and not to be had"):
        locate(REPOSITORY)
    hub.broken.clear()
    hub.asked.clear()
    place = locate(REPOSITORY)
    assert (place.folder / "model.safetensors").read_bytes() == (lab.base / "model.safetensors").read_bytes()
    assert hub.files_asked() == {"model.safetensors"}


def test_a_connection_that_breaks_off_is_resumed_where_it_was(hub, lab, monkeypatch):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 4096)  # what it keeps of a broken download is whole chunks
    hub.cut.add("model.safetensors")
    place, whole = locate(REPOSITORY), (lab.base / "model.safetensors").read_bytes()
    assert (place.folder / "model.safetensors").read_bytes() == whole
    assert [start // 4096 for name, start in hub.starts if name == "model.safetensors"] == [0, len(whole) // 2 // 4096]


def test_a_filled_cache_is_enough_and_half_a_one_is_not(hub, monkeypatch):
    hub.lost.add("tokenizer.model")
    with pytest.raises(CheckpointError, match=r"tokenizer\.model"):
        locate(REPOSITORY)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(CheckpointError, match="not to be had from the hub"):
        locate(REPOSITORY)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    hub.lost.clear()
    place = locate(REPOSITORY)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.asked)
    assert locate(REPOSITORY) == place
    assert len(hub.asked) == asked
    with pytest.raises(CheckpointError, match="not to be had from the hub"):
        locate("someone/Other-Model")


def test_what_the_hub_refuses_is_one_line(hub, monkeypatch):
    with pytest.raises(CheckpointError, match=r"nobody/Nothing: no such folder here, and no such repository"):
        locate("nobody/Nothing")
    with pytest.raises(CheckpointError, match=r"Small-Model@v7: the repository has no such revision"):
        locate(f"{REPOSITORY}@v7")
    hub.gated.add(REPOSITORY)
    with pytest.raises(CheckpointError, match=r"Small-Model: its owner gives it to those who have asked.* HF_TOKEN"):
        locate(REPOSITORY)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="not to be had from the hub"):
        locate(REPOSITORY)


def test_what_may_be_a_folder_is_never_looked_for_elsewhere(hub, tmp_path):
    (tmp_path / "ModelZoo").mkdir()
    (tmp_path / "someone" / "Small-Model").mkdir(parents=True)
    for name in ("ModelZoo/typing-error", REPOSITORY, str(tmp_path / "none"), "runs/demo/scores/model", "single"):
        assert locate(name) == Place(folder=type(tmp_path)(name), name=type(tmp_path)(name))
    assert not hub.asked


def test_short_names_bring_what_they_are_read_with(hub, monkeypatch):
    hub.repositories = {known.repository: hub.repositories[REPOSITORY] for known in known_models().values()}
    opened = ModelFolder.open("deqa-score")
    assert str(opened.name).startswith("zhiyuanyou/DeQA-Score-Mix3@")
    assert str(opened.named_base) == "mplug-owl2"


def test_check_and_familiar_of_a_repository(lab, hub, tmp_path, capsys):
    """What needs the tokenizer alone fetches no weights; what writes into a model wants its folder."""
    config = lab.write(tmp_path, lab.scores(start=REPOSITORY), base=REPOSITORY)
    assert lab.artquant("--quiet", "check", config, "--no-pictures") == 0
    assert "lengths in tokens" not in capsys.readouterr().out
    assert not any(name.endswith((".safetensors", ".bin")) for name in hub.files_asked())
    options = ("--records", lab.records("score"), "--images", lab.images)
    assert lab.artquant("familiar", "--model", REPOSITORY, *options) == 2
    assert f"{REPOSITORY}: no folder here" in capsys.readouterr().err


def test_by_the_command_line(lab, hub, tmp_path):
    """Train over a repository, score the adapter without its name or a network, and refuse a base that has moved."""
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HUB_CACHE": str(tmp_path / "cache"), "NO_PROXY": "*"}
    stage = lab.scores(trainable=lab.as_published, max_steps=1, max_length=512)
    config = lab.write(tmp_path, stage, base=REPOSITORY)
    for offline, command in (
        ("0", ["train", "--config", config]),
        ("1", ["score", lab.images / "00000.png", "--json", "--model", tmp_path / "runs/run/scores/model"]),
    ):
        process = lab.start(["-m", "artquant", *command], environment=environment | {"HF_HUB_OFFLINE": offline})
        out, err = process.communicate()
        assert process.returncode == 0, err
    assert 1 <= json.loads(out)["score"] <= 10
    card = json.loads((tmp_path / "runs/run/scores/model/artquant.json").read_text())
    assert card["base"]["folder"] == card["history"]["base"] == f"{REPOSITORY}@{COMMIT}"


def test_the_page_lists_the_short_names():
    page = (Path(__file__).resolve().parents[2] / "ModelZoo" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| `(\S+)` \| (?:`([\w-]+)` )?\|$", page, re.M)
    assert {name: KnownModel(repository, base or None) for name, repository, base in rows} == known_models()
