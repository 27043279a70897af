"""The network beyond what the golden values reach: grouped queries, padding, options, memory."""

import functools
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from golden import scoring_network, small_network, write_base
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

import artquant
from artquant.config.schema import Loading
from artquant.models.model_folder import ModelFolder
from artquant.models.mplug_owl2 import MPLUGOwl2Config, MPLUGOwl2LlamaForCausalLM
from artquant.models.mplug_owl2.abstractor import AbstractorLayer, CrossAttention, grid_table, sine_cosine_table
from artquant.models.mplug_owl2.decoder import ModalitySplit, MPLUGOwl2Attention, MPLUGOwl2DecoderLayer
from artquant.models.mplug_owl2.vision import VisionAttention, VisionEncoderLayer
from artquant.models.weights import load_network

pytestmark = pytest.mark.usefixtures("one_thread")

IMAGE = -200
VARIANTS = {"plain": {}, "multi_scale": {"multi_scale": True}, "multi_image": {"multi_image": True}}


def inputs(network: MPLUGOwl2LlamaForCausalLM, rows: int = 2) -> dict[str, torch.Tensor]:
    """Prompts of one picture each, all of the same length."""
    picture = [IMAGE] * network.config.image_sequence_length
    generator = torch.Generator().manual_seed(0)
    views = (3,) if network.config.multi_image else ()
    ids = [[1, 5 + row, *picture, 11, 12 + row, 13] for row in range(rows)]
    return {
        "input_ids": torch.tensor(ids),
        "pixel_values": torch.randn(rows, *views, 3, 28, 28, generator=generator),
    }


def with_mask(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """With the places of the pictures, as our processors name them."""
    return batch | {"image_mask": batch["input_ids"] == IMAGE}


def padded(batch: dict[str, torch.Tensor], left: int, right: int) -> dict[str, torch.Tensor]:
    """The same rows with padding around them."""
    sizes = {"input_ids": 0, "attention_mask": 0}
    tensors = batch | {"attention_mask": torch.ones_like(batch["input_ids"])}
    return batch | {name: torch.nn.functional.pad(tensors[name], (left, right), value=v) for name, v in sizes.items()}


class TestDecoder:
    @torch.no_grad()
    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    def test_grouped_queries_equal_repeated_keys_and_values(self, attention):
        grouped = small_network(attention, num_key_value_heads=2)
        state = grouped.state_dict()
        for name, value in state.items():
            if ".k_proj." in name or ".v_proj." in name:
                state[name] = value.view(2, 4, 16).repeat_interleave(2, dim=0).flatten(0, 1)  # 2 heads of 4 channels
        whole = small_network(attention)
        whole.load_state_dict(state)
        batch = inputs(grouped)
        torch.testing.assert_close(grouped(**batch).logits, whole(**batch).logits, rtol=0, atol=1e-5)

    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    @pytest.mark.parametrize("heads", [1, 2])
    def test_grouped_queries_generate_with_and_without_cache(self, attention, heads):
        network = small_network(attention, num_key_value_heads=heads, eos_token_id=None)
        batch = padded(inputs(network), left=3, right=0)
        options = {"max_new_tokens": 12, "do_sample": False, "return_dict_in_generate": True, "output_logits": True}
        cached = network.generate(**batch, **options)
        whole = network.generate(**batch, **options, use_cache=False)
        assert cached.sequences.shape == (2, batch["input_ids"].shape[1] + 12)
        assert torch.equal(cached.sequences, whole.sequences)
        torch.testing.assert_close(torch.stack(cached.logits), torch.stack(whole.logits), rtol=0, atol=1e-5)

    @torch.no_grad()
    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    @pytest.mark.parametrize(("left", "right"), [(4, 0), (0, 4), (2, 3)])
    def test_padding_changes_nothing(self, attention, left, right):
        network = small_network(attention)
        batch = inputs(network)
        plain = network(**batch).logits
        length = plain.shape[1]
        found = network(**padded(batch, left, right)).logits[:, left : left + length]
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_a_row_alone_equals_the_row_in_a_batch(self):
        network = small_network()
        batch = inputs(network, rows=3)
        logits = network(**batch).logits
        for row in range(3):
            alone = network(input_ids=batch["input_ids"][[row]], pixel_values=batch["pixel_values"][[row]]).logits
            torch.testing.assert_close(alone[0], logits[row], rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_pictures_go_to_their_rows_in_order(self):
        """One row with two pictures, one without, one with one."""
        network = small_network()
        picture = [IMAGE] * network.config.image_sequence_length
        pixel_values = inputs(network, rows=3)["pixel_values"]
        rows = [[1, *picture, 7, *picture, 8], [1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9], [1, 5, 6, *picture, 7, 8, 9, 10]]
        joined = network(input_ids=torch.tensor(rows), pixel_values=pixel_values).logits
        for row, pictures in enumerate([[0, 1], [], [2]]):
            pixels = pixel_values[pictures] if pictures else None
            alone = network(input_ids=torch.tensor(rows[row : row + 1]), pixel_values=pixels).logits
            torch.testing.assert_close(alone[0], joined[row], rtol=0, atol=1e-5)

    @torch.no_grad()
    def test_attention_is_causal_over_the_merged_sequence(self):
        network = small_network()
        batch = inputs(network)
        logits = network(**batch).logits
        first_picture = 2
        other = network(input_ids=batch["input_ids"], pixel_values=batch["pixel_values"] + 1).logits
        assert torch.equal(other[:, :first_picture], logits[:, :first_picture])
        assert (other[:, first_picture:] - logits[:, first_picture:]).abs().amax(-1).min() > 1e-3

    @torch.no_grad()
    @pytest.mark.parametrize("masked", [False, True])
    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    def test_continuing_from_a_cache_by_hand(self, attention, masked):
        """Without position_ids, the continuation counts on from what the cache (or the mask) holds."""
        network = small_network(attention)
        batch = inputs(network)
        batch = padded(batch, left=2, right=0) if masked else batch
        mask = batch.get("attention_mask")
        expected = network(**batch).logits[:, -2:]
        first = batch | {"input_ids": batch["input_ids"][:, :-2]}
        if masked:
            first["attention_mask"] = mask[:, :-2]
        cache = network(**first, use_cache=True).past_key_values
        rest = network(input_ids=batch["input_ids"][:, -2:], attention_mask=mask, past_key_values=cache).logits
        torch.testing.assert_close(rest, expected, rtol=0, atol=1e-5)

    def test_modality_split(self):
        mask = torch.tensor([[False, True, True], [True, False, False]])
        split = ModalitySplit.from_mask(mask, 3)
        assert (split.text.tolist(), split.image.tolist()) == ([0, 4, 5], [1, 2, 3])
        assert torch.cat([split.text, split.image])[split.restore].tolist() == list(range(6))


class TestSeveralContinuations:
    """transformers repeats the inputs for each continuation: a prompt's pictures must stay with it."""

    @pytest.mark.parametrize("pictures", [1, 2])
    def test_of_prompts_with_pictures(self, pictures):
        network = small_network(eos_token_id=None)
        picture = [IMAGE] * network.config.image_sequence_length
        ids = torch.tensor([[1, *picture * pictures, 7], [1, *picture * pictures, 9]])
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "max_new_tokens": 8}
        batch["pixel_values"] = inputs(network, rows=2 * pictures)["pixel_values"]
        greedy = network.generate(**batch, do_sample=False)
        drawn = network.generate(**batch, do_sample=True, top_k=1, num_return_sequences=2)
        assert torch.equal(drawn, greedy.repeat_interleave(2, dim=0))


class TestForward:
    @torch.no_grad()
    def test_logits_to_keep(self):
        network = small_network()
        batch = inputs(network)
        logits = network(**batch).logits
        assert torch.equal(network(**batch, logits_to_keep=2).logits, logits[:, -2:])
        kept = torch.tensor([0, 3])
        assert torch.equal(network(**batch, logits_to_keep=kept).logits, logits[:, kept])

    @torch.no_grad()
    def test_labels_give_the_mean_loss_of_the_next_token(self):
        network = small_network()
        batch = inputs(network)
        labels = batch["input_ids"].clone()
        labels[:, :-2] = -100
        outputs = network(**batch, labels=labels)
        probs = outputs.logits[:, -3:-1].log_softmax(-1)
        expected = -probs.gather(-1, batch["input_ids"][:, -2:, None]).mean()
        assert outputs.loss.item() == pytest.approx(expected.item(), rel=1e-6)

    @torch.no_grad()
    def test_text_only(self):
        network = small_network()
        ids = torch.tensor([[1, 5, 6, 7]])
        logits = network(input_ids=ids).logits
        embedded = network(inputs_embeds=network.get_input_embeddings()(ids)).logits
        assert torch.equal(logits, embedded)
        assert network.generate(input_ids=ids, max_new_tokens=3, min_new_tokens=3, do_sample=False).shape == (1, 7)

    @pytest.mark.parametrize("change", [-1, 1])
    def test_wrong_number_of_image_positions(self, change):
        network = small_network()
        batch = inputs(network)
        row = [1, *[IMAGE] * (2 * network.config.image_sequence_length + change), 7]
        with pytest.raises(ValueError, match=f"hold {8 + change} image positions, but 2 pictures need 8, 4 each"):
            network(input_ids=torch.tensor([row]), pixel_values=batch["pixel_values"])

    def test_pictures_that_are_missing(self):
        """For ids or what is made of them; a picture's id that is a word of the vocabulary is one."""
        network = small_network()
        batch = inputs(network)
        with pytest.raises(ValueError, match="hold pictures, but there are no pixel_values"):
            network(input_ids=batch["input_ids"])
        embeddings = network.get_input_embeddings()(batch["input_ids"])
        assert network(inputs_embeds=embeddings).logits.isnan().any()
        word = small_network(image_token_index=39)
        assert word(input_ids=batch["input_ids"].abs().clamp(max=39)).logits.isfinite().all()

    def test_inputs_that_contradict(self):
        network = small_network()
        batch = inputs(network)
        embeddings = torch.zeros(1, 3, 16)
        with pytest.raises(ValueError, match="either input_ids or inputs_embeds"):
            network(input_ids=batch["input_ids"], inputs_embeds=embeddings)
        with pytest.raises(ValueError, match="hold 0 image positions, but 2 pictures need 8"):
            network(pixel_values=batch["pixel_values"], inputs_embeds=embeddings)

    def test_pictures_of_another_size(self):
        network = small_network()
        with pytest.raises(ValueError, match=r"\(2, 3, 42, 42\) give 10 tokens"):
            network.get_image_features(torch.zeros(2, 3, 42, 42))

    @torch.no_grad()
    def test_hidden_states_and_attentions_on_request(self):
        network = small_network("eager")
        batch = inputs(network)
        plain = network(**batch)
        assert plain.hidden_states is None and plain.attentions is None
        outputs = network(**batch, output_hidden_states=True, output_attentions=True)
        assert len(outputs.hidden_states) == 3 and len(outputs.attentions) == 2
        torch.testing.assert_close(outputs.attentions[0].sum(-1), torch.ones(2, 4, 9))


PACKAGES = [Path(package.__file__).parent for package in (artquant, transformers)]


class HostReads(TorchDispatchMode):
    """Where a forward asks the device for a value (on a GPU: waits for it), as the innermost Python file."""

    OPERATIONS = ("_local_scalar_dense", "nonzero", "item", "is_nonzero", "equal", "masked_select")

    def __init__(self):
        super().__init__()
        self.files: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name.removeprefix("aten::")
        indices = args[1] if name in ("index", "index_put", "index_put_") else ()
        by_mask = any(index is not None and index.dtype == torch.bool for index in indices)
        if name in self.OPERATIONS or by_mask:
            stack = [Path(frame.filename) for frame in traceback.extract_stack()]
            named = [file for file in stack if any(file.is_relative_to(folder) for folder in PACKAGES)]
            self.files.append((named or stack)[-1].name)
        return function(*args, **(kwargs or {}))


class TestNoHostReads:
    """In the forward of what our processors make, nothing waits for the device."""

    @torch.no_grad()
    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    @pytest.mark.parametrize("variant", VARIANTS)
    @pytest.mark.parametrize("use_cache", [True, False])
    def test_without_attention_mask(self, attention, variant, use_cache):
        network = small_network(attention, **VARIANTS[variant])
        with HostReads() as reads:
            network(**with_mask(inputs(network)), use_cache=use_cache, logits_to_keep=1)
        assert reads.files == []

    @torch.no_grad()
    @pytest.mark.parametrize("attention", ["eager", "sdpa"])
    @pytest.mark.parametrize("right", [0, 2])
    def test_with_attention_mask(self, attention, right):
        """transformers itself reads the mask for `sdpa`, to leave it out where it hides nothing; we read nothing."""
        network = small_network(attention)
        batch = with_mask(padded(inputs(network), left=0, right=right))
        around, positions = scoring_network(network), torch.tensor([3, 9])
        with HostReads() as reads:
            around(positions, positions, positions[:1], **batch)
        assert set(reads.files) <= ({"masking_utils.py"} if attention == "sdpa" else set())

    def test_reads_would_be_found(self):
        numbers = torch.arange(3)
        with HostReads() as reads:
            numbers.max().item(), numbers.nonzero(), numbers[numbers > 1], bool((numbers > 1).any())
        assert len(reads.files) == 4


PARTS = {  # the layers of each part, and a module in each layer whose runs are counted
    "vision": (VisionEncoderLayer, VisionAttention),
    "abstractor": (AbstractorLayer, CrossAttention),
    "decoder": (MPLUGOwl2DecoderLayer, MPLUGOwl2Attention),
}


class TestActivationCheckpointing:
    def run(self, network: MPLUGOwl2LlamaForCausalLM) -> tuple[float, dict[str, torch.Tensor], dict[str, int]]:
        """Loss, gradients and how often each part's layers ran in a forward and backward pass."""
        calls, handles = dict.fromkeys(PARTS, 0), []

        def count(part):
            calls[part] += 1

        for part, (_, kind) in PARTS.items():
            for module in network.modules():
                if isinstance(module, kind):
                    handles.append(module.register_forward_pre_hook(lambda *_, part=part: count(part)))
        batch = inputs(network)
        labels = batch["input_ids"].masked_fill(batch["input_ids"] == IMAGE, -100)
        network.train().zero_grad()
        loss = network(**batch, labels=labels, use_cache=False).loss
        loss.backward()
        for handle in handles:
            handle.remove()
        return loss.item(), {name: value.grad for name, value in network.named_parameters()}, calls

    @pytest.mark.parametrize("variant", VARIANTS)
    def test_on_and_off_are_equal(self, variant, monkeypatch):
        monkeypatch.setattr("transformers.utils.generic.logger.warning_once", pytest.fail)  # of a cache beside it
        network = small_network(**VARIANTS[variant])
        loss, gradients, calls = self.run(network)
        network.gradient_checkpointing_enable()
        checkpointed_loss, checkpointed, checkpointed_calls = self.run(network)
        network.gradient_checkpointing_disable()
        assert self.run(network)[2] == calls
        assert checkpointed_calls == {part: 2 * count for part, count in calls.items()}
        assert checkpointed_loss == pytest.approx(loss, rel=1e-6)
        for name, gradient in gradients.items():
            torch.testing.assert_close(checkpointed[name], gradient, rtol=1e-5, atol=1e-7, msg=name)

    @pytest.mark.parametrize("part", PARTS)
    def test_each_part_by_itself(self, part):
        network = small_network()
        for module in network.modules():
            if isinstance(module, PARTS[part][0]):
                module.gradient_checkpointing = True
                module._gradient_checkpointing_func = functools.partial(checkpoint, use_reentrant=False)
        _, _, calls = self.run(network)
        assert calls == {name: 4 if name == part else 2 for name in PARTS}


def test_every_parameter_and_buffer_is_initialised():
    config = small_network().config
    torch.manual_seed(0)
    state = MPLUGOwl2LlamaForCausalLM(config).state_dict()
    for name, value in state.items():
        assert value.isfinite().all(), name
        zero = name.endswith(".bias")
        assert bool((value == 0).all()) == zero, name
        if value.ndim > 1 and "pos_embed" not in name:
            assert 0.5 * config.initializer_range < value.std() < 1.5 * config.initializer_range, name


def test_position_tables():
    table = sine_cosine_table(np.arange(3), 4)
    angles = np.array([[0, 0], [1, 0.01], [2, 0.02]])
    np.testing.assert_allclose(table, np.concatenate([np.sin(angles), np.cos(angles)], axis=1), rtol=1e-12)
    grid = grid_table(2, 8)
    assert grid.shape == (5, 8) and not grid[0].any()
    columns, rows = sine_cosine_table(np.array([0, 1, 0, 1]), 4), sine_cosine_table(np.array([0, 0, 1, 1]), 4)
    np.testing.assert_array_equal(grid[1:], np.concatenate([columns, rows], axis=1))


@pytest.mark.parametrize(
    ("part", "values", "message"),
    [
        ("visual_abstractor", {"grid_size": 31}, "31 and width 1024.* 32 and 1024"),
        ("visual_model", {"hidden_size": 512}, "32 and width 1024.* 32 and 512"),
        ("visual_abstractor", {"hidden_size": 512}, "must equal its encoder_hidden_size"),
    ],
)
def test_configuration_that_does_not_fit_together(part, values, message):
    with pytest.raises(ValueError, match=message):
        MPLUGOwl2Config(visual_config={part: values})


def test_multi_image_end_to_end(tmp_path):
    """Picture files' sizes to scores: three views, three encoders, three abstractors."""
    network = load_network(ModelFolder.open(write_base(tmp_path / "base", multi_image=True)), Loading())
    processor = network.processor
    draw = np.random.default_rng(0)
    pictures = [Image.fromarray(draw.integers(0, 256, (h, w, 3), np.uint8)) for h, w in ((40, 64), (70, 33))]
    texts = ["USER: <|image|>\nRate it. ASSISTANT:", "USER: <|image|>\nRate this. ASSISTANT:"]
    batch = processor(pictures, texts, padding=True, return_tensors="pt")
    assert batch["pixel_values"].shape == (2, 3, 3, 28, 28)
    assert (batch["input_ids"] == IMAGE).sum(1).tolist() == [12, 12]
    with torch.no_grad():
        logits = network.model(**batch, logits_to_keep=1).logits
        for view in range(3):  # each view has its part in the result
            changed = batch["pixel_values"].clone()
            changed[:, view] = 0
            other = network.model(**{**batch, "pixel_values": changed}, logits_to_keep=1).logits
            assert (other - logits).abs().amax(dim=(1, 2)).min() > 1e-3
        features = network.model.get_image_features(batch["pixel_values"]).pooler_output
        seen = network.model.model.vision_model["low"](batch["pixel_values"][:, 0]).last_hidden_state
        low = network.model.model.visual_abstractor["low"](seen)
    assert torch.equal(features[:, :4], low)
