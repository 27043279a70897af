"""Every fast path gives what the plain one gives, on every family of networks."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from auto_models import pictures, row, settings, word_ids
from PIL import Image
from torch import nn
from transformers.activations import QuickGELUActivation

from artquant.cli import main
from artquant.config.schema import Loading
from artquant.errors import ArtQuantError, visible
from artquant.infer.read_pictures import read_pictures
from artquant.infer.scorer import Scorer
from artquant.labels.rating_scale import APDD_SCALE
from artquant.listing.entry import Entry
from artquant.listing.open_entry import EntryReader
from artquant.models import fast_linear
from artquant.models.auto.tiny_settings import TESTED
from artquant.models.family import Row
from artquant.models.fast_attention import PRODUCTS, use_products
from artquant.models.fast_linear import DynamicInt8Linear, PackedLinear, WidenedLinear, quicken
from artquant.models.internvl.family import InternVLFamily
from artquant.models.model_card import Card
from artquant.models.model_folder import ModelFolder
from artquant.models.mplug_owl2.vision import QuickGELU
from artquant.models.vocabulary import add_new_words
from artquant.models.weights import load_network, save_model
from artquant.readouts import readout_of
from artquant.texts.prompt import get_prompt

pytestmark = pytest.mark.usefixtures("one_thread")

CPU = torch.device("cpu")
NAMES = ("Color", "Composition", "Mood")
PICTURES = [Image.effect_noise(size, 80).convert("RGB") for size in ((40, 40), (80, 40), (80, 40), (40, 90))]


@pytest.fixture(scope="module", params=["mplug_owl2", "internvl"])
def model(request, tiny_base, tmp_path_factory):
    """A model folder of each family that packs."""
    base, folder = tiny_base, tmp_path_factory.mktemp(request.param)
    if request.param == "internvl":
        base = folder / "base"
        InternVLFamily().write_tiny(settings("internvl", max_positions=512), base, APDD_SCALE.words)
    network, prompt = load_network(ModelFolder.open(base), Loading()), get_prompt("artquant")
    card = Card(prompt, readout_of({}, APDD_SCALE).bound(network.processor, prompt), attributes=NAMES)
    save_model(folder / "model", network.model, network.processor, network.family, card)
    return folder / "model"


@pytest.fixture
def all_layers(monkeypatch):
    """Small layers are worth it, too."""
    monkeypatch.setattr(fast_linear, "_SMALLEST", 0)


def values(scorer, size=4):
    return [
        [score.score, score.std, *(one.score for one in score.attributes.values())]
        for score in scorer(PICTURES, size, attributes=NAMES)
    ]


def kinds(scorer):
    return {type(module) for module in scorer.network.plain.modules()}


def test_scores_are_those_of_the_plain_path(model, all_layers):
    fast, plain = Scorer.from_pretrained(model), Scorer.from_pretrained(model, plain=True)
    assert PackedLinear in kinds(fast) and PackedLinear not in kinds(plain)
    for size in (1, 3, 4):
        for one, other in zip(values(fast, size), values(plain, 1), strict=True):
            assert one == pytest.approx(other, abs=1e-4)
    assert fast.describe(PICTURES, max_new_tokens=12) == plain.describe(PICTURES, max_new_tokens=12)


def test_what_stands_before_the_picture_is_read_once(model):
    scorer = Scorer.from_pretrained(model)
    widths = []
    scorer.network.plain.base_model.register_forward_hook(
        lambda module, given, kwargs, output: widths.append(kwargs["input_ids"].shape), with_kwargs=True
    )
    first = scorer(PICTURES[:2], 1)
    assert [shape[0] for shape in widths] == [1, 1, 1]
    before = scorer._row(None).token_ids.index(scorer.processor.image_token_id)
    assert widths[0][1] == before > 1
    assert [one.score for one in scorer(PICTURES[:2], 2)] == pytest.approx([one.score for one in first], abs=1e-5)
    assert scorer(PICTURES[0]).score == pytest.approx(first[0].score, abs=1e-6)  # what is kept stays as it was


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_beginning_goes_with_every_attention(model, attention):
    fast = Scorer.from_pretrained(model, attention=attention)
    plain = Scorer.from_pretrained(model, attention=attention, plain=True)
    for one, other in zip(values(fast), values(plain), strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_products_are_attention(model):
    plain, products = Scorer.from_pretrained(model, plain=True), Scorer.from_pretrained(model)
    use_products(products.network.plain)
    assert products.network.plain.config._attn_implementation == PRODUCTS
    for one, other in zip(values(products), values(plain), strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert products.describe(PICTURES, max_new_tokens=8) == plain.describe(PICTURES, max_new_tokens=8)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("kind", TESTED)
def test_networks_of_transformers(auto_model, all_layers, kind, int8):
    made, shown = auto_model(kind), pictures()
    network = copy.deepcopy(made.network)
    inputs = made.processor.inputs([row(made.processor)] * len(shown), shown)

    def logits():
        with torch.no_grad():
            states = network.base_model(**inputs, use_cache=False).last_hidden_state
            states = states[torch.arange(len(shown)), inputs.ends() - 1]
            return network.get_output_embeddings()(states)[:, word_ids(made.processor)]

    before = logits()
    quicken(network, CPU, int8)
    assert any(isinstance(module, DynamicInt8Linear if int8 else PackedLinear) for module in network.modules())
    assert torch.allclose(logits(), before, atol=0.1 if int8 else 1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_layers(bias):
    torch.manual_seed(0)
    layer, states = nn.Linear(96, 160, bias=bias).requires_grad_(False), torch.randn(3, 40, 96)
    assert torch.allclose(PackedLinear(layer)(states), layer(states), atol=1e-5)
    narrow = DynamicInt8Linear(layer)
    off = (narrow(states) - layer(states)).norm() / layer(states).norm()
    assert 1e-4 < off < 0.03
    states[1] *= 1000  # others' ranges do not matter
    assert torch.allclose(narrow(states)[0], narrow(states[:1])[0], atol=0.02 * float(layer(states[0]).abs().max()))
    wide = copy.deepcopy(layer)
    layer.bfloat16()
    for positions in (1, 40):
        given = states[0, :positions].bfloat16()
        exact = wide(given.float())
        assert (WidenedLinear(layer)(given).float() - exact).abs().max() < 0.02 * exact.abs().max()


def test_bfloat16_is_near_float32(model, all_layers):
    exact = torch.tensor(values(Scorer.from_pretrained(model)))
    for plain in (False, True):
        rounded = torch.tensor(values(Scorer.from_pretrained(model, dtype="bfloat16", plain=plain)))
        assert (rounded - exact).abs().max() < 0.05


def test_int8_on_the_cpu(model, all_layers, tmp_path, capsys):
    scorer = Scorer.from_pretrained(model, quantize="dynamic_int8")
    assert DynamicInt8Linear in kinds(scorer)
    off = torch.tensor(values(scorer)) - torch.tensor(values(Scorer.from_pretrained(model)))
    assert 1e-6 < off.abs().max() < 0.5
    picture = tmp_path / "picture.png"
    PICTURES[0].save(picture)
    asked = [
        "--quiet",
        "score",
        str(picture),
        "--model",
        str(model),
        "--quantize",
        "dynamic_int8",
        "--json",
        "--anyway",
    ]
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(scorer(PICTURES[0]).score, abs=1e-3)
    with pytest.raises(ArtQuantError, match="dynamic_int8"):
        Scorer.from_pretrained(model, quantize="dynamic_int8", plain=True)


def test_training_in_dynamic_int8_is_refused(capsys):
    assert main(["plan", "--config", "configs/demo/demo.yaml", "--memory", "24GiB", "model.quantize=dynamic_int8"]) == 2
    assert "dynamic_int8 is for scoring alone" in capsys.readouterr().err


def test_states_at_some_positions_are_those_of_all(tiny_base, tiny_processor):
    network = load_network(ModelFolder.open(tiny_base), Loading()).model
    shown = [tiny_processor.picture(one) for one in PICTURES[:2]]
    asked = get_prompt("artquant").scoring()
    text = tiny_processor.conversation(asked)
    ids = tuple(tiny_processor.tokenize(text))
    inputs = tiny_processor.inputs([Row(text, ids)] * 2, shown)
    width = inputs["input_ids"].shape[1]
    chosen = torch.tensor([3, width - 1, width, 2 * width - 2, 40])  # some of a picture's
    network.zero_grad()
    every = network.base_model(**inputs, use_cache=False).last_hidden_state.flatten(0, 1)[chosen]
    every.square().sum().backward()
    gradients = {name: value.grad.clone() for name, value in network.named_parameters() if value.grad is not None}
    network.zero_grad()
    some = network.base_model(**inputs, use_cache=False, states_at=chosen).last_hidden_state
    some.square().sum().backward()
    assert torch.allclose(some, every, atol=1e-5)
    for name, value in network.named_parameters():
        if value.grad is not None:
            assert torch.allclose(value.grad, gradients[name], atol=1e-4 * float(gradients[name].abs().max() + 1)), name


def test_quick_gelu_is_the_published_function():
    given = torch.linspace(-8, 8, 200, dtype=torch.float64, requires_grad=True)
    ours, theirs = QuickGELU()(given), QuickGELUActivation()(given)
    assert torch.allclose(ours, theirs, atol=1e-12)
    assert torch.autograd.gradcheck(QuickGELU(), (given[:20],))
    kept = given.detach().clone()
    QuickGELU()(kept)
    assert torch.equal(kept, given.detach())  # what it is given stays
    QuickGELU(inplace=True)(kept)
    assert torch.equal(kept, ours.detach())
    assert torch.autograd.gradcheck(QuickGELU(inplace=True), (given[:20],))


@pytest.mark.parametrize("workers", [None, 0, 1])
def test_pictures_come_in_order_whatever_reads_them(tiny_processor, tmp_path, workers):
    records = [Entry(f"{number}.png", f"{number}.png", str(tmp_path / f"{number}.png")) for number in range(7)]
    for number, one in enumerate(records):
        Image.new("RGB", (20, 20), (30 * number, 0, 0)).save(one.file)
    Path(records[4].file).write_bytes(b"no picture")
    batches = list(read_pictures(records, EntryReader(), tiny_processor, 3, workers, CPU))
    assert [len(batch) for batch in batches] == [3, 3, 1]
    found = [one for batch in batches for one in batch]
    assert [one.id for one, *_ in found] == [one.id for one in records]
    assert [error is None for *_, error, _ in found] == [number != 4 for number in range(7)]
    reds = [float(picture[0].mean()) for _, picture, *_ in found if picture is not None]
    assert reds == sorted(reds)


def test_a_prompt_that_another_begins_with_has_its_ending(model):
    """A description that is asked for as scores are, whose answer is yet to come."""
    scorer = Scorer.from_pretrained(model)
    asked = scorer.loaded.prompt.scored_question
    object.__setattr__(scorer.loaded, "prompt", replace(scorer.loaded.prompt, description_questions=(asked,)))
    [(score, texts)] = scorer.score_and_describe(PICTURES[:1], (1,), 10)
    assert texts == {1: scorer.describe(PICTURES[0], 1, 10)}
    assert score.score == pytest.approx(scorer(PICTURES[0]).score, abs=1e-5)


def test_scores_in_texts_beside_the_score(tiny_base, tmp_path):
    """A model whose texts hold scores: with `score_and_describe` they stand as numbers, too."""
    network, prompt = load_network(ModelFolder.open(tiny_base), Loading()), get_prompt("artquant")
    readout = readout_of({"kind": "score_tokens", "tokens": 10, "low": 1, "high": 10}, APDD_SCALE)
    add_new_words(network.model, network.processor, readout.new_words)
    card = Card(prompt, readout.bound(network.processor, prompt))
    save_model(tmp_path / "model", network.model, network.processor, network.family, card)
    scorer = Scorer.from_pretrained(tmp_path / "model")
    said = torch.zeros(scorer.network.config.get_text_config().vocab_size)
    said[list(scorer.loaded.readout.place_ids)] = 100.0
    scorer.network.plain.get_output_embeddings().register_forward_hook(lambda *call: call[2] + said)
    [(_, texts)] = scorer.score_and_describe(PICTURES[:1], (2,), 3)
    assert texts == {2: scorer.describe(PICTURES[0], 2, 3)} and len(texts[2].split()) == 3


def test_score_and_all_levels_from_one_reading(model, tmp_path, capsys):
    scorer = Scorer.from_pretrained(model)
    read = []
    scorer.network.plain.base_model.register_forward_hook(
        lambda module, given, kwargs, output: read.append(kwargs.get("pixel_values") is not None), with_kwargs=True
    )
    found = scorer.score_and_describe(PICTURES, max_new_tokens=10, batch_size=3)
    assert sum(read) == 2  # batches
    for wrong in ({"levels": ()}, {"max_new_tokens": 0}):
        with pytest.raises(ArtQuantError, match="1 "):
            scorer.score_and_describe(PICTURES, **wrong)
    assert [score.score for score, _ in found] == pytest.approx([one.score for one in scorer(PICTURES)], abs=1e-5)
    for level in (1, 2, 3):
        assert [texts[level] for _, texts in found] == scorer.describe(PICTURES, level, 10)
    picture = tmp_path / "picture.png"
    PICTURES[1].save(picture)
    asked = ["--quiet", "describe", str(picture), "--model", str(model), "--level", "all", "--max-new-tokens", "10"]
    assert main([*asked, "--anyway", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["descriptions"] == {str(level): text for level, text in found[1][1].items()}
    assert told["score"] == pytest.approx(found[1][0].score, abs=1e-5)
    assert main([*asked, "--anyway"]) == 0
    assert visible(found[1][1][2]) in capsys.readouterr().out
