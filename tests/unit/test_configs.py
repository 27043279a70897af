"""Every file under configs/: it loads, says how it is run, and the DeepSpeed files are what their names say."""

import json
import re
import shlex
from pathlib import Path

import pytest

from artquant import __version__
from artquant.cli.parser import build_parser
from artquant.config.load import load_config
from artquant.config.schema import RunConfig
from artquant.models.auto.tiny_settings import TinySettings
from artquant.models.mplug_owl2.tiny_settings import DemoModelConfig
from artquant.rad.settings import RadConfig
from artquant.readouts.value_tokens import WORDS
from artquant.texts.prompt import PROMPTS

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "configs"
YAMLS = sorted(CONFIGS.rglob("*.y*ml"))
JSONS = sorted(CONFIGS.rglob("*.json"))
SCHEMAS = {
    "demo/model.yaml": DemoModelConfig,
    "demo/internvl_model.yaml": TinySettings,
    "demo/internvl_values_model.yaml": TinySettings,
    "demo/rad.yaml": RadConfig,
    "rad/endpoint.yaml": RadConfig,
}  # all others are runs


def name_of(path: Path) -> str:
    return path.relative_to(CONFIGS).as_posix()


def load(path: Path):
    return load_config(path, (), SCHEMAS.get(name_of(path), RunConfig))


def test_count():
    """A new file has to be thought of here: its schema above, its row in the table of configs/README.md."""
    assert [name_of(path) for path in YAMLS] == [
        "apdd/apdd.yaml",
        "apdd/joint.yaml",
        "apdd/score_published.yaml",
        "artimuse/artimuse-10k.yaml",
        "artimuse/ava.yaml",
        "artimuse/flickr-aes.yaml",
        "artimuse/para.yaml",
        "artimuse/tad66k.yaml",
        "demo/base.yaml",
        "demo/demo.yaml",
        "demo/internvl.yaml",
        "demo/internvl_model.yaml",
        "demo/internvl_values_model.yaml",
        "demo/model.yaml",
        "demo/pairs.yaml",
        "demo/rad.yaml",
        "demo/values.yaml",
        "rad/endpoint.yaml",
        "roc4mllm/llava.yaml",
        "roc4mllm/paper.yaml",
        "roc4mllm/qwen2_vl.yaml",
        "roc4mllm/script.yaml",
    ]
    assert len(JSONS) == 6
    table = (CONFIGS / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name_of(path)}`" in table for path in YAMLS)


@pytest.mark.parametrize("path", YAMLS, ids=name_of)
def test_yaml_loads(path, monkeypatch):
    config = load(path)
    if isinstance(config, RunConfig):
        assert config.prompt in PROMPTS
        monkeypatch.chdir(REPOSITORY)  # paths are relative to it
        files = [stage.deepspeed for stage in config.stages if stage.deepspeed is not None]
        assert all(file.is_file() for file in files)


def test_words_of_the_value_readout():
    assert load(CONFIGS / "demo" / "internvl_values_model.yaml").words == WORDS


@pytest.mark.parametrize("path", YAMLS, ids=name_of)
def test_yaml_opens_with_the_command_that_runs_it(path):
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ")
    parser = build_parser(__version__)
    for command in first[2:].split(" && "):
        words = shlex.split(command)
        assert f"configs/{name_of(path)}" in words
        if words[0] == "sh":
            assert words[1] in ("train.sh", "infer.sh", "eval.sh")
            assert (REPOSITORY / words[1]).is_file()
        else:
            assert words[0] == "artquant"
            assert parser.parse_args(words[1:]).config == Path("configs") / name_of(path)


def test_runs_have_names_of_their_own():
    names = [load(path).run for path in YAMLS if name_of(path) not in SCHEMAS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("path", JSONS, ids=name_of)
def test_deepspeed_stage_as_named(path):
    config = json.loads(path.read_text(encoding="utf-8"))
    stage, offload = re.fullmatch(r"deepspeed/zero([0-3])(_offload)?\.json", name_of(path)).groups()
    zero = config["zero_optimization"]
    assert zero["stage"] == int(stage)
    assert ("offload_optimizer" in zero) == bool(offload)
    assert ("offload_param" in zero) == (bool(offload) and stage == "3")
    # Without it a ZeRO-3 run could not write its model.
    assert zero.get("stage3_gather_16bit_weights_on_model_save", False) == (stage == "3")
    # The trainer's optimizer, with a learning rate for each part, must be the one that is used.
    assert "optimizer" not in config and "scheduler" not in config


@pytest.mark.parametrize("path", JSONS, ids=name_of)
def test_deepspeed_file_is_taken_by_trainer_and_deepspeed(path, tmp_path):
    """Every "auto" is filled in, and DeepSpeed knows every ZeRO setting."""
    zero_config = pytest.importorskip("deepspeed.runtime.zero.config")
    from transformers import PreTrainedConfig, TrainingArguments
    from transformers.integrations.deepspeed import HfTrainerDeepSpeedConfig, unset_hf_deepspeed_config

    arguments = TrainingArguments(output_dir=str(tmp_path), bf16=True, use_cpu=True, gradient_accumulation_steps=4)
    try:
        config = HfTrainerDeepSpeedConfig(str(path))
        config.trainer_config_process(arguments)

        class Model:
            config = PreTrainedConfig(hidden_size=64)

        config.trainer_config_finalize(arguments, Model(), num_training_steps=10)
    finally:
        unset_hf_deepspeed_config()
    filled = config.config
    assert '"auto"' not in json.dumps(filled)
    assert filled["bf16"]["enabled"] is True and filled["gradient_accumulation_steps"] == 4
    zero = zero_config.DeepSpeedZeroConfig(**filled["zero_optimization"])
    assert not zero.model_extra
    assert int(zero.stage) == json.loads(path.read_text(encoding="utf-8"))["zero_optimization"]["stage"]
