"""The one forward: logits where they are wanted, scores in float32, parts by name, a readout's own head."""

import copy
import gc
import weakref

import pytest
import torch
from golden import scoring_network, small_network
from torch import nn

from artquant.config.schema import LoraConfig, TrainableConfig
from artquant.models.family import PARTS, Parts, bare_name
from artquant.models.mplug_owl2.family import MPLUGOwl2Family
from artquant.models.scoring_network import ScoringNetwork
from artquant.train.network import choose_parameters, recompute_activations, with_new_adapter

pytestmark = pytest.mark.usefixtures("one_thread")

FAMILY = MPLUGOwl2Family()
SCORES = torch.tensor([8, 15, 3])
TEXTS = torch.tensor([7, 0, 16, 7])
IDS = torch.tensor([11, 5, 39, 2])


def inputs() -> dict[str, torch.Tensor]:
    """Two rows of one picture each, the second with padding on its right."""
    ids = torch.tensor([[1, 5, *[-200] * 4, 11, 12, 13], [1, 6, *[-200] * 4, 14, 15, 0]])
    pixels = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": (ids != 0).long(), "pixel_values": pixels}


class TestForward:
    @torch.no_grad()
    def test_losses_logits_and_states_at_the_positions(self):
        network = small_network()
        found = scoring_network(network)(TEXTS, IDS, SCORES, **inputs())
        states = network.base_model(**inputs()).last_hidden_state.flatten(0, 1)
        logits = network(**inputs()).logits.flatten(0, 1)
        assert found.keys() == {"text_losses", "logits", "hidden"}
        torch.testing.assert_close(found["hidden"], states[SCORES], rtol=0, atol=1e-6)
        torch.testing.assert_close(found["logits"], logits[SCORES], rtol=0, atol=1e-6)
        losses = -logits[TEXTS].log_softmax(-1).gather(1, IDS[:, None])[:, 0]
        torch.testing.assert_close(found["text_losses"], losses, rtol=0, atol=1e-6)

    @torch.no_grad()
    @pytest.mark.parametrize("precise", [False, True])
    def test_no_positions(self, precise):
        around, nothing = scoring_network(small_network()), TEXTS[:0]
        if precise:
            around.precise()
        found = around(nothing, nothing, nothing, **inputs())
        assert found["text_losses"].shape == (0,)
        assert found["logits"].shape == (0, 40) and found["hidden"].shape == (0, 16)

    def test_seeing_is_without_gradients(self):
        seen = scoring_network(small_network()).see(inputs(), SCORES)
        assert not seen.logits.requires_grad and not seen.logits.is_inference() and seen.own is None

    @torch.no_grad()
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    @pytest.mark.parametrize("autocast", [False, True])
    def test_a_head_of_its_own_in_its_own_number_format(self, dtype, autocast):
        """DeepSpeed turns the head into the network's; autocast leaves it alone."""
        head = nn.Linear(16, 2).to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            seen = scoring_network(small_network(), head).see(inputs(), SCORES)
        assert seen.own.dtype == torch.float32
        assert torch.equal(seen.own, head(seen.hidden.to(dtype)).float())


class TestChunks:
    """Losses of texts whose logits are never all there at once."""

    @pytest.mark.parametrize("head", ["frozen", "trained", "tied", "rows that train"])
    @pytest.mark.parametrize("autocast", [False, True])
    def test_losses_and_gradients_are_those_of_all_at_once(self, monkeypatch, head, autocast):
        network = small_network()
        if head == "tied":
            network.lm_head.weight = network.model.embed_tokens.weight
        around = adapted(network) if head == "rows that train" else scoring_network(network)
        for name, value in around.named_parameters():
            value.requires_grad_("_tokens_" in name or "lora" in name or head != "rows that train")
        network.get_output_embeddings().requires_grad_(head in ("trained", "tied", "rows that train"))
        around.eval()  # adapters draw dropout
        weights = torch.tensor([1.0, 0.5, 0.0, -2.0])
        found, widest = {}, {}
        for limit in (1 << 24, 80, 40, 1):
            monkeypatch.setattr("artquant.models.text_losses.LOGITS", limit)
            rows = []
            hook = network.get_output_embeddings().register_forward_hook(lambda *call, to=rows: to.append(len(call[2])))
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                losses = around(TEXTS, IDS, SCORES[:1], **inputs())["text_losses"]
            (losses @ weights).backward()
            hook.remove()
            gradients = {name: value.grad for name, value in around.named_parameters() if value.grad is not None}
            around.zero_grad()
            found[limit], widest[limit] = (losses.detach(), gradients), max(rows)
        assert widest == {1 << 24: 4, 80: 2, 40: 1, 1: 1}
        room = {"rtol": 2e-2, "atol": 1e-2} if autocast else {"rtol": 1e-5, "atol": 1e-6}
        for limit in (80, 40, 1):
            torch.testing.assert_close(found[limit], found[1 << 24], **room)

    @torch.no_grad()
    def test_without_gradients(self, monkeypatch):
        around = scoring_network(small_network())
        whole = around(TEXTS, IDS, SCORES, **inputs())["text_losses"]
        monkeypatch.setattr("artquant.models.text_losses.LOGITS", 80)
        torch.testing.assert_close(around(TEXTS, IDS, SCORES, **inputs())["text_losses"], whole, rtol=1e-5, atol=1e-7)


class TestPrecision:
    """Scores are computed in float32 whatever the network's number format; texts are not."""

    @torch.no_grad()
    @pytest.mark.parametrize("autocast", [False, True])
    def test_scores_of_a_bfloat16_network(self, autocast):
        network = small_network().bfloat16()
        around = scoring_network(network)
        around.precise()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = around(TEXTS, IDS, SCORES, **inputs())
        states = network.base_model(**inputs() | {"pixel_values": inputs()["pixel_values"].bfloat16()})
        states = states.last_hidden_state.flatten(0, 1)
        assert found["logits"].dtype == found["hidden"].dtype == torch.float32
        logits = network.lm_head(states[TEXTS]).float()  # of texts in bfloat16
        assert torch.equal(found["text_losses"], torch.nn.functional.cross_entropy(logits, IDS, reduction="none"))
        assert torch.equal(found["logits"], states[SCORES].float() @ network.lm_head.weight.float().T)
        assert not torch.equal(found["logits"], found["logits"].bfloat16().float())

    @torch.no_grad()
    def test_precisely_restores(self):
        around = scoring_network(small_network().bfloat16())
        before = around.see(inputs(), SCORES).logits
        with around.precisely():
            assert around.see(inputs(), SCORES).logits.dtype == torch.float32
        assert torch.equal(around.see(inputs(), SCORES).logits, before) and before.dtype == torch.bfloat16
        with pytest.raises(KeyError), around.precisely():
            raise KeyError
        assert around.see(inputs(), SCORES).logits.dtype == torch.bfloat16
        around.precise()
        with around.precisely():
            pass
        assert around.see(inputs(), SCORES).logits.dtype == torch.float32

    @torch.no_grad()
    def test_the_head_as_it_is_now(self):
        """Not as it was at an earlier validation; and the copy is no part of the network."""
        around = scoring_network(small_network().bfloat16())
        names, parameters = list(around.state_dict()), len(list(around.parameters()))
        with around.precisely():
            first = around.see(inputs(), SCORES).logits
            assert list(around.state_dict()) == names and len(list(around.parameters())) == parameters
        around.plain.lm_head.weight.mul_(2)
        with around.precisely():
            assert torch.equal(around.see(inputs(), SCORES).logits, 2 * first)

    @torch.no_grad()
    def test_a_float32_network_needs_no_copy(self):
        around = scoring_network(small_network())
        plain = around.see(inputs(), SCORES).logits
        around.precise()
        torch.testing.assert_close(around.see(inputs(), SCORES).logits, plain, rtol=0, atol=1e-6)
        assert around._scoring_head[0] is around.plain.lm_head

    @torch.no_grad()
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_rows_that_train_beside_the_head(self, dtype):
        """What an adapter's new rows add is in the float32 head too."""
        around = adapted(small_network().to(dtype))
        rows = next(value for name, value in around.named_parameters() if "lm_head" in name and "_tokens_" in name)
        plain = around.see(inputs(), SCORES).logits.float()
        rows.add_(1.0)
        moved = around.see(inputs(), SCORES).logits.float()
        around.precise()
        precise = around.see(inputs(), SCORES).logits
        assert precise.dtype == torch.float32
        changed = (moved != plain).any(0).nonzero().flatten().tolist()
        assert changed == [38, 39]
        torch.testing.assert_close(precise, moved, rtol=2e-2, atol=2e-2)


def adapted(network: nn.Module, readout_head: nn.Module | None = None) -> ScoringNetwork:
    """With LoRA on the published layers, and two rows of the token table and the head that train."""
    parts = FAMILY.parts(network)
    rows = {"model.embed_tokens": [38, 39], "lm_head": [38, 39]}
    return ScoringNetwork(
        with_new_adapter(network, LoraConfig(r=2, alpha=4.0), FAMILY, parts, rows), parts, readout_head
    )


@pytest.mark.parametrize("recomputed", [False, True])
def test_frozen_parts_keep_nothing_for_the_backward_pass(recomputed):
    network = small_network()
    parts = FAMILY.parts(network)
    around = ScoringNetwork(with_new_adapter(network, LoraConfig(r=2, alpha=4.0), FAMILY, parts), parts)
    choose_parameters(around, TrainableConfig(vision=False, projector=False))
    if recomputed:
        recompute_activations(network)
    around.train()
    kept, embedded = weakref.WeakSet(), []

    class Kept:
        """A tensor, for as long as a backward pass may ask for it."""

        def __init__(self, value):
            self.value = value
            kept.add(self)

    with torch.autograd.graph.saved_tensors_hooks(Kept, lambda one: one.value):
        features = network.get_image_features(inputs()["pixel_values"]).pooler_output
    gc.collect()
    assert not kept and not features.requires_grad
    network.get_input_embeddings().register_forward_hook(lambda *call: embedded.append(call[2].requires_grad))
    around(TEXTS, IDS, SCORES, **inputs())["text_losses"].sum().backward()
    assert embedded == [False]
    moving = {name for name, value in around.named_parameters() if value.grad is not None}
    assert moving and all("lora" in name for name in moving)


class TestParts:
    PARTS = Parts(
        {"vision": ("model.tower",), "projector": ("model.tower.last",), "head": ("lm_head",)}, rest="decoder"
    )

    @pytest.mark.parametrize(
        ("name", "part"),
        [
            ("model.tower.layers.0.weight", "vision"),
            ("model.tower.last.weight", "projector"),  # of two that fit the longer counts
            ("model.tower.lastly.weight", "vision"),
            ("model.towers.weight", "decoder"),
            ("lm_head.weight", "head"),
            ("model.layers.0.q_proj.lora_A.default.weight", "adapters"),
            ("model.tower.layers.0.lora_B.default.weight", "adapters"),
            ("lm_head.token_adapter.trainable_tokens_delta.default", "new_rows"),
            ("readout_head.0.weight", "readout"),
            ("model.tower.layers.0.base_layer.weight", "vision"),
            ("lm_head.token_adapter.base_layer.weight", "head"),
            ("lm_head.original_module.weight", "head"),
        ],
    )
    @pytest.mark.parametrize("wrapping", ["", "network.", "base_model.model.", "network.base_model.model."])
    def test_of_a_name_inside_and_outside_of_wrappings(self, name, part, wrapping):
        assert self.PARTS.of(wrapping + name) == part

    def test_of_a_network_inside_an_adapter(self):
        """Every parameter is of the part that it was of; what was added is adapters, rows and the readout's head."""
        plain = small_network()
        names = dict(plain.named_parameters())
        parts = FAMILY.parts(plain)
        around = adapted(copy.deepcopy(plain), nn.Linear(16, 3))
        found = {part: set() for part in PARTS}
        for name, _ in around.named_parameters():
            found[around.parts.of(name)].add(bare_name(name))
        added = {part: found.pop(part) for part in ("adapters", "new_rows", "readout")}
        assert {name: part for part, inside in found.items() for name in inside} == {
            name: parts.of(name) for name in names
        }
        assert {len(added["adapters"]), len(added["new_rows"])} == {8, 2}  # two layers, queries and values: A and B
        assert added["readout"] == {"readout_head.weight", "readout_head.bias"}


class OwnHead(nn.Module):
    """Remembers what it gets."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 2)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        self.seen = hidden
        return self.linear(hidden)


class TestOwnHead:
    @pytest.mark.parametrize("precise", [False, True])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_reads_the_states_at_the_scores_in_float32(self, dtype, precise):
        head = OwnHead()
        around = scoring_network(small_network().to(dtype), head)
        if precise:
            around.precise()
        seen = around.see(inputs(), SCORES)
        assert torch.equal(head.seen, seen.hidden.float()) and head.seen.dtype == torch.float32
        assert torch.equal(seen.own, head.linear(head.seen)) and seen.own.shape == (3, 2)

    def test_is_a_part_that_always_trains(self):
        around = scoring_network(small_network(), OwnHead())
        choose_parameters(around, TrainableConfig(lora=None, vision=True, projector=False))
        trains = {around.parts.of(name) for name, value in around.named_parameters() if value.requires_grad}
        assert trains == {"vision", "readout"}
        assert {name for name in around.state_dict() if name.startswith("readout_head.")} == {
            *("readout_head.linear.weight", "readout_head.linear.bias")
        }
        around(TEXTS, IDS, SCORES, **inputs())["own"].sum().backward()
        assert around.readout_head.linear.weight.grad.any()
