"""Which modules get adapters, by a regular expression or by names."""

import re

import pytest
from peft.tuners.lora import LoraLayer

from artquant.config.schema import Loading, LoraConfig, TrainableConfig
from artquant.errors import ArtQuantError
from artquant.models.model_folder import ModelFolder
from artquant.models.scoring_network import ScoringNetwork
from artquant.models.weights import load_network
from artquant.train.network import choose_parameters, with_new_adapter

pytestmark = pytest.mark.usefixtures("one_thread")

LAYERS = ("model.layers.0", "model.layers.1")


def everywhere(*names):
    return {f"{layer}.{name}" for layer in LAYERS for name in names}


def with_targets(base, targets):
    """The base with a fresh adapter over these modules, and which of its parameters are whose."""
    loaded = load_network(ModelFolder.open(base), Loading())
    parts = loaded.family.parts(loaded.model)
    lora = LoraConfig(r=2, target_modules=targets)
    return loaded.model, with_new_adapter(loaded.model, lora, loaded.family, parts), parts


def adapted(network):
    """Names of the modules that hold an adapter."""
    return {name for name, module in network.named_modules() if isinstance(module, LoraLayer)}


@pytest.mark.parametrize(
    ("targets", "expected"),
    [
        (None, everywhere("self_attn.q_proj", "self_attn.v_proj.multiway.1")),
        (r".*\.layers\.1\.self_attn\.o_proj", {"model.layers.1.self_attn.o_proj"}),
        (r".*\.mlp\.(gate|up|down)_proj", everywhere("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")),
        (r".*\.k_proj\.multiway\.[01]", everywhere("self_attn.k_proj.multiway.0", "self_attn.k_proj.multiway.1")),
        (("q_proj", "o_proj"), everywhere("self_attn.q_proj", "self_attn.o_proj")),
        (("v_proj.multiway.1",), everywhere("self_attn.v_proj.multiway.1")),
        (("model.layers.0.self_attn.q_proj",), {"model.layers.0.self_attn.q_proj"}),
    ],
    ids=["published", "layer", "mlp", "branches", "names", "branch", "one"],
)
def test_exactly_the_named_modules(tiny_base, targets, expected):
    network, wrapped, parts = with_targets(tiny_base, targets)
    assert adapted(network) == expected
    choose_parameters(ScoringNetwork(wrapped, parts), TrainableConfig(vision=False, projector=False))
    trains = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert trains == {f"{name}.lora_{half}.default.weight" for name in expected for half in "AB"}


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (r"self_attn\.q_proj", "no such module"),  # a regular expression has to match the whole name
        (("proj_q",), "'proj_q': no such module"),
        (("q_proj", "w_proj"), "'w_proj': no such module"),
        (r".*\.layers\.7\..*", "no such module"),
        (r".*\.(q_proj|v_proj)", "v_proj has a branch for text and one for pictures; name them (v_proj.multiway.0"),
        (("k_proj",), "layers.0.self_attn.k_proj has a branch for text"),
        (r".*\.self_attn", "model.layers.0.self_attn is no linear layer of the decoder"),
        (("lm_head",), "lm_head is no linear layer of the decoder"),
        (("dense",), "dense is no linear layer of the decoder"),  # in the vision encoder
        (r".*query_key_value", "query_key_value is no linear layer of the decoder"),
    ],
    ids=str,
)
def test_what_cannot_be_adapted_is_refused(tiny_base, targets, message):
    with pytest.raises(ArtQuantError, match=re.escape(message)) as error:
        with_targets(tiny_base, targets)
    assert str(error.value).startswith("lora.target_modules ") and "\n" not in str(error.value)
