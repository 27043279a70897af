"""Every family of networks with every readout, through the real command line: what is promised of one holds of each."""

import json
import re

import pytest
import yaml

from artquant.config.load import load_config
from artquant.models.auto.tiny_settings import TESTED
from artquant.models.families import FAMILIES
from artquant.plan.stage import Assumptions, plan_stage
from artquant.readouts import READOUTS
from artquant.train.interruption import StopRequest

HALF = {"hidden": 32, "layers": 2, "heads": 2, "mlp": 64}
SHAPE = {"vocabulary_size": 700, "image_size": 32, "patch_size": 8, "max_positions": 1024, "vision": HALF, "text": HALF}
EVERYTHING = {"lora": None, "vision": True, "projector": True, "decoder": True}
ADAPTERS = {"lora": {"r": 2, "alpha": 4.0, "dropout": 0.0}, "vision": False, "projector": True}
LOSS = {"score_text": 1.0}
LARGE = (
    "value_tokens"  # its words are no tokens of these small vocabularies; tests/parity has a network that knows them
)
# What no gradient reaches, by construction: of the vision encoder what lies behind the layer whose output is taken
# (LLaVA) or the pooled output, embeddings that a mask hides, and in mPLUG-Owl2 the position tables and one norm.
UNREACHED = {
    "llava": r"vision_tower\.(vision_model\.)?(encoder\.layers\.1\.|post_layernorm)",
    "mplug_owl2": r"[kq]_pos_embed|layers\.1\.post_attention_layernorm\.multiway\.1",
}


@pytest.fixture(scope="module")
def bases(lab, tmp_path_factory):
    """Gives a small base of a model type, made by the command; each is made once."""
    folder = tmp_path_factory.mktemp("bases")
    texts = [str(lab.records("descriptions_level_3")), str(lab.records("score"))]

    def base(kind):
        if kind == "mplug_owl2":
            return lab.base
        out = folder / kind
        if not out.exists():
            config = folder / f"{kind}.yaml"
            config.write_text(yaml.safe_dump({"texts": texts, "model_type": kind} | SHAPE), encoding="utf-8")
            assert lab.artquant("init-model", "--config", config, "--out", out) == 0
        return out

    return base


@pytest.fixture
def run(lab, bases, tmp_path, monkeypatch, kind, readout):
    """Trains two steps of both tasks; returns the run's folder."""

    def train(name, trainable, stop=False):
        stage = lab.stage(
            "scores",
            {"score": 1, "descriptions_level_1": 1},
            trainable=trainable,
            loss=LOSS,
            max_steps=2,
            batch_size=8,
            max_length=1024,
        )
        settings = {"base": str(bases(kind)), "readout": {"kind": readout}}
        config = lab.write(tmp_path / name, stage, **settings)
        if stop:
            with monkeypatch.context() as patch:
                patch.setattr(StopRequest, "__init__", asked_before)
                assert lab.artquant("train", "--config", config) == 143
        assert lab.artquant("train", "--config", config) == 0
        return tmp_path / name / "runs" / "run"

    return train


def asked_before(request):
    """A request to stop that has come before the first step."""
    request.received, request._before = True, None


def scores(lab, config, model, out):
    options = ("--model", model, "--out", out)
    assert lab.artquant("--quiet", "infer", "--config", config, *options, "infer.batch_size=8") == 0
    return {line["id"]: line["score"] for line in map(json.loads, out.read_text().splitlines())}


def unreached(name, kind):
    return kind in UNREACHED and re.search(UNREACHED[kind], name) is not None


@pytest.mark.parametrize("kind", ["mplug_owl2", *TESTED])
def test_words_that_small_tokenizers_lack(lab, bases, tmp_path, capsys, kind):
    """A readout over words that the base's tokenizer cuts into pieces is refused before anything is trained."""
    settings = {"base": str(bases(kind)), "readout": {"kind": LARGE}}
    config = lab.write(tmp_path, lab.stage("scores", {"score": 1}, max_length=1024), **settings)
    assert lab.artquant("train", "--config", config) == 2
    assert "of the 101 value words into pieces" in capsys.readouterr().err


@pytest.mark.parametrize("readout", [kind for kind in READOUTS if kind != LARGE])
@pytest.mark.parametrize("kind", ["mplug_owl2", *TESTED])
class TestEveryPair:
    def test_everything_trains_stops_and_goes_on(self, lab, run, bases, kind, readout):
        whole, stopped = run("whole", EVERYTHING), run("stopped", EVERYTHING, stop=True)
        assert [line["step"] for line in lab.history(stopped, "scores")] == [1, 2]
        assert lab.same_weights(whole, stopped)
        base = lab.network(bases(kind))
        before = base.state_dict()
        after = lab.network(whole / "scores" / "model").state_dict()
        assert before.keys() == after.keys()
        same = {name for name, value in before.items() if value.equal(after[name])}
        assert same == {name for name, _ in base.named_buffers() if name in before} | {
            name for name, _ in base.named_parameters() if unreached(name, kind)
        }

    def test_adapters_score_export_plan_and_check(self, lab, run, bases, tmp_path, kind, readout):
        folder = run("lora", ADAPTERS)
        config, model = tmp_path / "lora" / "run.yaml", folder / "scores" / "model"
        base, merged = lab.network(bases(kind)), lab.network(model).state_dict()
        parts, before = FAMILIES[kind].parts(base), base.state_dict()
        trainable = {name for name, _ in base.named_parameters()}
        targets = re.compile(FAMILIES[kind].lora_targets(parts))
        for name, value in before.items():
            part, grown = parts.of(name), merged[name][: len(value)] if value.ndim else merged[name]
            adapted = targets.fullmatch(name.rpartition(".")[0]) is not None and name.endswith("weight")
            trains = adapted or (part == "projector" and name in trainable and not unreached(name, kind))
            assert value.equal(grown) != trains, name
        found = scores(lab, config, model, tmp_path / "predictions.jsonl")
        assert lab.artquant("export", model, "--to", "merged", "--out", tmp_path / "merged") == 0
        again = scores(lab, config, tmp_path / "merged", tmp_path / "again.jsonl")
        assert again == pytest.approx(found, abs=1e-5) and len(found) == 8
        assert (
            lab.artquant(
                "eval",
                "--config",
                config,
                "--predictions",
                tmp_path / "again.jsonl",
                "--no-plot",
                "--truth",
                lab.records("test"),
                "--bootstrap",
                0,
            )
            == 0
        )
        config_read = load_config(config)
        plan = plan_stage(config_read, config_read.stages[0], Assumptions(gpus=1, memory=4 << 30))
        assert plan.fits and plan.needs["activations"] > 0 and not plan.published_shape
        assert lab.artquant("check", config, "--no-pictures") == 0


def test_two_ranks_with_parameters_that_nothing_depends_on(lab, bases, tmp_path):
    """LLaVA takes the output of a layer before its vision encoder's last."""
    stage = lab.stage("scores", {"score": 1}, trainable=EVERYTHING, max_steps=2, batch_size=4, max_length=1024)
    config = lab.write(tmp_path, stage, base=str(bases("llava")))
    done = lab.launch("train", "--config", config, "--launcher", "torchrun", "--ranks", 2)
    assert done.returncode == 0, done.stderr[-2000:]
    assert [line["step"] for line in lab.history(tmp_path / "runs" / "run", "scores")] == [1, 2]
