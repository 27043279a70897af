"""The trainer of transformers with ArtQuant's objective, learning rates, data order and checkpoints."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
)

from artquant.batches.batch import Batch, Fault
from artquant.batches.dataset import ArtDataset
from artquant.batches.order import EpochSampler
from artquant.config.schema import OptimizerConfig
from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import JsonError, append_json_lines
from artquant.files.unwritten import Unwritten
from artquant.models.adapters import TRAINABLE_WEIGHTS
from artquant.models.scoring_network import ScoringNetwork
from artquant.texts.prompt import Prompt
from artquant.train.checkpointing import CheckpointStore, not_written, read_manifest
from artquant.train.interruption import StopRequest, ignore_stop_signal
from artquant.train.objective import Objective
from artquant.train.progress import ProgressLines, Throughput
from artquant.train.rates import parameter_groups
from artquant.train.validation import EarlyStopping, Validation
from artquant.train.weights import stored_name, trainable_tensors

logger = logging.getLogger(__name__)

_WRITE_ERRORS = (OSError, RuntimeError, SafetensorError, JsonError, Unwritten)  # of a full disk, by whichever writer


class _StepEvents(TrainerCallback):
    """What the trainer's loop is told at its steps.

    The sampler learns which epoch begins: the data loader's own call does not pass through the two wrappers that it has
    in an epoch that is resumed on several ranks; the rest of that epoch would come in the first epoch's order. And the
    loop ends, with a checkpoint, when that was asked for.
    """

    def __init__(self, trainer: ArtTrainer):
        self.trainer = trainer

    def on_epoch_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.trainer.sampler.set_epoch(int(state.epoch or 0))

    def on_train_begin(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.trainer.begin(state.global_step)

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.trainer.interrupted and state.global_step < state.max_steps:
            control.should_save = control.should_training_stop = True

    def on_evaluate(self, args: Any, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        if self.trainer.early_stopping.stops:
            logger.info("no gain in %d validations: the stage ends", self.trainer.early_stopping.patience)
            control.should_training_stop = True


@dataclass(frozen=True)
class Safeguards:
    """Where a stage keeps what it must not lose, and how it meets what goes wrong.

    checkpoints: to resume from. best: trainable weights of the best validation. card: describes the run, in each
    manifest. split: of a step, as configured. stop: the request to end. bad_steps: optimizer steps that may be left out
    for not being finite. skip_unreadable: go on without pictures that cannot be read, noting them in `skipped`.
    """

    checkpoints: CheckpointStore
    best: CheckpointStore
    stop: StopRequest
    skipped: Path
    split: dict[str, int]
    card: dict[str, Any] = field(default_factory=dict)
    bad_steps: int = 0
    skip_unreadable: bool = False


class ArtTrainer(Trainer):
    """Differs from transformers' trainer in this alone:

    - the loss is `Objective`'s, each term normalised over the whole optimizer step and logged by itself;
    - each part of the network may have a learning rate of its own;
    - the order of the data is `EpochSampler`'s or `PairSampler`'s;
    - of the weights, checkpoints hold the trainable ones (DeepSpeed adds files of its own); they are whole or absent;
    - validation is `Validation`'s;
    - a step whose loss or gradient is not finite stops the run, or is left out up to a stated number.
    """

    loss_is_scaled_for_ga = True
    objective: Objective  # not what transformers notes there in a search for settings
    describe: Callable[[Path], None]  # makes a folder with what trains a model folder; on the first rank

    def __init__(
        self,
        *,
        dataset: ArtDataset,
        objective: Objective,
        prompt: Prompt,
        optimizer_config: OptimizerConfig,
        sampler: EpochSampler,
        safeguards: Safeguards,
        validation: Validation | None = None,
        early_stopping: EarlyStopping | None = None,
        **kwargs: Any,
    ):
        super().__init__(train_dataset=dataset, eval_dataset=validation, **kwargs)
        self.model_accepts_loss_kwargs = True  # what transformers before 5.20 asks instead of the above
        self.dataset = dataset
        self.objective = objective
        self.prompt = prompt
        self.optimizer_config = optimizer_config
        self.sampler = sampler
        self.safeguards = safeguards
        self.validation = validation
        self.early_stopping = early_stopping or EarlyStopping(None)
        self.throughput = Throughput(self.args.world_size)
        self.interrupted = False
        self.steps_left_out = 0
        self.add_callback(_StepEvents(self))
        self.remove_callback(PrinterCallback if self.args.disable_tqdm else ProgressCallback)
        if logger.isEnabledFor(logging.INFO):
            self.add_callback(ProgressLines())
        self._term_totals: dict[str, torch.Tensor] = {}
        self._term_steps: dict[str, int] = {}
        self._step_sources: list[str] = []
        # Loss and terms, to return to when a step is left out.
        self._before_step: tuple[torch.Tensor, dict[str, torch.Tensor], dict[str, int]] = (torch.tensor(0.0), {}, {})
        self._left_out_since_log = 0
        self._last_log_step = 0
        self._saved_step = -1

    @property
    def network(self) -> ScoringNetwork:
        """What trains, without what several ranks wrap it in."""
        return cast(ScoringNetwork, self.model)

    def begin(self, step: int) -> None:
        """Count speed and log lines from the step that training begins at."""
        self.throughput.first_step = self._last_log_step = step

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        return self.sampler

    # transformers' trainer types a batch as a dictionary of tensors, and what is counted as one number.
    def get_batch_samples(  # type: ignore[override]
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list[Batch], dict[str, int]]:
        """The micro-batches of one optimizer step and how much of each term they hold over all ranks."""
        batches = []
        for _ in range(num_batches):
            batch = next(epoch_iterator, None)
            if batch is None:
                break
            if isinstance(batch, Fault):
                self._stop(batch.message)
            self._note_unreadable(batch.unreadable)
            self.throughput.count(len(batch.sources), batch.positions)
            batches.append(batch)
        self._step_sources = [source for batch in batches for source in batch.sources]
        self._before_step = (self._tr_loss.clone(), dict(self._term_totals), dict(self._term_steps))
        counts = [*self.objective.counts(batches).values(), int(self.safeguards.stop.received)]
        if self.args.world_size > 1:
            counts = self.accelerator.reduce(torch.tensor(counts, device=device), "sum").tolist()
        self.interrupted = counts.pop() > 0  # the same on every rank
        step_counts = dict(zip(self.objective.terms, counts, strict=True))
        for term, count in step_counts.items():
            self._term_steps[term] = self._term_steps.get(term, 0) + (count > 0)
        return batches, step_counts

    def floating_point_ops(self, inputs: Any) -> int:
        """Not estimated: `Throughput` measures."""
        return 0

    def _prepare_inputs(self, inputs: Batch) -> Batch:  # type: ignore[override]
        """On this rank's device, in the number formats that they have."""
        return inputs.to(self.args.device)

    def compute_loss(  # type: ignore[override]
        self,
        model: nn.Module,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: dict[str, int] | None = None,
    ) -> torch.Tensor:
        """This micro-batch's share of the step's loss; ranks are averaged afterwards, hence the factor."""
        counts = num_items_in_batch or self.objective.counts([inputs])
        ranks = self.args.world_size if num_items_in_batch else 1
        sums = self.objective.sums(model, inputs)
        terms = {term: value * ranks / max(counts[term], 1) for term, value in sums.items()}
        loss = self.objective.total(terms)
        self._check_finite(loss, inputs.sources)
        for term, value in terms.items():
            self._term_totals[term] = self._term_totals.get(term, 0.0) + value.detach()
        return loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of each term of the loss since the last log line."""
        if "loss" in logs:
            steps, self._last_log_step = self.state.global_step - self._last_log_step, self.state.global_step
            taken, self._left_out_since_log = steps - self._left_out_since_log, 0
            logs["loss"] = logs["loss"] * steps / taken if taken else math.nan  # transformers divides by all of them
        if "loss" in logs and self._term_totals:
            totals = torch.stack([self._term_totals[term].float() for term in self.objective.terms])
            if self.args.world_size > 1:
                totals = self.accelerator.reduce(totals, "mean")
            for term, total in zip(self.objective.terms, totals.tolist(), strict=True):
                if self._term_steps[term]:
                    logs[f"loss_{term}"] = total / self._term_steps[term]
            self._term_totals, self._term_steps = {}, {}
        if "loss" in logs:
            logs |= self.throughput.report(self.state.global_step, self.state.max_steps)
            if self.steps_left_out:
                logs["steps_left_out"] = self.steps_left_out
        super().log(logs, start_time)

    def _note_unreadable(self, errors: Sequence[str]) -> None:
        """Stop at a picture that cannot be read, or write it down and go on."""
        if errors and not self.safeguards.skip_unreadable:
            self._stop(errors[0])
        append_json_lines(self.safeguards.skipped, [{"error": error} for error in errors])

    def _stop(self, message: str) -> None:
        self.callback_handler.on_train_end(self.args, self.state, self.control)  # closes the progress bar
        raise ArtQuantError(message)

    def _check_finite(self, loss: torch.Tensor, sources: Sequence[str]) -> None:
        if self.safeguards.bad_steps == 0 and not math.isfinite(loss.item()):
            self._stop(self._not_finite("loss", sources))

    def _not_finite(self, what: str, sources: Sequence[str]) -> str:
        return (
            f"step {self.state.global_step + 1}: the {what} is not finite; its batch: {', '.join(sources)}. Look at "
            "these records, lower the learning rate, or leave such steps out (bad_steps)"
        )

    def _clip_grad_norm(self, model: nn.Module) -> torch.Tensor | float | None:
        """Clip, and leave the step out if the gradient is not finite; its norm is the same on every rank."""
        norm = super()._clip_grad_norm(model)
        if self.is_deepspeed_enabled or norm is None or math.isfinite(float(norm)):
            return norm
        if self.steps_left_out == self.safeguards.bad_steps:
            left_out = f" ({self.steps_left_out} steps were left out before)" if self.steps_left_out else ""
            self._stop(self._not_finite("gradient", self._step_sources) + left_out)
        self.steps_left_out += 1
        logger.warning("%s; the step is left out", self._not_finite("gradient", self._step_sources))
        self._left_out_since_log += 1
        loss, self._term_totals, self._term_steps = self._before_step
        self._tr_loss.copy_(loss)
        model.zero_grad(set_to_none=True)  # without gradients the optimizer leaves a parameter and its state alone
        return torch.zeros(())

    def _get_dataloader(self, *arguments: Any, **options: Any) -> DataLoader:
        loader = super()._get_dataloader(*arguments, **options)
        loader.worker_init_fn = ignore_stop_signal  # reading pictures draws no random numbers, which it seeded before
        return loader

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: list[str] | None = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        """Validate: figures, logged as `eval_...`; the best weights by SRCC are kept."""
        if self.validation is None:
            return {}
        with self.compute_loss_context_manager():
            found = self.validation.run(self.args.process_index, self.args.world_size, self.args.device, self._gather)
        if "SRCC" in found and self.early_stopping.note(found["SRCC"], self.state.global_step):
            self._keep_best(found)
        figures = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(figures)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def _gather(self, value: Any) -> list[Any]:
        if self.args.world_size == 1:
            return [value]
        values = [None] * self.args.world_size
        torch.distributed.all_gather_object(values, value)
        return values

    def _keep_best(self, figures: dict[str, float]) -> None:
        step, store = self.state.global_step, self.safeguards.best
        tensors = trainable_tensors(self.network)
        if self.is_world_process_zero():
            try:
                self._write_weights(store.partial(step), tensors)
                store.commit(step, figures=figures, run=self.safeguards.card)
            except _WRITE_ERRORS as error:
                raise not_written(store, step, error) from error
        self.accelerator.wait_for_everyone()

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW with a group for every learning rate, with and without weight decay."""
        if self.optimizer is None:
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args)
            network = self.network if model is None else model
            decayed = self.get_decay_parameter_names(network)
            groups = parameter_groups(network, self.network.parts, decayed, self.optimizer_config)
            self.optimizer = optimizer_class(groups, **options)
        return self.optimizer

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.safeguards.checkpoints.aside)  # until it is whole

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        step, store = self.state.global_step, self.safeguards.checkpoints
        if self._saved_step == step:  # at the end of an epoch that ends with a save
            return
        if self.is_world_process_zero():
            store.discard_partial()
        self.accelerator.wait_for_everyone()
        try:
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if self.is_world_process_zero():
                samples = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
                described = {"ranks": self.args.world_size, "split": self.safeguards.split | {"samples": samples}}
                described |= {"early_stopping": self.early_stopping.state(), "steps_left_out": self.steps_left_out}
                store.commit(step, **described, run=self.safeguards.card)
        except _WRITE_ERRORS as error:
            raise not_written(store, step, error) from error
        self.accelerator.wait_for_everyone()
        self._saved_step = step

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write what trains, however it is spread over the ranks."""
        tensors = trainable_tensors(self.network)
        if self.args.should_save:
            odd = next((name for name, value in tensors.items() if not torch.isfinite(value).all()), None)
            if odd is not None:
                self._stop(
                    f"step {self.state.global_step}: {odd} is not finite any more; no checkpoint of it is written"
                )
            self._write_weights(Path(output_dir or str(self.args.output_dir)), tensors)

    def _write_weights(self, folder: Path, tensors: dict[str, torch.Tensor]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, folder / TRAINABLE_WEIGHTS)
        self.describe(folder)

    def resume(self, checkpoint: Path) -> None:
        """Train on from a whole checkpoint."""
        manifest = read_manifest(checkpoint)
        self.early_stopping.restore(manifest["early_stopping"])
        self.steps_left_out = manifest["steps_left_out"]
        self.train(resume_from_checkpoint=str(checkpoint))

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """Nothing, where a run was broken off at its last step: transformers' loop would take one more."""
        if self.state.global_step >= self.state.max_steps or self.early_stopping.stops:
            self.control.should_training_stop = True
        else:
            super()._run_epoch(*args, **kwargs)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        try:
            super()._load_optimizer_and_scheduler(checkpoint)
        except ValueError as error:  # groups of parameters that are not this stage's
            raise ArtQuantError(
                f"{checkpoint}: the optimizer's state does not fit this stage ({one_line(error)}), as after an earlier "
                "version or with other parts that train; delete the stage's checkpoints to begin it again"
            ) from error

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        file = Path(resume_from_checkpoint) / TRAINABLE_WEIGHTS
        network = self.network if model is None else model
        parameters = {stored_name(name): value for name, value in network.named_parameters() if value.requires_grad}
        tensors = load_file(file)
        if set(tensors) != set(parameters):
            odd = sorted(set(tensors) ^ set(parameters))[0]
            raise ArtQuantError(f"{file}: tensor {odd} is not among what trains; was the configuration changed?")
        with torch.no_grad():
            for name, value in tensors.items():
                parameters[name].copy_(value)
