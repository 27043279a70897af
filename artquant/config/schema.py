"""Every setting, with its meaning, default and allowed values.

One :class:`RunConfig` (one YAML file) serves train.sh, infer.sh and eval.sh. Paths are relative to the current
directory. Settings are checked where they are defined; files and folders are looked at by whoever opens them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from artquant.config.requirements import (
    DRAFT_SIDES,
    LARGEST,
    LARGEST_BATCH,
    LARGEST_SEED,
    ConfigError,
    require,
    require_at_least,
    require_device,
    require_folder_name,
    require_not_negative,
    require_positive,
)
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE, RatingScale

RUN_FILES = ("config", "predictions", "evaluation")  # a run's own names, less what stands behind a full stop
WholePart = Literal["vision", "projector", "decoder", "head"]  # of a network, as far as it can train whole


@dataclass(frozen=True)
class LevelsConfig:
    """Rating words, best first, and the score that each stands for (ArtQuant: APDDv2's 1 to 10 scale)."""

    words: tuple[str, ...] = APDD_SCALE.words  # single tokens of the tokenizer
    weights: tuple[float, ...] = APDD_SCALE.values  # score of each word, on the data set's scale

    def __post_init__(self) -> None:
        require(len(self.words) >= 2, "words", f"at least two rating words are needed, got {len(self.words)}")
        blank = any(not word.strip() for word in self.words)
        require(not blank, "words", "a rating word is empty")
        require(len(set(self.words)) == len(self.words), "words", "a rating word is listed twice")
        same = len(self.words) == len(self.weights)
        require(same, "weights", f"{len(self.weights)} weights for {len(self.words)} rating words; list one for each")
        sized = all(abs(weight) <= LARGEST for weight in self.weights)
        require(sized, "weights", f"must be numbers of at most {LARGEST:g}")
        falling = all(a > b for a, b in zip(self.weights, self.weights[1:], strict=False))
        require(falling, "weights", "must fall from the first word to the last: list the words best first")

    @property
    def scale(self) -> RatingScale:
        """Both as one."""
        return RatingScale(self.words, self.weights)


def _said(default: Any, meaning: str) -> Any:
    """A field with a default whose meaning the command line shows too."""
    return field(default=default, metadata={"help": meaning})


@dataclass(frozen=True)
class Loading:
    """How a network is loaded, for training and for scoring. The command line has a flag for each, with its help."""

    attention: Literal["eager", "sdpa", "flash_attention_2"] = _said("sdpa", "attention kernel")  # --attention
    dtype: Literal["float32", "bfloat16"] = _said("float32", "number format of weights and computation")  # --dtype
    # --quantize
    quantize: Literal["nf4", "int8", "dynamic_int8"] | None = _said(
        None, "decoder in 4 or 8 bits (needs bitsandbytes); dynamic_int8: scoring on the CPU, vision too, needs nothing"
    )
    untested: bool = _said(False, "also networks of transformers that no test here covers")  # --untested

    @property
    def narrow_weights(self) -> Literal["nf4", "int8"] | None:
        """How the weights are read in fewer bits; `dynamic_int8` narrows them afterwards."""
        return None if self.quantize == "dynamic_int8" else self.quantize


@dataclass(frozen=True)
class ModelConfig(Loading):
    """How the network is run in training; with `quantize` only adapters train."""

    # Recompute activations in the backward pass: less memory, slower. null: only where the run's plan says that the
    # memory of this machine is too small without; a run goes on as it began.
    gradient_checkpointing: bool | None = False

    def __post_init__(self) -> None:
        trains = self.quantize != "dynamic_int8"
        require(trains, "quantize", "dynamic_int8 is for scoring alone; train with nf4 or int8")


@dataclass(frozen=True)
class DataConfig:
    """One set of training records."""

    records: Path  # JSON list or lines of training records
    images: Path  # folder that the records' picture names are relative to
    weight: float = 1.0  # passes over the set per epoch: the whole part repeats it, the fraction samples it
    attributes: bool = False  # score records teach their attributes' scores too, in one sequence with the total

    def __post_init__(self) -> None:
        require_positive(weight=self.weight)
        require(self.weight <= 10_000, "weight", f"must be at most 10000 passes an epoch, got {self.weight:g}")


@dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters of the language decoder (published: 67,108,864 parameters)."""

    r: int = 128  # rank
    alpha: float = 256.0  # scale: the update counts alpha / r times
    dropout: float = 0.05  # on the adapter's input
    # Which linear layers: a regular expression over whole module names, or a list of names; null: as the family of
    # networks has it. Published: the queries and the image branch of the values, in every decoder layer.
    target_modules: str | tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        require_at_least(1, 16_384, r=self.r)
        require_positive(alpha=self.alpha)
        require(0 <= self.dropout < 1, "dropout", f"must be 0 or more and below 1, got {self.dropout}")
        require(self.target_modules not in ("", ()), "target_modules", "name at least one module")
        if isinstance(self.target_modules, str):
            try:
                re.compile(self.target_modules)
            except re.error as error:
                raise ConfigError("target_modules", f"not a regular expression: {error}") from None


@dataclass(frozen=True)
class TrainableConfig:
    """Which parts learn (defaults: as published); the rest is frozen. What a readout adds always learns."""

    lora: LoraConfig | None = field(default_factory=LoraConfig)  # adapters on the decoder; null: none
    vision: bool = True  # the whole vision encoder
    projector: bool = True  # what lies between vision encoder and decoder, such as a visual abstractor
    decoder: bool = False  # the whole language decoder with its token table; not together with lora
    head: bool | None = None  # the output head; null: with the decoder

    def __post_init__(self) -> None:
        require(not (self.decoder and self.lora), "decoder", "cannot be trained whole and with lora; set lora: null")
        any_part = self.lora is not None or self.vision or self.projector or self.decoder or bool(self.head)
        require(any_part, "", "nothing is trainable; switch on lora, vision, projector, decoder or head")

    def parts(self) -> tuple[WholePart, ...]:
        """The parts that train whole."""
        head = self.decoder if self.head is None else self.head
        chosen: dict[WholePart, bool] = {
            **{"vision": self.vision, "projector": self.projector},
            **{"decoder": self.decoder, "head": head},
        }
        return tuple(name for name, wanted in chosen.items() if wanted)


@dataclass(frozen=True)
class LossConfig:
    """Weights of the losses in the total (published: 1 * description + 0.05 * (CE + 1 * KL))."""

    description: float = 1.0  # next-token cross-entropy of description answers
    score_text: float = 0.05  # next-token cross-entropy of score answers, without the rating word
    # The readout's own terms by name (docs/readouts.md lists them); those not named have the readout's weights.
    score: dict[str, float] = field(default_factory=dict, hash=False)
    rank: float = 0.0  # order of the scores of a pair (DeQA-Score); needs pairs: true
    rank_kind: Literal["fidelity", "binary"] = "fidelity"  # fidelity loss or binary cross-entropy
    # What a pair's order is compared with: the probability that the first is the better one, from scores and standard
    # deviations (gaussian), or which of them has the higher score (order).
    rank_target: Literal["gaussian", "order"] = "gaussian"
    centred: float = 0.0  # squared error of a picture's attribute scores less their own mean (ours); needs attributes
    # Standard deviations of the predicted scores: 1 (fixed), or the predicted ones, which are not trained.
    rank_deviation: Literal["fixed", "predicted"] = "fixed"

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in ("description", "score_text", "rank", "centred")}
        require_not_negative(**weights, **{f"score.{name}": value for name, value in self.score.items()})
        some = any(weights.values()) or not self.score or any(self.score.values())
        require(some, "", "all loss weights are 0; set at least one above 0")
        known = self.rank_kind == "fidelity" or self.rank_target == "order"
        require(known, "rank_kind", "binary compares with a known order; set rank_target: order, or take fidelity")


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW and its schedule."""

    learning_rate: float = 2e-5  # peak, of everything that has no own rate below
    vision_learning_rate: float | None = None  # peak, of the vision encoder; null: learning_rate
    projector_learning_rate: float | None = None  # peak, of the projector (such as an abstractor); null: learning_rate
    decoder_learning_rate: float | None = None  # peak, of the decoder; null: learning_rate
    adapter_learning_rate: float | None = None  # peak, of the LoRA adapters; null: learning_rate
    head_learning_rate: float | None = None  # peak, of the output head; null: learning_rate
    new_learning_rate: float | None = None  # peak, of the rows and heads that a readout adds; null: learning_rate
    weight_decay: float = 0.0  # decoupled
    betas: tuple[float, float] = (0.9, 0.999)  # decay of the first and second moments
    warmup_fraction: float = 0.03  # share of the steps in which the rate rises from 0
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # after the warm-up
    max_grad_norm: float = 1.0  # gradients are clipped to this norm

    def __post_init__(self) -> None:
        require_positive(learning_rate=self.learning_rate, max_grad_norm=self.max_grad_norm)
        require_positive(**{f"{part}_learning_rate": rate for part, rate in self.own_rates().items()})
        require_not_negative(weight_decay=self.weight_decay)
        require(all(0 <= beta < 1 for beta in self.betas), "betas", "each must be 0 or more and below 1")
        fraction = self.warmup_fraction
        require(0 <= fraction < 1, "warmup_fraction", f"must be 0 or more and below 1, got {fraction}")

    def own_rates(self) -> dict[str, float | None]:
        """Rates of their own, by the word before `_learning_rate`."""
        return {
            "vision": self.vision_learning_rate,
            "projector": self.projector_learning_rate,
            "decoder": self.decoder_learning_rate,
            "adapter": self.adapter_learning_rate,
            "head": self.head_learning_rate,
            "new": self.new_learning_rate,
        }


@dataclass(frozen=True)
class ValidationConfig:
    """Validation while a stage trains; the best model by SRCC is kept."""

    records: Path | None = None  # JSON list or lines of pictures with gt_score, to be scored; null: none
    images: Path | None = None  # folder of those pictures; null: the folder that the records file is in
    losses: tuple[DataConfig, ...] = ()  # training records held out, whose loss is reported for each task
    steps: int | None = None  # optimizer steps between validations; null: every epoch
    batch_size: int = 16  # pictures per device and forward pass
    patience: int | None = None  # validations without a gain after which the stage stops; null: never
    minimum_gain: float = 0.0  # in SRCC, to count as better
    keep: Literal["best", "last"] = "best"  # which weights become the stage's model

    def __post_init__(self) -> None:
        some = self.records is not None or bool(self.losses)
        require(some, "", "names nothing to validate on; give records or losses, or validation: null")
        require(self.records is not None or self.patience is None, "patience", "needs records to be scored")
        require_at_least(1, LARGEST_BATCH, batch_size=self.batch_size)
        for key, value in (("steps", self.steps), ("patience", self.patience)):
            if value is not None:
                require_at_least(1, **{key: value})
        require_not_negative(minimum_gain=self.minimum_gain)


@dataclass(frozen=True)
class StageConfig:
    """One stage of training (ArtQuant: first descriptions, then scores)."""

    name: str  # e.g. descriptions, scores; a folder of the run
    data: tuple[DataConfig, ...]  # what is learned from
    order: Literal["mixed", "in_order"] = "mixed"  # in_order: the sets one after the other (levels 1, 2, 3)
    pairs: bool = False  # scores in pairs of one data set, each record once as the first: twice the samples an epoch
    start: Path | None = None  # model folder to start from; null: the stage before, or the base
    trainable: TrainableConfig = field(default_factory=TrainableConfig)  # which parameters learn
    loss: LossConfig = field(default_factory=LossConfig)  # weights of the losses
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)  # AdamW and its schedule
    epochs: float = 3.0  # passes over the data
    max_steps: int = -1  # optimizer steps, instead of epochs; -1: by epochs
    batch_size: int = 4  # records per device and forward pass
    accumulation: int = 4  # forward passes per optimizer step
    max_length: int = 2048  # tokens of a prompt with its image tokens
    group_by_length: bool = False  # batches of similar length: less padding
    workers: int = 2  # processes that read pictures; 0: the main process
    cache_pictures: bool = False  # keep prepared pictures and texts in memory, in each of those processes: small sets
    validation: ValidationConfig | None = None  # while training; null: none
    unreadable: Literal["error", "skip"] = "error"  # a picture that cannot be read: stop, or go on without it
    bad_steps: int = 0  # optimizer steps that may be left out because loss or gradient is not finite; then: stop
    save_steps: int | None = None  # optimizer steps between checkpoints; null: every epoch
    save_total: int = 2  # checkpoints kept
    log_steps: int = 10  # optimizer steps between log lines
    deepspeed: Path | None = None  # DeepSpeed JSON file; null: without

    def __post_init__(self) -> None:
        require_folder_name(name=self.name)
        require(len(self.data) > 0, "data", "name at least one set of records")
        require_positive(epochs=self.epochs)
        steps = self.max_steps
        require(steps == -1 or steps > 0, "max_steps", f"must be -1 or above 0, got {steps}")
        require_at_least(1, LARGEST_BATCH, batch_size=self.batch_size, accumulation=self.accumulation)
        require_at_least(1, 10_000_000, max_length=self.max_length)
        require_at_least(1, save_total=self.save_total, log_steps=self.log_steps)
        if self.save_steps is not None:
            require_at_least(1, save_steps=self.save_steps)
        require_at_least(0, 1024, workers=self.workers)
        require_at_least(0, bad_steps=self.bad_steps)
        fits = self.bad_steps == 0 or self.deepspeed is None
        require(fits, "bad_steps", "cannot be used with deepspeed, which steps by itself; set one of the two aside")
        conflict = self.group_by_length and self.order == "in_order"
        require(not conflict, "group_by_length", "would break up order: in_order; choose one of the two")
        self._check_pairs()
        trains = {*self.trainable.parts(), *(["adapter"] if self.trainable.lora else []), "new"}
        for part, rate in self.optimizer.own_rates().items():
            idle = f"has no effect: {part} is not trainable; set trainable or take the rate out"
            require(rate is None or part in trains, f"optimizer.{part}_learning_rate", idle)

    def _check_pairs(self) -> None:
        require(self.pairs or self.loss.rank == 0, "loss.rank", "has no effect without pairs; set pairs: true")
        if self.pairs:
            require(self.batch_size % 2 == 0, "batch_size", f"must be even with pairs: true, got {self.batch_size}")
            advice = "would break up pairs; choose one of the two"
            require(self.order == "mixed", "order", f"in_order {advice}")
            require(not self.group_by_length, "group_by_length", advice)


@dataclass(frozen=True)
class InferConfig(Loading):
    """Scoring of pictures."""

    records: Path = field(kw_only=True)  # required: list, table, archive or folder of pictures to score
    images: Path | None = None  # folder of the pictures; null: the folder that the records file is in
    model: Path | None = None  # model folder to score with; null: the last stage's, without stages the base
    # Pictures per forward pass; null: on a GPU as many as its memory takes (4 to 64), else 16.
    batch_size: int | None = None
    workers: int | None = None  # processes that read pictures; 0: this one; null: 2 beside a GPU, on the CPU threads
    # Decode JPEGs at 1/2, 1/4 or 1/8 as long as neither side has fewer pixels: faster, but scores move; null: in full.
    draft_to: int | None = None
    # Attributes to score beside the whole picture: "trained" (those that the model was trained on) or a list of names.
    attributes: Literal["trained"] | tuple[str, ...] = ()
    device: str = "auto"  # auto, cpu, cuda, cuda:N or mps
    score_range: tuple[float, float] | None = None  # map the model's range onto a data set's; null: as the model gives

    def __post_init__(self) -> None:
        if self.batch_size is not None:
            require_at_least(1, LARGEST_BATCH, batch_size=self.batch_size)
        if self.draft_to is not None:
            require_at_least(*DRAFT_SIDES, draft_to=self.draft_to)
        require_at_least(0, 1024, workers=self.workers or 0)
        require(self.score_range is None or self.score_range[0] < self.score_range[1], "score_range", "must rise")
        named = self.attributes == "trained" or all(name.strip() for name in self.attributes)
        require(named, "attributes", "the name of an attribute is empty")
        require_device(self.device)


@dataclass(frozen=True)
class EvalConfig:
    """Comparison of predictions with human scores."""

    truth: Path | None = None  # records with gt_score; null: infer.records
    bootstrap: int = 1000  # resamples for the confidence intervals; 0: none
    logistic: bool = False  # fit the four-parameter logistic curve before the linear correlation

    def __post_init__(self) -> None:
        require_at_least(0, 1_000_000, bootstrap=self.bootstrap)


@dataclass(frozen=True)
class RunConfig:
    """A whole run: training stages, scoring, evaluation. One run name ties them together."""

    run: str  # run name; everything is written under output/run
    base: Path  # base model folder (published form, or one that init-model wrote)
    infer: InferConfig  # scoring of pictures
    stages: tuple[StageConfig, ...] = ()  # in order, each from where the one before ended; none: score with the base
    output: Path = Path("runs")  # folder of all runs
    seed: int = 0  # of every random choice
    prompt: str = "artquant"  # name of the prompt, of artquant.texts.prompt.PROMPTS
    subject: str = "painting"  # the noun in question and answer
    levels: LevelsConfig = field(default_factory=LevelsConfig)  # rating words and their scores
    # How a score is read: its kind and that readout's own settings.
    readout: dict[str, Any] = field(default_factory=dict, hash=False)
    model: ModelConfig = field(default_factory=ModelConfig)  # how the network is run in training
    evaluate: EvalConfig = field(default_factory=EvalConfig)  # comparison with human scores

    def __post_init__(self) -> None:
        require_folder_name(run=self.run)
        for key, value in (("prompt", self.prompt), ("subject", self.subject)):
            require(bool(value.strip()), key, "is empty")
        require(0 <= self.seed <= LARGEST_SEED, "seed", f"must be from 0 to {LARGEST_SEED}, got {str(self.seed)[:40]}")
        for index, stage in enumerate(self.stages):
            fits = self.model.quantize is None or not stage.trainable.decoder
            require(fits, f"stages.{index}.trainable.decoder", "cannot be trained quantised; set model.quantize: null")
            fits = self.model.quantize is None or stage.deepspeed is None
            require(fits, f"stages.{index}.deepspeed", "cannot be used with model.quantize; set one of them to null")
        names = [stage.name for stage in self.stages]
        for index, name in enumerate(names):
            taken = name.lower().split(".")[0] in RUN_FILES
            require(not taken, f"stages.{index}.name", f"{name!r} is the name of a run's own file; choose another")
            require(name not in names[:index], f"stages.{index}.name", f"{name!r} is used twice; give each its own")

    def chosen_stages(self, names: Sequence[str] = ()) -> list[StageConfig]:
        """The stages of these names, or all of them, in the run's order.

        Raises:
            ArtQuantError: the run has no stage of a name, or no stages at all.
        """
        known = [stage.name for stage in self.stages]
        for name in names:
            if name not in known:
                raise ArtQuantError(f"run {self.run}: no stage {name!r}; known are {', '.join(known) or 'none'}")
        if not known:
            raise ArtQuantError(f"run {self.run}: has no stages, so there is nothing to train; add one under stages")
        return [stage for stage in self.stages if not names or stage.name in names]
