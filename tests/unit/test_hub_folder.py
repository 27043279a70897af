"""Folders for the hub: what transformers alone says with them, and what they are made of."""

import ast

import pytest
import torch

from artquant import create_metric
from artquant.config.schema import Loading
from artquant.errors import ArtQuantError
from artquant.hub_folders import write
from artquant.hub_folders.push import push_folder
from artquant.hub_folders.readme import About
from artquant.hub_folders.source import Sources
from artquant.hub_folders.trial import Said, draw_pictures, said_here, said_without_package
from artquant.hub_folders.write import write_files
from artquant.labels.rating_scale import APDD_SCALE
from artquant.models.auto.tiny_settings import TESTED
from artquant.models.export import write_own
from artquant.models.families import family_of
from artquant.models.model_folder import ModelFolder
from artquant.models.scoring_network import ScoringNetwork
from artquant.models.vocabulary import add_new_words
from artquant.models.weights import LoadedModel
from artquant.readouts import READOUTS, readout_of
from artquant.readouts.value_tokens import WORDS
from artquant.texts.prompt import PROMPTS


def loaded(folder, family, readout):
    """A network with drawn weights as if it were trained."""
    config = family.config(folder)
    model, processor = family.load(folder, config, Loading()), family.processor(folder, config)
    prompt, made = PROMPTS["artquant"], readout_of({"kind": readout}, APDD_SCALE)
    add_new_words(model, processor, made.new_words)
    if readout == "value_tokens":  # small vocabularies hold none of them
        made = type(made).from_dict(made.to_dict() | {"token_ids": list(range(20, 20 + len(WORDS)))})
    else:
        made = made.bound(processor, prompt)
    torch.manual_seed(0)
    torch.nn.init.normal_(model.get_output_embeddings().weight, std=0.3)  # else new words are all alike
    network = ScoringNetwork(model, family.parts(model)).eval()
    return LoadedModel(network, processor, family, prompt, made, learned=("score", "description"))


SOME = (("mplug_owl2", "rating_levels"), ("mplug_owl2", "score_tokens"), ("internvl", "value_tokens"))
ALL = tuple((kind, readout) for kind in ("mplug_owl2", *TESTED) for readout in READOUTS)


@pytest.mark.parametrize("pairs", [SOME, pytest.param(ALL, marks=pytest.mark.slow)], ids=["some", "all"])
def test_families_and_readouts_say_the_same_without_the_package(pairs, tiny_base, auto_model, tmp_path, one_thread):
    pictures, here = draw_pictures(tmp_path), {}
    for kind, readout in pairs:
        base, folder = tiny_base if kind == "mplug_owl2" else auto_model(kind).folder, tmp_path / f"{kind}.{readout}"
        model = loaded(base, family_of(kind), readout)
        here[folder] = said_here(model, pictures)
        write_files(model, {"base": "/home/me/base"}, folder, About("me/x", None, ()))
        assert "/home/me" not in (folder / "artquant.json").read_text()
    there = said_without_package(dict.fromkeys(here, True), pictures, tmp_path)
    for folder, said in here.items():
        assert said.difference(there[folder]) < 1e-5 * 9, folder.name
        assert said.texts == there[folder].texts, folder.name
        assert len(set(said.scores)) > 1, f"{folder.name}: all pictures are the same to it"


@pytest.fixture
def source(tiny_base, tmp_path):
    """A model's folder, with a card."""
    write_own(loaded(tiny_base, family_of("mplug_owl2"), "rating_levels"), tmp_path / "model", {})
    return ModelFolder.open(tmp_path / "model")


def test_a_folder_that_says_something_else_is_not_written(source, tmp_path, monkeypatch):
    def other(folders, pictures, scratch):
        return {folder: Said([5.5] * len(pictures), []) for folder in folders}

    monkeypatch.setattr(write, "said_without_package", other)
    with pytest.raises(ArtQuantError, match=r"differ by up to .*nothing was written"):
        write.write_hub_folder(source, tmp_path / "hub")
    assert not (tmp_path / "hub").exists()


def test_the_token_is_never_shown(tmp_path, monkeypatch):
    def refuses(self, name, **how):
        raise OSError(f"401 for {name}, Authorization: Bearer hf_secret")

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuses)
    with pytest.raises(ArtQuantError, match=r"was not put on the hub as me/x \(401") as caught:
        push_folder(tmp_path, "me/x")
    assert "hf_secret" not in str(caught.value) and caught.value.__cause__ is None


def test_a_metric(source):
    metric = create_metric(source.path, device="cpu")
    pictures = torch.rand(3, 3, 40, 30, generator=torch.Generator().manual_seed(0))
    scores = metric(pictures)
    assert scores.shape == (3,) and metric.score_range == (1.0, 10.0) and not metric.lower_better
    assert torch.allclose(metric(list(pictures.permute(0, 2, 3, 1).numpy())), scores, atol=1e-5)
    assert torch.allclose(metric(pictures[1]), scores[1:2], atol=1e-5)


def test_code_is_the_same_each_time_and_whole():
    def files():
        sources = Sources()
        sources.need("artquant.hub_folders.network", "ScoresPictures")
        return sources.files()

    first = files()
    assert first == files()
    for name, text in first.items():
        for node in ast.walk(ast.parse(text, name)):
            module = getattr(node, "module", None) if isinstance(node, ast.ImportFrom) else None
            assert module is None or not module.startswith("artquant.")
            assert not (isinstance(node, ast.ImportFrom) and node.level) or f"{node.module}.py" in first
