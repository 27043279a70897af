"""The generic family: every tested model type as a small network, built here."""

import importlib.util
import json

import pytest
import torch
from auto_models import FAMILY, PREFIX, QUESTION, WORDS, pictures, row, settings, word_ids
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import AddedToken

from artquant.config.schema import ConfigError, Loading
from artquant.errors import ArtQuantError
from artquant.models.adapters import CheckpointError
from artquant.models.auto.tiny_settings import TESTED, TinySettings
from artquant.models.family import bare_name
from artquant.models.scoring_network import ScoringNetwork
from artquant.models.vocabulary import add_new_words

GRIDS = {"image_grid_thw", "mm_token_type_ids"}
EXTRA = {
    "gemma3": {"token_type_ids"},
    "idefics3": {"pixel_attention_mask"},
    "qwen2_vl": GRIDS,
    "qwen2_5_vl": GRIDS,
    "qwen3_vl": GRIDS,
    "qwen3_5": GRIDS,
}
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=TESTED)
def made(request, auto_model):
    return auto_model(request.param)


def rating_logits(made, inputs):
    """[B, words] at the last position of each row."""
    with torch.no_grad():
        hidden = made.network.base_model(**inputs, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(hidden)), inputs.ends() - 1]
        return made.network.get_output_embeddings()(last)[:, word_ids(made.processor)]


def test_what_was_drawn_is_loaded(made):
    state = made.network.state_dict()
    assert set(state) == set(made.drawn)
    assert all(torch.equal(state[name], made.drawn[name]) for name in state)
    assert FAMILY.holds_processor(made.folder) and not FAMILY.holds_processor(made.folder.parent)
    assert made.processor.longest == 256
    assert made.processor.vocabulary_size == made.network.get_input_embeddings().weight.shape[0]


def test_parts_cover_the_network(made):
    parts = FAMILY.parts(made.network)
    names = [name for name, _ in made.network.named_parameters()]
    found = {part: [name for name in names if parts.of(name) == part] for part in ("vision", "projector", "decoder")}
    assert all(found.values()) and sum(map(len, found.values())) == len(names)  # the head is tied to the decoder
    assert parts.modules("head") == ("lm_head",)
    (decoder,), (vision,) = parts.modules("decoder"), parts.modules("vision")
    assert all(name.startswith(f"{decoder}.") for name in found["decoder"])
    assert not any(name.startswith(f"{decoder}.") for name in found["projector"])
    if made.config.model_type.startswith("qwen"):
        assert all(name.startswith(f"{vision}.") and "merger" in name for name in found["projector"])
    with torch.device("meta"):
        assert FAMILY.parts(FAMILY.empty(made.config)) == parts


def test_a_picture_is_scored_the_same_alone_and_in_a_batch_padded_on_either_side(made):
    shown = pictures()
    rows = [row(made.processor, f"{PREFIX}"), row(made.processor, system="Short."), row(made.processor)]
    right = rating_logits(made, made.processor.inputs(rows, shown))
    left = rating_logits(made, made.processor.inputs(rows, shown, padding_side="left"))
    alone = torch.cat([rating_logits(made, made.processor.inputs([r], [p])) for r, p in zip(rows, shown, strict=True)])
    assert torch.allclose(right, alone, atol=1e-5) and torch.allclose(left, right, atol=1e-5)
    assert (right[0] - right[2]).abs().max() > 1e-4  # pictures are seen


def test_all_that_the_processor_makes_is_handed_over(made):
    inputs = made.processor.inputs([row(made.processor)], pictures()[:1])
    expected = {"input_ids", "attention_mask", "pixel_values"} | EXTRA.get(made.config.model_type, set())
    assert set(inputs) == expected


@pytest.mark.parametrize("side", ["left", "right"])
def test_the_rating_word_is_one_token_at_its_place(made, side):
    ids = word_ids(made.processor)
    rows = [row(made.processor, f"{PREFIX} {word}.", complete=True) for word in WORDS[:3]]
    inputs = made.processor.inputs(rows, pictures(), side)
    before = len(row(made.processor).token_ids)
    behind = torch.tensor([len(found.token_ids) - before for found in rows])
    places = inputs.ends() - behind
    assert inputs["input_ids"][torch.arange(3), places].tolist() == ids[:3]
    opened = row(made.processor, "").token_ids
    assert rows[0].token_ids[: len(opened)] == opened  # where learning begins
    last = inputs["input_ids"][torch.arange(3), inputs.ends() - 1]
    assert set(last.tolist()) == {made.processor.tokenizer.eos_token_id}


def test_example_has_real_shapes_and_runs(made):
    inputs = FAMILY.example(made.folder, made.config, samples=2, length=64).inputs
    real = made.processor.inputs([row(made.processor)] * 2, [Image.new("RGB", (32, 32))] * 2)
    assert set(real) <= set(inputs) <= {*real, "position_ids"}  # which some networks make from values otherwise
    assert {name: inputs[name].dtype for name in real} == {name: value.dtype for name, value in real.items()}
    with torch.no_grad():
        hidden = made.network.base_model(**inputs, use_cache=False).last_hidden_state
    assert hidden.shape == (2, 64, 32) and torch.isfinite(hidden).all()
    if not made.config.model_type.startswith("qwen"):
        assert inputs["pixel_values"].shape[-3:] == real["pixel_values"].shape[-3:]
    example = FAMILY.example(made.folder, made.config, samples=1, length=8)
    assert 0 < example.picture < example.inputs["input_ids"].shape[1] >= 8  # longer, where a picture does not fit


def test_added_words_keep_their_ids(made, tmp_path):
    processor = FAMILY.processor(made.folder, made.config)
    size = processor.vocabulary_size
    processor.add_words(["[SCORE]", "[IMG0]"])
    processor.add_words(["[IMG0]", "[IMG1]"])
    assert [processor.word_id(word) for word in ("[SCORE]", "[IMG0]", "[IMG1]")] == [size, size + 1, size + 2]
    assert processor.word_id("[IMG2]") is None and processor.vocabulary_size == size + 3
    processor.save_pretrained(tmp_path)
    again = FAMILY.processor(tmp_path, made.config)
    assert FAMILY.holds_processor(tmp_path) and again.vocabulary_size == size + 3
    before, said = row(again).token_ids, row(again, f"{PREFIX} [SCORE].", complete=True)
    assert said == row(processor, f"{PREFIX} [SCORE].", complete=True)
    assert said.token_ids[: len(before) + 1] == (*before, size)
    assert "[SCORE]" in again.decode(said.token_ids) and QUESTION in again.decode(said.token_ids)
    assert again.picture_positions == made.processor.picture_positions
    for name, value in again.inputs([said], pictures()[:1]).items():
        assert torch.equal(value, processor.inputs([said], [pictures()[0]])[name]) or name == "pixel_values"


def test_adapters_lie_in_the_decoder_only(made):
    from peft import LoraConfig, get_peft_model

    network = FAMILY.load(made.folder, made.config, Loading())
    plain = FAMILY.parts(network)
    adapted = get_peft_model(network, LoraConfig(r=2, target_modules=FAMILY.lora_targets(plain)))
    assert FAMILY.parts(network) == plain
    (decoder,) = plain.modules("decoder")
    names = [name for name, _ in adapted.named_parameters() if "lora_" in name]
    assert names and all(bare_name(name).startswith(f"{decoder}.") for name in names)
    assert {plain.of(name) for name in names} == {"adapters"}
    assert all(".q_proj." in name or ".v_proj." in name for name in names)


def test_targets_outside_the_decoder_are_refused(made):
    modules = dict(made.network.named_modules())
    linear = [name for name, module in modules.items() if isinstance(module, torch.nn.Linear)]
    (decoder,) = FAMILY.parts(made.network).modules("decoder")
    faults = {name: FAMILY.target_fault(name, modules[name]) for name in linear}
    assert all((fault is None) == name.startswith(f"{decoder}.") for name, fault in faults.items())
    assert "linear" in FAMILY.target_fault(decoder, modules[decoder])


def write_config(folder, kind, **values):
    (folder / "config.json").write_text(json.dumps({"model_type": kind, **values}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("kind", "untested", "reason"),
    [
        ("nonsense", True, "cannot be read"),
        ("llama", True, "llama is a model without vision"),
        ("paligemma", False, "none of the tested llava, internvl.*untested"),
        ("smolvlm", True, "needs num2words; pip install num2words"),
        ("lfm2_vl", True, "needs torchvision; pip install torchvision"),
    ],
)
def test_configurations_that_are_refused(tmp_path, kind, untested, reason):
    if kind == "lfm2_vl" and importlib.util.find_spec("torchvision"):
        pytest.skip("torchvision is there")
    with pytest.raises(CheckpointError, match=reason) as refused:
        FAMILY.config(write_config(tmp_path, kind), untested)
    assert "\n" not in str(refused.value) and str(tmp_path / "config.json") in str(refused.value)


def test_untested_types_can_be_tried(tmp_path):
    assert FAMILY.config(write_config(tmp_path, "paligemma"), untested=True).model_type == "paligemma"


def test_networks_without_vision_have_no_parts():
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        network = LlamaForCausalLM(LlamaConfig(num_hidden_layers=1))
    with pytest.raises(CheckpointError, match="LlamaForCausalLM has no vision of its own"):
        FAMILY.parts(network)


def copied(made, folder, change):
    """A copy of a model folder whose tensors were changed."""
    for file in made.folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop(min(tensors)), "is missing"),
        (lambda tensors: tensors.update(extra=torch.zeros(2)), "tensor extra is not known"),
        (lambda tensors: tensors.update({min(tensors): torch.zeros(3, 5)}), "has another shape"),
    ],
)
def test_faulty_weights_are_named(auto_model, tmp_path, change, reason):
    made = auto_model("internvl")
    with pytest.raises(CheckpointError, match=reason):
        FAMILY.load(copied(made, tmp_path, change), made.config, Loading())


def test_folders_without_weights_or_processor(auto_model, tmp_path):
    made = auto_model("internvl")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        FAMILY.load(tmp_path, made.config, Loading())
    with pytest.raises(CheckpointError, match="tokenizer or processor cannot be read"):
        FAMILY.processor(tmp_path, made.config)


def test_only_the_decoder_is_quantised(auto_model):
    pytest.importorskip("bitsandbytes")
    made = auto_model("internvl")
    network = FAMILY.load(made.folder, FAMILY.config(made.folder), Loading(quantize="nf4"))
    kinds = {
        name: type(module).__name__ for name, module in network.named_modules() if isinstance(module, torch.nn.Linear)
    }
    assert {kind for name, kind in kinds.items() if "language_model" in name} == {"Linear4bit"}
    assert {kind for name, kind in kinds.items() if "language_model" not in name} == {"Linear"}


def test_what_there_is_not(auto_model, tmp_path):
    made = auto_model("llava")
    assert FAMILY.published_config() is None and not FAMILY.forms and not FAMILY.packs
    with pytest.raises(CheckpointError, match="does not say how scores are read"):
        FAMILY.published_card(made.folder, made.processor, None)


def test_wrong_settings_of_small_networks(auto_model, tmp_path):
    for wrong in ({"model_type": "llama"}, {"image_size": 30}, {"vocabulary_size": 100}, {"tiles": 0}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            TinySettings(**wrong)
    with pytest.raises(ArtQuantError, match="is there already"):
        FAMILY.write_tiny(settings("llava"), auto_model("llava").folder, WORDS)
    with pytest.raises(ArtQuantError, match="did not become one token"):
        FAMILY.write_tiny(settings("llava"), tmp_path / "new", ("very good indeed",))


def test_a_processor_that_counts_other_positions_than_the_network_is_said_in_one_line(auto_model):
    made = auto_model("llava")
    processor = FAMILY.processor(made.folder, made.config)
    processor.processor.num_additional_image_tokens = 0
    inputs = processor.inputs([row(made.processor)], pictures()[:1])
    network, none = ScoringNetwork(made.network, FAMILY.parts(made.network)), torch.tensor([0])
    with pytest.raises(ArtQuantError, match=r"LlavaForCond\w+ refuses what .*: Image features .* not of one model"):
        network.see(inputs, none)


@pytest.mark.parametrize("special", [False, True])
def test_words_of_the_base_become_those_of_a_readout_and_keep_their_rows(auto_model, special):
    """A base may have them as plain added words, which do not take the blank before them."""
    made = auto_model("llava")
    network, processor = FAMILY.load(made.folder, made.config, Loading()), FAMILY.processor(made.folder, made.config)
    processor.tokenizer.add_tokens([AddedToken("[SCORE]", special=special)])
    number = processor.word_id("[SCORE]")
    network.resize_token_embeddings(number + 1)
    before = network.get_input_embeddings().weight[number].clone()
    add_new_words(network, processor, ["[SCORE]", "[IMG0]"])
    assert (processor.word_id("[SCORE]"), processor.word_id("[IMG0]")) == (number, number + 1)
    assert network.get_input_embeddings().weight[number].equal(before)
    assert row(processor, f"{PREFIX} [SCORE]").token_ids == (*row(processor).token_ids, number)
