"""Does a stage fit: its needs against the memory of a GPU."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache

from artquant.config.schema import ModelConfig, RunConfig, StageConfig, TrainableConfig
from artquant.errors import ArtQuantError
from artquant.plan.known_values import VALUES_ASKED
from artquant.plan.network import Shape, build_skeleton, parameter_counts, read_shape
from artquant.plan.simulate import ExampleShape, Setup, Simulation, simulate
from artquant.plan.sizes import GIB
from artquant.plan.zero import read_zero
from artquant.readouts import Readout, readout_of
from artquant.texts.prompt import Exchange, get_prompt
from artquant.train.objective import Objective

PROMPT_TOKENS = 40  # of a sample, beside its picture, that are read and not learned; published prompts have more
# Allowances, for what is no tensor: the driver's context with the libraries' kernels and workspaces, the channels of
# the communication library, and memory that the allocator holds in pieces that fit nothing.
CONTEXT = 3 * GIB // 4
CHANNELS = GIB // 4
FRAGMENTATION = 0.05  # of what comes and goes
RESIDENT = ("frozen weights", "trainable weights", "optimizer states")


@dataclass(frozen=True)
class Assumptions:
    """What is planned for. device: "cuda", or "cpu" where there is no driver to allow for.

    length: positions of the longest sample, as far as max_length allows it; None: max_length. learned: of its
    positions; None: all but the prompt.
    """

    gpus: int
    memory: int
    length: int | None = None
    learned: int | None = None
    device: str = "cuda"

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise ArtQuantError(f"--gpus must be at least 1, got {self.gpus}")
        for name, value in (("length", self.length), ("learned", self.learned)):
            if value is not None and value < 1:
                raise ArtQuantError(f"--{name} must be at least 1, got {value}")


@dataclass(frozen=True)
class StagePlan:
    """A stage's needs on each rank, in bytes.

    checkpointing: whether activations are recomputed. parameters: trainable and all. needs: live at the peak, by
    category, allowances included. peaks: of each phase, without allowances. host: in main memory, by category.
    largest_batch: that fits, looked for up to 256.
    """

    stage: str
    published_shape: bool
    checkpointing: bool
    parameters: tuple[int, int]
    batch: ExampleShape
    phase: str
    needs: dict[str, int]
    peaks: dict[str, int]
    host: dict[str, int]
    memory: int
    suggestions: tuple = field(default=())
    largest_batch: int | None = None

    @property
    def tensors(self) -> int:
        """Bytes of tensors at the peak, without allowances."""
        return max(self.peaks.values())

    @property
    def total(self) -> int:
        """All that is needed at the peak."""
        return sum(self.needs.values())

    @property
    def margin(self) -> int:
        """What is left; negative if it does not fit."""
        return self.memory - self.total

    @property
    def fits(self) -> bool:
        """Whether it fits."""
        return self.margin >= 0


def plan_stage(config: RunConfig, stage: StageConfig, assumptions: Assumptions) -> StagePlan:
    """The needs of one stage.

    Raises:
        ArtQuantError: a setting cannot be used, or the base model's or DeepSpeed's file not be read.
    """
    shape = read_shape(config.base, config.model.untested)
    readout = _readout(config)
    example = _example(shape, stage, assumptions, readout)
    hidden = shape.config.get_text_config().hidden_size
    zero = read_zero(stage.deepspeed, hidden) if stage.deepspeed else None
    autocast = config.model.dtype == "bfloat16" and zero is None
    setup = Setup(assumptions.gpus, stage.accumulation, autocast, zero, assumptions.device)
    case = _Case(shape, config.model, stage.trainable, example, Objective(readout, stage.loss), setup)
    parameters, simulation = _simulated(case)
    phase, peak = simulation.peak
    needs = dict(sorted(peak.by_category.items(), key=lambda entry: -entry[1]))
    if assumptions.device == "cuda":
        passing = peak.total - sum(peak.by_category[name] for name in RESIDENT)
        needs["fragmentation (allowance)"] = int(FRAGMENTATION * passing)
        needs["GPU context (allowance)"] = CONTEXT + (CHANNELS if assumptions.gpus > 1 else 0)
    return StagePlan(
        stage=stage.name,
        published_shape=shape.published,
        checkpointing=bool(config.model.gradient_checkpointing),
        parameters=parameters,
        batch=example,
        phase=phase,
        needs=needs,
        peaks={name: found.total for name, found in simulation.peaks.items()},
        host=dict(simulation.host),
        memory=assumptions.memory,
    )


@dataclass(frozen=True)
class _Case:
    """What a simulation depends on; the same for equal settings."""

    shape: Shape = field(hash=False)
    model: ModelConfig
    trainable: TrainableConfig
    example: ExampleShape
    objective: Objective = field(hash=False)
    setup: Setup


@lru_cache(maxsize=256)
def _simulated(case: _Case) -> tuple[tuple[int, int], Simulation]:
    """`simulate` once for each case."""
    shape, example = case.shape, case.example
    deepspeed = case.setup.zero is not None
    inputs = shape.family.example(shape.folder, shape.config, example.size, example.length).inputs

    def simulated(with_values: bool) -> tuple[tuple[int, int], Simulation]:
        network = build_skeleton(shape, case.model, case.trainable, case.objective.readout, deepspeed)
        counts = parameter_counts(network)
        return counts, simulate(network, example, inputs, case.objective, case.setup, with_values)

    try:
        return simulated(with_values=False)
    except VALUES_ASKED:  # networks with tiles or grids
        return simulated(with_values=True)


def _example(shape: Shape, stage: StageConfig, assumptions: Assumptions, readout: Readout) -> ExampleShape:
    length = min(assumptions.length or stage.max_length, stage.max_length)  # longer ones are refused in training
    image = shape.family.example(shape.folder, shape.config, 1, length).picture
    if length <= image:
        raise ArtQuantError(f"stage {stage.name}: {length} positions do not hold a picture's {image} and any text")
    learned = assumptions.learned or max(1, length - image - PROMPT_TOKENS)
    if learned >= length:
        raise ArtQuantError(f"--learned {learned}: must be below the sample's length, {length}")
    return ExampleShape(stage.batch_size, length, learned, readout.width)


def _readout(config: RunConfig) -> Readout:
    """With token ids that no tokenizer has given: the plan needs none."""
    prompt = get_prompt(config.prompt, config.subject)
    return readout_of(config.readout, config.levels.scale).bound(_AnyEncoder(), prompt)


class _AnyEncoder:
    """Every text is a row of tokens, a new one for each new word."""

    vocabulary_size = 1 << 30

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def conversation(self, exchange: Exchange) -> str:
        """The answer's words."""
        return exchange.answer

    def tokenize(self, text: str) -> list[int]:
        """A token for each word."""
        return [self.word_id(word) for word in text.split()]

    def word_id(self, word: str) -> int:
        """As in a text."""
        return self._ids.setdefault(word, len(self._ids))


def with_batch(stage: StageConfig, size: int, accumulation: int | None = None) -> StageConfig:
    """The stage with another batch size, and another accumulation if given."""
    return replace(stage, batch_size=size, accumulation=accumulation or stage.accumulation)
