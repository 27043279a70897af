"""Which settings are refused, with file and key, and the keys that configurations were once written with."""

import dataclasses

import pytest
from configured import DEMO, RUN, refused, written

from artquant.config.load import load_config
from artquant.config.schema import LossConfig, OptimizerConfig, StageConfig, TrainableConfig
from artquant.models.mplug_owl2.tiny_settings import DemoModelConfig


@pytest.fixture
def run_file(tmp_path):
    return written(tmp_path, RUN)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("run=a/b", "run: names a folder"),
        ("run='..'", "run: names a folder"),
        ("run=''", "run: names a folder"),
        ("seed=-1", "seed: must be from 0"),
        ("prompt=' '", "prompt: is empty"),
        ("subject=''", "subject: is empty"),
        ("levels.words=[good]", "levels.words: at least two rating words"),
        ("levels.words=[a, b, c, d, '']", "levels.words: a rating word is empty"),
        ("levels.words=[a, b, c, d, a]", "levels.words: a rating word is listed twice"),
        ("levels.weights=[5, 4, 3, 2]", "levels.weights: 4 weights for 5 rating words"),
        ("levels.weights=[1, 2, 3, 4, 5]", "levels.weights: must fall"),
        ("stages.0.name=a/b", "stages.0.name: names a folder"),
        ("stages.1.name=descriptions", "stages.1.name: 'descriptions' is used twice"),
        ("stages.1.data=[]", "stages.1.data: name at least one set"),
        ("stages.1.data.0.weight=0", "stages.1.data.0.weight: must be above 0"),
        ("stages.1.epochs=0", "stages.1.epochs: must be above 0"),
        ("stages.1.optimizer.learning_rate=1e300", "learning_rate: must be above 0 and at most 1e+09"),
        ("stages.1.max_steps=0", "stages.1.max_steps: must be -1 or above 0"),
        ("stages.1.batch_size=0", "stages.1.batch_size: must be at least 1"),
        ("stages.1.accumulation=0", "stages.1.accumulation: must be at least 1"),
        ("stages.1.max_length=0", "stages.1.max_length: must be at least 1"),
        ("stages.1.save_steps=0", "stages.1.save_steps: must be at least 1"),
        ("stages.1.save_total=0", "stages.1.save_total: must be at least 1"),
        ("stages.1.log_steps=0", "stages.1.log_steps: must be at least 1"),
        ("stages.1.workers=-1", "stages.1.workers: must be at least 0"),
        ("stages.0.group_by_length=true", "stages.0.group_by_length: would break up order: in_order"),
        ("stages.1.trainable.decoder=true", "stages.1.trainable.decoder: cannot be trained whole and with lora"),
        (
            "stages.1.trainable={lora: null, vision: false, projector: false}",
            "stages.1.trainable: nothing is trainable",
        ),
        ("stages.1.trainable.lora.r=0", "stages.1.trainable.lora.r: must be at least 1"),
        ("stages.1.trainable.lora.alpha=0", "stages.1.trainable.lora.alpha: must be above 0"),
        ("stages.1.trainable.lora.dropout=1", "stages.1.trainable.lora.dropout: must be 0 or more and below 1"),
        ("stages.1.trainable.lora.target_modules=[]", "target_modules: name at least one module"),
        ("stages.1.trainable.lora.target_modules='('", "target_modules: not a regular expression"),
        ("stages.1.loss.score_text=-1", "stages.1.loss.score_text: must be 0 or more"),
        ("stages.1.loss.score.in_level=-1", "stages.1.loss.score.in_level: must be 0 or more"),
        ("stages.1.loss.score={in_level: a}", "stages.1.loss.score.in_level: expected a number"),
        (
            "stages.1.loss={description: 0, score_text: 0, score: {score_distribution: 0}}",
            "stages.1.loss: all loss weights are 0",
        ),
        ("stages.1.optimizer.learning_rate=0", "stages.1.optimizer.learning_rate: must be above 0"),
        ("stages.1.optimizer.vision_learning_rate=-1", "stages.1.optimizer.vision_learning_rate: must be above 0"),
        ("stages.1.optimizer.max_grad_norm=0", "stages.1.optimizer.max_grad_norm: must be above 0"),
        ("stages.1.optimizer.weight_decay=-1", "stages.1.optimizer.weight_decay: must be 0 or more"),
        ("stages.1.optimizer.betas=[0.9, 1]", "stages.1.optimizer.betas: each must be"),
        ("stages.1.optimizer.warmup_fraction=1", "stages.1.optimizer.warmup_fraction: must be 0 or more and below 1"),
        ("infer.batch_size=0", "infer.batch_size: must be at least 1"),
        ("infer.workers=-1", "infer.workers: must be at least 0"),
        ("infer.device=gpu", "infer.device: must be auto, cpu, cuda"),
        ("evaluate.bootstrap=-1", "evaluate.bootstrap: must be at least 0"),
    ],
)
def test_checks_of_a_run(run_file, override, message):
    error = refused(run_file, [override])
    assert message in error and str(run_file) in error


def test_rates_of_frozen_parts_are_refused(run_file):
    for part in ("vision", "projector"):
        overrides = [f"stages.1.trainable.{part}=false", f"stages.1.optimizer.{part}_learning_rate=1e-6"]
        assert f"stages.1.optimizer.{part}_learning_rate: has no effect: {part} is not" in refused(run_file, overrides)
        assert load_config(run_file, overrides[1:]).stages[1].optimizer.learning_rate == 1e-4
    for part in ("decoder", "head"):  # frozen if nothing is said
        override = f"stages.1.optimizer.{part}_learning_rate=1e-6"
        assert f"{part}_learning_rate: has no effect: {part} is not trainable" in refused(run_file, [override])
    whole = ["stages.1.trainable={lora: null, decoder: true}", "stages.1.optimizer.head_learning_rate=1e-6"]
    assert load_config(run_file, whole).stages[1].trainable.parts() == ("vision", "projector", "decoder", "head")
    without = ["stages.1.trainable.lora=null", "stages.1.optimizer.adapter_learning_rate=1e-6"]
    assert "adapter_learning_rate: has no effect" in refused(run_file, without)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("texts=[]", "texts: name at least one file"),
        ("image_size=100", "image_size: must be a multiple of patch_size (14)"),
        ("patch_size=0", "patch_size: must be at least 1"),
        ("vocabulary_size=10", "vocabulary_size: must be at least 300"),
        ("max_positions=17", "max_positions: must exceed the 17 image tokens"),
        ("vision.heads=3", "vision.heads: must divide hidden (128), got 3"),
        ("vision.layers=0", "vision.layers: must be at least 1"),
        ("abstractor.hidden=64", "abstractor.hidden: must equal vision.hidden (128)"),
        ("abstractor={hidden: 6, heads: 2}", "abstractor.hidden: must be a multiple of 4"),
        ("abstractor.queries=0", "abstractor.queries: must be at least 1"),
        ("text.key_value_heads=3", "text.key_value_heads: must divide heads (4), got 3"),
        ("text={hidden: 12, heads: 4}", "text.heads: hidden / heads must be even"),
        ("dtype=float16", "dtype: expected float32 or bfloat16"),
    ],
)
def test_checks_of_a_demo_model(tmp_path, override, message):
    path = written(tmp_path, DEMO)
    assert message in refused(path, [override], DemoModelConfig)


def test_scales_of_a_demo_model(tmp_path):
    path = written(tmp_path, DEMO)
    both = ["multi_scale=true", "multi_image=true"]
    assert "multi_image: not together with multi_scale" in refused(path, both, DemoModelConfig)
    assert "exceed the 51 image tokens" in refused(path, ["multi_scale=true", "max_positions=51"], DemoModelConfig)
    assert load_config(path, both[1:], schema=DemoModelConfig).multi_image


class TestFormerKeys:
    """Files from before still work, and mean what they meant."""

    def stage(self, run_file, *overrides: str) -> StageConfig:
        return load_config(run_file, [f"stages.1.{override}" for override in overrides]).stages[1]

    def test_names_of_parts(self, run_file):
        found = self.stage(run_file, "trainable={vision_encoder: false, abstractor: true}")
        assert found.trainable == TrainableConfig(vision=False, projector=True)
        found = self.stage(run_file, "optimizer={abstractor_learning_rate: 1e-6}")
        assert found.optimizer == OptimizerConfig(projector_learning_rate=1e-6)

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ("{}", {}),
            ("{closed_set: false}", {}),
            ("{score_distribution: 0.5}", {"score_distribution": 0.5}),
            ("{in_level: 0.3}", {"in_level": 0.3}),
            ("{closed_set: true}", {"score_distribution": 0.0, "closed_distribution": 0.05}),
            (
                "{closed_set: true, score_distribution: 0.5, in_level: 0.3}",
                {"score_distribution": 0.0, "closed_distribution": 0.5, "in_level": 0.3},
            ),
            ("{in_level: 0.3, score: {score_distribution: 1}}", {"in_level": 0.3, "score_distribution": 1.0}),
        ],
    )
    def test_terms_of_the_rating_words(self, run_file, values, expected):
        assert self.stage(run_file, f"loss={values}").loss == LossConfig(score=expected)

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            (
                "trainable={vision_encoder: true, vision: true}",
                "trainable.vision_encoder: is vision by its former name",
            ),
            (
                "optimizer={abstractor_learning_rate: 1, projector_learning_rate: 1}",
                "abstractor_learning_rate: is proj",
            ),
            ("loss={in_level: 1, score: {in_level: 2}}", "loss.in_level: says what score.in_level says, and both are"),
            ("loss={closed_set: true, score: {closed_distribution: 1}}", "loss.closed_set: says what score.closed_dis"),
            ("loss={closed_set: 1}", "loss.closed_set: expected true or false, got 1"),
            ("loss={score_distribution: a}", "loss.score.score_distribution: expected a number, got 'a'"),
            ("loss={in_level: 1, score: 5}", "loss.score: expected keys and values, got 5"),
            ("trainable.vision_encoder=5", "trainable.vision: expected true or false, got 5"),
        ],
    )
    def test_that_contradict_or_are_wrong(self, run_file, override, message):
        assert message in refused(run_file, [f"stages.1.{override}"])


def test_configurations_are_frozen(run_file):
    config = load_config(run_file)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 1
    assert hash(config) == hash(load_config(run_file))
