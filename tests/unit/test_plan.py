"""Memory plans: exact counts, how they move with the settings, advice, messages, and a step that was measured."""

import gc
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from artquant.cli import main
from artquant.config.load import load_config
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE
from artquant.models.mplug_owl2.tiny import network_config
from artquant.models.mplug_owl2.tiny_settings import DemoModelConfig
from artquant.plan.advice import advise
from artquant.plan.live_memory import LiveMemory
from artquant.plan.network import build_skeleton, materialise, read_shape
from artquant.plan.report import assumption_lines
from artquant.plan.sizes import GIB, parse_memory, shown
from artquant.plan.stage import Assumptions, plan_stage
from artquant.plan.zero import read_zero
from artquant.readouts import readout_of
from artquant.train.objective import Objective

REPOSITORY = Path(__file__).resolve().parents[2]
DEEPSPEED = REPOSITORY / "configs" / "deepspeed"
MODEL = {
    "vocabulary_size": 1000,
    "image_size": 56,
    "patch_size": 14,
    "max_positions": 256,
    "vision": {"hidden": 64, "layers": 1, "heads": 4, "mlp": 128},
    "abstractor": {"hidden": 64, "layers": 1, "heads": 4, "mlp": 128, "queries": 4},
    "text": {"hidden": 128, "layers": 2, "heads": 4, "key_value_heads": 4, "mlp": 344},
}
RATING_WORDS = readout_of({}, APDD_SCALE)
WEIGHT_PARTS = ("frozen weights", "trainable weights", "optimizer states", "gradients")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A small base model of which only the shape is there; what one test has simulated with it, the others need not."""
    folder = tmp_path_factory.mktemp("base")
    (folder / "model.yaml").write_text(yaml.safe_dump(MODEL | {"texts": ["none.json"]}))
    shape = network_config(load_config(folder / "model.yaml", (), DemoModelConfig))
    (folder / "config.json").write_text(shape.to_json_string())
    return folder


@pytest.fixture
def file(base, tmp_path) -> Path:
    """A run over it."""
    run = {
        "run": "run",
        "base": str(base),
        "stages": [
            {"name": "scores", "data": [{"records": "r.json", "images": "."}], "max_length": 128, "batch_size": 8}
            | {"trainable": {"lora": {"r": 8}}}
        ],
        "infer": {"records": "r.json"},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    return tmp_path / "run.yaml"


def plan(file: Path, *overrides: str, memory: int = GIB, **assumptions):
    """The plan of the run's only stage."""
    config = load_config(file, overrides)
    settings = {"gpus": 1, "device": "cpu"} | assumptions
    return plan_stage(config, config.stages[0], Assumptions(memory=memory, **settings))


def zero(stage: int) -> str:
    return f"stages.0.deepspeed={DEEPSPEED}/zero{stage}.json"


def states(found) -> int:
    """Weights, gradients and optimizer states at the peak."""
    return sum(found.needs.get(name, 0) for name in WEIGHT_PARTS)


def test_parameters_of_the_published_model_are_exact():
    config = load_config(REPOSITORY / "configs" / "apdd" / "apdd.yaml")
    shape = read_shape(Path("no such folder"))
    assert shape.published and shape.config.hidden_size == 4096
    network = build_skeleton(shape, config.model, config.stages[0].trainable, RATING_WORDS, deepspeed=True)
    trainable = sum(value.numel() for value in network.parameters() if value.requires_grad)
    assert trainable == 67_108_864 + 385_439_744
    assert {value.dtype for value in network.parameters()} == {torch.bfloat16}


def test_names_and_shapes_of_the_published_model(shared_folder):
    config = load_config(REPOSITORY / "configs" / "apdd" / "apdd.yaml")
    whole = replace(config.stages[0].trainable, lora=None)
    network = build_skeleton(read_shape(Path("no such folder")), config.model, whole, RATING_WORDS, deepspeed=True)
    published = json.loads((shared_folder / "reference" / "state_dict_7b.json").read_text())
    assert {name: list(value.shape) for name, value in network.plain.state_dict().items()} == published


def test_weights_are_counted_in_their_formats(file):
    whole = plan(file, "stages.0.trainable={lora: null, decoder: true}")
    trainable, parameters = whole.parameters
    assert whole.needs["trainable weights"] == 4 * trainable
    assert whole.needs["optimizer states"] == 8 * trainable
    assert trainable == parameters
    assert whole.needs["frozen weights"] < 2**17  # the abstractor's position tables, which are buffers

    mixed = plan(file, "model.dtype=bfloat16")
    trainable, parameters = mixed.parameters
    assert mixed.needs["trainable weights"] == 4 * trainable  # float32 beside a frozen bfloat16 base
    assert mixed.needs["optimizer states"] == 8 * trainable
    assert mixed.needs["frozen weights"] >= 2 * (parameters - trainable)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_larger_batch_never_needs_less(file, dtype):
    needed = [plan(file, f"model.dtype={dtype}", f"stages.0.batch_size={size}").tensors for size in (1, 2, 4, 8)]
    assert needed == sorted(needed) and needed[0] < needed[-1]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_longer_samples_never_need_less(file, dtype):
    settings = (f"model.dtype={dtype}", "stages.0.max_length=256")
    needed = [plan(file, *settings, length=length).tensors for length in (50, 100, 200)]
    assert needed == sorted(needed) and needed[0] < needed[-1]


@pytest.mark.parametrize("deepspeed", ["stages.0.deepspeed=null", zero(2)])
def test_checkpointing_never_needs_more(file, deepspeed):
    kept = plan(file, deepspeed)
    recomputed = plan(file, deepspeed, "model.gradient_checkpointing=true")
    assert recomputed.needs["activations"] < kept.needs["activations"]
    assert recomputed.tensors <= kept.tensors


def test_each_zero_stage_cuts_up_more(file):
    """Weights, gradients and optimizer states; buckets and gathered weights are other parts."""
    whole, first, second, third = (plan(file, zero(stage), "model.dtype=bfloat16", gpus=4) for stage in range(4))
    assert states(whole) > states(first) >= states(second) > states(third)
    alone = plan(file, zero(2), "model.dtype=bfloat16", gpus=1)
    assert alone.needs["optimizer states"] == pytest.approx(4 * second.needs["optimizer states"], rel=0.01)


def test_offload_moves_states_to_main_memory(file):
    here = plan(file, zero(2), gpus=2)
    away = plan(file, f"stages.0.deepspeed={DEEPSPEED}/zero2_offload.json", gpus=2)
    assert not here.host and "optimizer states" not in away.needs
    assert away.host["optimizer states"] == here.needs["optimizer states"]


def test_mixed_precision_on_a_gpu_keeps_layer_norms_in_float32(file):
    settings = ("model.dtype=bfloat16", "model.gradient_checkpointing=true")
    on_cpu, on_gpu = (plan(file, *settings, device=device) for device in ("cpu", "cuda"))
    assert on_gpu.peaks["forward"] >= on_cpu.peaks["forward"]
    assert on_gpu.parameters == on_cpu.parameters


def test_eager_attention_needs_more(file):
    assert plan(file, "model.attention=eager").tensors > plan(file).tensors


@pytest.mark.parametrize(
    "overrides", [(), ("model.attention=eager",), ("stages.0.deepspeed=" + str(DEEPSPEED / "zero1.json"),)]
)
def test_suggestions_fit_when_they_are_planned(file, overrides):
    config = load_config(file, overrides)
    total = plan_stage(config, config.stages[0], Assumptions(2, GIB)).total
    assumptions = Assumptions(2, total - 2**20)
    advised = advise(config, config.stages[0], assumptions)
    assert not advised.fits and advised.suggestions
    for suggestion in advised.suggestions:
        changed = load_config(file, [*overrides, *suggestion.settings])
        again = plan_stage(changed, changed.stages[0], assumptions)
        assert again.fits
        assert (again.total, again.margin) == (suggestion.total, suggestion.margin)


def test_the_largest_batch_fits_and_one_more_does_not(file):
    config = load_config(file)
    assumptions = Assumptions(1, int(1.05 * GIB))
    largest = advise(config, config.stages[0], assumptions).largest_batch
    fits = {
        size: plan_stage(config, replace(config.stages[0], batch_size=size), assumptions).fits
        for size in (largest, largest + 1)
    }
    assert largest >= 8 and fits == {largest: True, largest + 1: False}


def test_pairs_stay_together(file):
    config = load_config(file, ["stages.0.pairs=true"])
    [stage] = config.stages
    size = advise(config, stage, Assumptions(1, int(1.05 * GIB))).largest_batch
    fits = {
        batch: plan_stage(config, replace(stage, batch_size=batch), Assumptions(1, int(1.05 * GIB))).fits
        for batch in (size, size + 2)
    }
    assert size % 2 == 0 and fits == {size: True, size + 2: False}
    nothing = advise(config, replace(stage, batch_size=2), Assumptions(1, 2**20))
    assert not nothing.fits and not nothing.suggestions


def test_a_lower_rank_is_proposed_where_it_helps(file):
    overrides = ["stages.0.trainable.lora.r=1024", "stages.0.trainable.lora.alpha=2048.0", "stages.0.batch_size=1"]
    config = load_config(file, overrides)
    assumptions = Assumptions(1, plan_stage(config, config.stages[0], Assumptions(1, GIB)).total - 2**20)
    proposed = [
        one for one in advise(config, config.stages[0], assumptions).suggestions if "lora.r=" in one.settings[0]
    ]
    assert proposed[0].settings == ("stages.scores.trainable.lora.r=512", "stages.scores.trainable.lora.alpha=1024.0")
    changed = load_config(file, [*overrides, *proposed[0].settings])
    assert plan_stage(changed, changed.stages[0], assumptions).total == proposed[0].total <= assumptions.memory


def test_all_micro_batches_of_a_step_are_there(file):
    one, four = (plan(file, f"stages.0.accumulation={count}") for count in (1, 4))
    assert four.needs["batch"] == 4 * one.needs["batch"] > 0
    pictures = 8 * 3 * MODEL["image_size"] ** 2 * 4
    assert one.needs["batch"] > pictures


def test_samples_are_no_longer_than_allowed(file):
    assert plan(file, length=5000).batch.length == 128  # this stage's max_length; another stage may allow more


@pytest.mark.parametrize(("kind", "share"), [("nf4", 0.5), ("int8", 1.0)])
def test_quantised_weights(file, kind, share):
    """Only the decoder's frozen linear layers shrink; the constants add 1 to 2 % of the widths of real models."""
    whole, narrow = plan(file, "model.dtype=bfloat16"), plan(file, "model.dtype=bfloat16", f"model.quantize={kind}")
    text = MODEL["text"]
    linear = text["layers"] * (6 * text["hidden"] ** 2 + 3 * text["hidden"] * text["mlp"])
    saved = whole.needs["frozen weights"] - narrow.needs["frozen weights"]
    assert narrow.parameters == whole.parameters
    assert saved == pytest.approx((2 - share) * linear, rel=0.05)


def test_deepspeed_file_with_automatic_sizes():
    settings = read_zero(DEEPSPEED / "zero3.json", hidden_size=4096)
    assert (settings.stage, settings.reduce_bucket, settings.persistence_threshold) == (3, 4096**2, 40960)
    assert read_zero(DEEPSPEED / "zero1.json", 4096).buckets == 2


@pytest.mark.parametrize(("text", "size"), [("24GiB", 24 * GIB), ("80 GB", 80 * 10**9), ("1.5gib", 3 * GIB // 2)])
def test_amounts(text, size):
    assert parse_memory(text) == size


@pytest.mark.parametrize("text", ["24", "24 apples", "GiB", "-1GiB", "0GiB", "nanGiB", ""])
def test_amounts_that_are_none(text):
    with pytest.raises(ArtQuantError, match="--memory"):
        parse_memory(text)


def test_amounts_as_text():
    assert (shown(3 * GIB // 2), shown(2**20)) == ("1.50 GiB", "1.0 MiB")


def artquant(capsys, *arguments) -> tuple[int, str, str]:
    """Exit status and what is printed."""
    status = main([str(argument) for argument in arguments])
    printed = capsys.readouterr()
    return status, printed.out, printed.err


def test_command(file, capsys):
    status, printed, _ = artquant(capsys, "plan", "--config", file, "--memory", "8GiB", "stages.0.batch_size=200")
    assert status == 0
    assert "fits" in printed and "GPU context (allowance)" in printed and "7B" not in printed
    status, printed, _ = artquant(capsys, "plan", "--config", file, "--memory", "800GiB")
    assert status == 0 and "largest batch_size that fits: 256 or more" in printed
    status, printed, _ = artquant(capsys, "plan", "--config", file, "--memory", "100MiB")
    assert status == 1 and "does not fit" in printed and "no single change" in printed


def test_command_as_json(file, capsys):
    status, printed, _ = artquant(capsys, "plan", "--config", file, "--memory", "1GiB", "--gpus", "2", "--json")
    values = json.loads(printed)
    [stage] = values["stages"]
    assert status == (0 if values["fits"] else 1)
    assert stage["total"] == sum(stage["needs"].values()) and stage["margin"] == GIB - stage["total"]
    assert stage["stage"] == "scores" and values["gpus"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--memory", "24GX"], "--memory '24GX'"),
        (["--memory", "1GiB", "--length", "5"], "do not hold a picture's 5"),
        (["--memory", "1GiB", "--length", "5000"], "max_length, 128"),
        (["--memory", "1GiB", "--learned", "500"], "--learned 500"),
        (["--memory", "1GiB", "--stage", "none"], "no stage 'none'"),
        (["--memory", "1GiB", "stages.0.deepspeed=missing.json"], "missing.json"),
    ],
)
def test_command_with_bad_input(file, capsys, arguments, message):
    status, _, error = artquant(capsys, "plan", "--config", file, *arguments)
    assert status == 2 and message in error and error.count("\n") == 1


def test_a_base_folder_without_a_configuration(file, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    status, _, error = artquant(capsys, "plan", "--config", file, "--memory", "1GiB", f"base={tmp_path / 'empty'}")
    assert status == 2 and "no config.json" in error


def test_a_plan_says_that_its_shape_is_the_published_one(file):
    found = plan(file)
    assumptions = Assumptions(1, GIB)
    assert not any("7B" in line for line in assumption_lines(found, assumptions))
    assert any("7B" in line for line in assumption_lines(replace(found, published_shape=True), assumptions))


@pytest.mark.parametrize("overrides", [(), ("model.gradient_checkpointing=true",), ("model.dtype=bfloat16",)])
def test_a_step_that_was_measured(file, overrides):
    """The same step with numbers: the real network, loss and optimizer; every live tensor is counted."""
    config = load_config(file, overrides)
    [stage] = config.stages
    planned = plan(file, *overrides, "stages.0.accumulation=1", length=100, learned=50)
    shape = read_shape(config.base)
    network = build_skeleton(shape, config.model, stage.trainable, RATING_WORDS, deepspeed=False)
    materialise(network)
    for value in (*network.parameters(), *network.buffers()):
        torch.nn.init.normal_(value.detach(), std=0.02)
    objective = Objective(replace(RATING_WORDS, token_ids=tuple(range(RATING_WORDS.width))), stage.loss)
    example = planned.batch
    batch = example.batch(shape.family.example(shape.folder, shape.config, example.size, example.length).inputs)
    batch.inputs["attention_mask"][0, -1] = 0
    tensors = (*batch.inputs.values(), *vars(batch.text).values(), *vars(batch.scored).values())
    optimizer = torch.optim.AdamW([value for value in network.parameters() if value.requires_grad], fused=True)
    with LiveMemory() as memory:
        for value in (*network.parameters(), *network.buffers(), *filter(torch.is_tensor, tensors)):
            memory.count(value)
        for step in range(2):
            with memory.during(f"step {step}", "all"):
                with torch.autocast("cpu", torch.bfloat16, enabled=config.model.dtype == "bfloat16"):
                    loss = objective.total(objective.sums(network, batch))
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
    assert planned.tensors == pytest.approx(memory.peaks["step 1"].total, rel=0.1)


def test_live_memory_counts_a_storage_once_and_only_while_it_is_there():
    with LiveMemory() as memory:
        first = torch.zeros(1000)
        view = first.view(10, 100)
        assert memory.total == 4000
        second = first + 1
        assert memory.total == 8000
        del second
        gc.collect()
        assert memory.total == 4000
        del first, view
        gc.collect()
        assert memory.total == 0
    assert memory.peaks["start"].total == 8000
