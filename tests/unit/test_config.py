"""Typed configuration: what YAML and overrides become, and that every mistake names file and key."""

import dataclasses
import typing
from pathlib import Path
from typing import Literal, get_type_hints

import pytest
import yaml
from configured import DEMO, RUN, refused, written

from artquant.config import schema
from artquant.config.load import load_config, resolve, save_config
from artquant.config.schema import DataConfig, LoraConfig, LossConfig, OptimizerConfig, RunConfig, StageConfig
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE
from artquant.models.mplug_owl2.tiny_settings import DemoModelConfig
from artquant.readouts import readout_of

CONFIGS = [
    value
    for value in vars(schema).values()
    if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == schema.__name__
]


@dataclasses.dataclass(frozen=True)
class Part:
    """One entry of a list."""

    size: int
    name: str = "part"


@dataclasses.dataclass(frozen=True)
class Everything:
    """A field of each kind that the loader knows."""

    text: str = "a"
    whole: int = 1
    number: float = 1.0
    flag: bool = False
    path: Path = Path("p")
    choice: Literal["one", "two", 3] = "one"
    maybe: int | None = None
    old_style: typing.Optional[float] = None  # noqa: UP045 - must be read too
    texts: list[str] = dataclasses.field(default_factory=list)
    pair: tuple[float, int] = (1.0, 1)
    parts: tuple[Part, ...] = ()
    table: dict[str, float] = dataclasses.field(default_factory=dict)
    one_or_more: str | tuple[str, ...] = "a"
    part: Part | None = None

    def __post_init__(self) -> None:
        if self.whole == 13:
            raise ArtQuantError("13 is taken")


@pytest.fixture
def run_file(tmp_path):
    return written(tmp_path, RUN)


def test_a_whole_run(run_file):
    config = load_config(run_file)
    assert config.run == "demo" and config.base == Path("ModelZoo/base") and config.output == Path("runs")
    assert config.levels.weights == (10.0, 7.5, 5.0, 3.5, 1.0)
    first, second = config.stages
    assert first.data[1] == DataConfig(Path("level_2.json"), Path("images"), 0.5)
    assert (first.order, second.order) == ("in_order", "mixed")
    assert first.trainable.lora == LoraConfig() and first.loss == LossConfig()
    assert second.optimizer == OptimizerConfig(learning_rate=1e-4, betas=(0.9, 0.95))
    assert second.trainable.lora.target_modules == ("q_proj", "v_proj")


def test_published_defaults():
    """ArtQuant's hyper-parameters."""
    stage = StageConfig(name="scores", data=(DataConfig(Path("a"), Path("b")),))
    assert (stage.epochs, stage.batch_size, stage.accumulation, stage.max_length) == (3.0, 4, 4, 2048)
    assert (stage.optimizer.learning_rate, stage.optimizer.warmup_fraction) == (2e-5, 0.03)
    assert (stage.loss.description, stage.loss.score_text, stage.loss.score) == (1.0, 0.05, {})
    assert readout_of({}, APDD_SCALE).loss_weights["score_distribution"] == 0.05
    assert (stage.trainable.lora.r, stage.trainable.lora.alpha, stage.trainable.lora.dropout) == (128, 256.0, 0.05)
    assert stage.trainable.parts() == ("vision", "projector")


@pytest.mark.parametrize(("text", "kind"), [(RUN, RunConfig), (DEMO, DemoModelConfig)])
def test_round_trip(tmp_path, text, kind):
    config = load_config(written(tmp_path, text), schema=kind)
    save_config(config, tmp_path / "saved" / "config.yaml")
    again = load_config(tmp_path / "saved" / "config.yaml", schema=kind)
    assert again == config and type(again) is kind
    assert yaml.safe_load((tmp_path / "saved" / "config.yaml").read_text()) == resolve(config)


def test_round_trip_of_every_kind(tmp_path):
    config = Everything(
        text="1e-4",
        number=1e-7,
        choice=3,
        old_style=2e300,
        texts=["yes", "ü", "a: b"],
        pair=(0.1, 2),
        parts=(Part(1), Part(2, "2026-11-20")),
        table={"yes": 1.0, "é": 2.5},
        one_or_more=("a", "b"),
        part=Part(3),
    )
    save_config(config, tmp_path / "a.yaml")
    assert load_config(tmp_path / "a.yaml", schema=Everything) == config


@pytest.mark.parametrize(
    ("override", "field", "expected"),
    [
        ("number=1e-4", "number", 1e-4),
        ("number=-2.5E+3", "number", -2500.0),
        ("number=3", "number", 3.0),
        ("whole=-7", "whole", -7),
        ("flag=true", "flag", True),
        ("path=a/b.json", "path", Path("a/b.json")),
        ("path=~", "path", None),
        ("choice=3", "choice", 3),
        ("maybe=null", "maybe", None),
        ("maybe=", "maybe", None),
        ("maybe=4", "maybe", 4),
        ("old_style=1e3", "old_style", 1000.0),
        ("texts=[a, b]", "texts", ["a", "b"]),
        ("pair=[1e-3, 2]", "pair", (0.001, 2)),
        ("parts=[{size: 1}, {size: 2, name: b}]", "parts", (Part(1), Part(2, "b"))),
        ("table={a: 1, b: 1e-2}", "table", {"a": 1.0, "b": 0.01}),
        ("one_or_more=a", "one_or_more", "a"),
        ("one_or_more=[a, b]", "one_or_more", ("a", "b")),
        ("part.size=5", "part", Part(5)),
        ("text='12'", "text", "12"),
        ("text=a=b", "text", "a=b"),
        ("text=1e-4", "text", "1e-4"),
    ],
)
def test_values_of_every_kind(tmp_path, override, field, expected):
    path = written(tmp_path, "")
    if expected is None and field == "path":  # ~ alone is YAML's null
        assert "path: expected text, got nothing" in refused(path, [override], Everything)
        return
    config = load_config(path, [override], schema=Everything)
    value = getattr(config, field)
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("text=12", "text: expected text, got 12; put it in quotes"),
        ("text=yes", "text: expected text, got true; put it in quotes"),
        ("text=2026-11-20", "text: expected text, got 2026-11-20; put it in quotes"),
        ("text=[a]", "text: expected text, got a list"),
        ("text=null", "text: expected text, got nothing"),
        ("whole=1.0", "whole: expected a whole number, got 1.0"),
        ("whole=true", "whole: expected a whole number, got true"),
        ("whole='1'", "whole: expected a whole number, got '1'"),
        ("number=fast", "number: expected a number, got 'fast'"),
        ("number='0.5'", "number: expected a number, got '0.5'"),
        ("number=true", "number: expected a number, got true"),
        ("number=.nan", "number: expected a finite number, got nan"),
        ("number=.inf", "number: expected a finite number, got inf"),
        ("number=1e999", "number: expected a finite number"),
        ("flag=1", "flag: expected true or false, got 1"),
        ("flag='true'", "flag: expected true or false, got 'true'"),
        ("path=3", "path: expected text, got 3; put it in quotes"),
        ("path=''", "path: expected a path, got ''"),
        ("choice=onne", "choice: expected one or two or 3, got 'onne'; did you mean one?"),
        ("choice=true", "choice: expected one or two or 3, got true"),
        ("maybe=a", "maybe: expected a whole number, got 'a'"),
        ("texts=a", "texts: expected a list, got 'a'"),
        ("texts=[a, 1]", "texts.1: expected text, got 1"),
        ("pair=[1]", "pair: expected a list of 2, got 1 entries"),
        ("pair=[1, a]", "pair.1: expected a whole number"),
        ("parts=[{size: 1}, {sise: 2}]", "parts.1.sise: no such key; did you mean size?"),
        ("parts=[{size: 1}, {}]", "parts.1.size: is missing"),
        ("parts={size: 1}", "parts: expected a list, got keys and values"),
        ("table=[1]", "table: expected keys and values, got a list"),
        ("table={1: 2}", "table.1: the key must be text"),
        ("table={a: b}", "table.a: expected a number, got 'b'"),
        ("one_or_more=[a, 1]", "one_or_more.1: expected text, got 1"),
        ("one_or_more=1", "one_or_more: expected text, got 1"),
        ("part=5", "part: expected keys and values, got 5"),
        ("whole=13", "13 is taken"),
    ],
)
def test_wrong_values_name_key_file_and_override(tmp_path, override, message):
    path = written(tmp_path, "")
    assert message in refused(path, [override], Everything)
    key, _, value = override.partition("=")
    path = written(tmp_path, f"{key}: {value}\n")
    assert refused(path, schema=Everything).startswith(f"{path}: {message}")


def test_which_override_is_named(tmp_path):
    path = written(tmp_path, "whole: a\n")
    message = refused(path, ["part={}", "part.size=a", "number=1", "whole=1"], Everything)
    assert message.startswith(f"override 'part.size=a' of {path}: part.size: expected a whole number")
    assert refused(path, ["number=1"], Everything).startswith(f"{path}: whole: ")


def test_overrides_go_where_they_say(run_file):
    config = load_config(
        run_file,
        [
            "seed=7",
            "stages.1.optimizer.learning_rate=1e-5",
            "stages.scores.epochs=1",
            "stages.0.data.1.weight=2",
            "stages.0.trainable.lora=null",
            "evaluate.bootstrap=10",
            "run='007'",
        ],
    )
    first, second = config.stages
    assert (config.seed, config.run, config.evaluate.bootstrap) == (7, "007", 10)
    assert second.optimizer == OptimizerConfig(learning_rate=1e-5, betas=(0.9, 0.95)) and second.epochs == 1.0
    assert [data.weight for data in first.data] == [1.0, 2.0] and first.trainable.lora is None


def test_the_last_override_wins(run_file):
    assert load_config(run_file, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "write it as dotted.key=value"),
        ("=1", "write it as dotted.key=value"),
        ("stages..epochs=1", "write it as dotted.key=value"),
        ("stages.2.epochs=1", "stages has no entry '2'; use one of 0, 1, descriptions, scores"),
        ("stages.score.epochs=1", "stages has no entry 'score'"),
        ("stages.-1.epochs=1", "stages has no entry '-1'"),
        ("run.name=a", "run is 'demo' and has no key 'name'"),
        ("seed=[1", "the value is not YAML"),
        ("sed=1", "sed: no such key; did you mean seed?"),
        ("stages.scores.optimiser.betas=[0, 0]", "stages.1.optimiser: no such key; did you mean optimizer?"),
        ("model.atention=eager", "model.atention: no such key; did you mean attention?"),
        ("model.attention=flash", "model.attention: expected eager or sdpa or flash_attention_2, got 'flash'"),
    ],
)
def test_wrong_overrides(run_file, override, message):
    error = refused(run_file, [override])
    assert message in error and f"override {override!r}" in error


def test_an_override_of_an_alias_changes_one_place(tmp_path):
    path = written(tmp_path, "parts: [&a {size: 1}, *a]\n")
    assert load_config(path, ["parts.1.size=2"], schema=Everything).parts == (Part(1), Part(2))


def test_merge_keys_are_read(tmp_path):
    path = written(tmp_path, "parts: [&a {size: 1}, &b {<<: *a, size: 2}, {<<: *b, name: c}]\n")
    assert load_config(path, schema=Everything).parts == (Part(1), Part(2), Part(2, "c"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run: demo\nbase: [a\nseed: 1\n", " line 3: not usable YAML"),
        ("run: demo\n\tbase: a\n", " line 2: not usable YAML"),
        ("seed: 1\nrun: demo\nseed: 2\n", " line 3: not usable YAML: key seed is there twice"),
        ("model:\n  dtype: float32\n  dtype: bfloat16\n", " line 3: not usable YAML: key dtype is there twice"),
        ("a: 1\n--- \nb: 2\n", " line 2: not usable YAML"),
        ("a: 1\nb: *c\n", " line 2: not usable YAML: found undefined alias"),
        ("run: !!python/object:os.system a\n", " line 1: not usable YAML"),
        ("run: 2026-13-45\n", ": not usable YAML: month must be in 1..12"),
        ("a: 1\nb: \x07\n", " line 2: not usable YAML: character #x0007"),
        ("a: &a [*a]\n", " line 1: not usable YAML: an alias stands for itself"),
        ("- a\n", ": expected keys and values at the top, got a list"),
        ("a\n", ": expected keys and values at the top, got 'a'"),
        ("null\n", ": run: is missing"),
        ("", ": run: is missing"),
        ("# nothing but a comment\n", ": run: is missing"),
        ('"ru\\nn": a\n', ": ru n: no such key; did you mean run?"),
        ("1: a\n", ": 1: no such key; use one of run, base"),
    ],
)
def test_yaml_errors_name_file_and_line(tmp_path, text, message):
    path = written(tmp_path, text)
    assert refused(path).startswith(f"{path}{message}")


def test_files_that_cannot_be_read(tmp_path):
    assert "missing.yaml: cannot be read" in refused(tmp_path / "missing.yaml")
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"run: a\nbase: caf\xe9\n")
    assert refused(path).startswith(f"{path} line 2: not UTF-8")


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_a_typo_in_any_field_gets_a_suggestion(tmp_path, config):
    names = [field.name for field in dataclasses.fields(config)]
    assert names
    for name in names:
        typo = name[:-1] + "_" + name[-1]
        message = refused(written(tmp_path, f"{typo}: 1\n"), schema=config)
        assert message == f"{tmp_path / 'run.yaml'}: {typo}: no such key; did you mean {name}?"


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.__name__)
def test_a_wrong_type_in_any_field_is_refused(tmp_path, config):
    """No field takes a set of keys that it does not have; those with keys of any name take no list."""
    for name, kind in get_type_hints(config).items():
        value = "[1]" if typing.get_origin(kind) is dict else "{no_such_key: 1}"
        message = refused(written(tmp_path, f"{name}: {value}\n"), schema=config)
        required = [f.name for f in dataclasses.fields(config) if is_required(f) and f.name != name]
        assert any(f": {key}: is missing" in message for key in required) or f": {name}" in message


def is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def test_every_field_has_a_comment():
    text = Path(schema.__file__).read_text(encoding="utf-8").splitlines()
    for config in CONFIGS:
        assert config.__doc__ and not config.__doc__.startswith(config.__name__ + "(")
        start = next(number for number, line in enumerate(text) if line.startswith(f"class {config.__name__}"))
        for name in config.__annotations__:  # inherited ones have theirs where they are defined
            number = next(n for n in range(start, len(text)) if text[n].startswith(f"    {name}: "))
            assert "  # " in text[number] or text[number - 1].strip().startswith("# "), f"{config.__name__}.{name}"
