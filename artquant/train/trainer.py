"""The trainer of transformers with ArtQuant's objective, learning rates, data order and checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Trainer, TrainerCallback

from artquant.config.schema import OptimizerConfig
from artquant.data.dataset import TASKS, EpochSampler
from artquant.errors import ArtQuantError
from artquant.train.objective import Objective, task_counts

logger = logging.getLogger(__name__)

TRAINABLE_WEIGHTS = "trainable.safetensors"  # a checkpoint's weights: only what trains
PARTS = {"vision_encoder": "model.vision_model.", "abstractor": "model.visual_abstractor."}


class _EpochOrder(TrainerCallback):
    """Tells the sampler which epoch begins.

    The data loader does so too, but its call does not pass through the two wrappers that it has in an epoch that is
    resumed on several ranks; the rest of that epoch would come in the first epoch's order.
    """

    def __init__(self, sampler: EpochSampler):
        self.sampler = sampler

    def on_epoch_begin(self, args, state, control, **kwargs) -> None:
        self.sampler.set_epoch(int(state.epoch))


class ArtTrainer(Trainer):
    """Differs from transformers' trainer in this alone:

    - the loss is `Objective`'s, each term normalised over the whole optimizer step and logged by itself;
    - vision encoder and abstractor may have learning rates of their own;
    - the order of the data is `EpochSampler`'s;
    - of the weights, checkpoints hold the trainable ones (DeepSpeed adds files of its own).
    """

    loss_is_scaled_for_ga = True

    def __init__(self, *, objective: Objective, optimizer_config: OptimizerConfig, sampler: EpochSampler, **kwargs):
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = True  # what transformers before 5.20 asks instead of the above
        self.objective = objective
        self.optimizer_config = optimizer_config
        self.sampler = sampler
        self.add_callback(_EpochOrder(sampler))
        self._term_totals: dict[str, torch.Tensor] = {}
        self._term_steps: dict[str, int] = {}

    def _get_train_sampler(self, train_dataset=None) -> EpochSampler:
        return self.sampler

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list[dict], dict[str, int]]:
        """The micro-batches of one optimizer step and how much of each task they hold over all ranks."""
        batches = []
        for _ in range(num_batches):
            batch = next(epoch_iterator, None)
            if batch is None:
                break
            if "error" in batch:
                self.callback_handler.on_train_end(self.args, self.state, self.control)  # closes the progress bar
                raise ArtQuantError(batch["error"])
            batches.append(batch)
        counts = task_counts(batches)
        if self.args.world_size > 1:
            counts = self.accelerator.reduce(torch.tensor(counts, device=device), "sum").tolist()
        step_counts = dict(zip(TASKS, counts, strict=True))
        for task in TASKS:
            self._term_steps[task] = self._term_steps.get(task, 0) + (step_counts[task] > 0)
        return batches, step_counts

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """This micro-batch's share of the step's loss; ranks are averaged afterwards, hence the factor."""
        counts = num_items_in_batch or dict(zip(TASKS, inputs["counts"], strict=True))
        ranks = self.args.world_size if num_items_in_batch else 1
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            pixel_values=inputs["pixel_values"],
            logits_positions=inputs["positions"],
            use_cache=False,
        )
        sums = self.objective.term_sums(outputs.logits, inputs)
        terms = {task: sums[task] * ranks / max(counts[task], 1) for task in TASKS}
        loss = self.objective.total(terms)
        for task, term in terms.items():
            self._term_totals[task] = self._term_totals.get(task, 0.0) + term.detach()
        return (loss, outputs) if return_outputs else loss

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the mean of each task's loss since the last log line."""
        if "loss" in logs and self._term_totals:
            totals = torch.stack([self._term_totals[task].float() for task in TASKS])
            if self.args.world_size > 1:
                totals = self.accelerator.reduce(totals, "mean")
            for task, total in zip(TASKS, totals.tolist(), strict=True):
                if self._term_steps[task]:
                    logs[f"loss_{task}"] = total / self._term_steps[task]
            self._term_totals, self._term_steps = {}, {}
        super().log(logs, start_time)

    def create_optimizer(self, model=None) -> torch.optim.Optimizer:
        """AdamW with a group for every learning rate, with and without weight decay."""
        if self.optimizer is None:
            network = self.model if model is None else model
            optimizer_class, options = self.get_optimizer_cls_and_kwargs(self.args, network)
            self.optimizer = optimizer_class(self.parameter_groups(network), **options)
        return self.optimizer

    def parameter_groups(self, network: nn.Module) -> list[dict[str, Any]]:
        """Trainable parameters by part (vision encoder, abstractor, the rest) and weight decay."""
        rates = {
            "vision_encoder": self.optimizer_config.vision_learning_rate,
            "abstractor": self.optimizer_config.abstractor_learning_rate,
            "rest": None,
        }
        decayed = set(self.get_decay_parameter_names(network))
        groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                part = next((part for part, prefix in PARTS.items() if prefix in name), "rest")
                groups.setdefault((part, name in decayed), []).append(parameter)
        return [
            {
                "params": parameters,
                "lr": rates[part] or self.optimizer_config.learning_rate,
                "weight_decay": self.optimizer_config.weight_decay if decay else 0.0,
                "name": part,
            }
            for (part, decay), parameters in groups.items()
        ]

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        if not self.args.should_save:  # all ranks come here, to gather; one writes
            return
        folder = Path(output_dir or self.args.output_dir)
        folder.mkdir(parents=True, exist_ok=True)
        state_dict = self.model.state_dict() if state_dict is None else state_dict
        trainable = {name for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        tensors = {name: value.contiguous() for name, value in state_dict.items() if name in trainable}
        save_file(tensors, folder / TRAINABLE_WEIGHTS)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        # The trainer's state is written next, by the first rank, and says that the checkpoint is complete.
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        file = Path(resume_from_checkpoint) / TRAINABLE_WEIGHTS
        network = self.model if model is None else model
        parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
        tensors = load_file(file)
        if set(tensors) != set(parameters):
            odd = sorted(set(tensors) ^ set(parameters))[0]
            raise ArtQuantError(f"{file}: tensor {odd} is not among what trains; was the configuration changed?")
        with torch.no_grad():
            for name, value in tensors.items():
                parameters[name].copy_(value)
