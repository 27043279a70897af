"""What generation asks beyond transformers' own where prompts hold pictures, even under an id outside the vocabulary.

Shape legend: B prompts, T positions, I pictures, D hidden width.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, LogitsProcessorList, StoppingCriteriaList
from transformers.generation.candidate_generator import CandidateGenerator, PromptLookupCandidateGenerator

if TYPE_CHECKING:
    from transformers.generation import GenerationMixin as _Base
else:
    _Base = object


class PictureGeneration(_Base):
    """Beside transformers' `GenerationMixin`, before it in a network's bases."""

    config: Any  # MPLUGOwl2Config
    model: Any  # MPLUGOwl2LlamaModel

    # transformers types `self` of what follows as a class that no network has, and gives all arguments by name.
    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: torch.Tensor,
        pixel_values: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,  # named, because transformers looks for it here
        is_first_iteration: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Pictures are read once: afterwards they are in the cache. Beside a cache that goes on, new ones are read."""
        given = kwargs | {"inputs_embeds": inputs_embeds, "is_first_iteration": is_first_iteration}
        inputs = super().prepare_inputs_for_generation(input_ids, **given)  # type: ignore[misc, arg-type]
        if pixel_values is None:
            return inputs
        embeddings = inputs.get("inputs_embeds")
        if embeddings is not None and input_ids.shape[1] >= embeddings.shape[1]:  # the prompt in both forms
            inputs["image_mask"] = self.model.find_images(input_ids[:, -embeddings.shape[1] :], None)
        cache = kwargs.get("past_key_values")
        empty = cache is None or int(cache.get_seq_length()) == 0
        if empty or not kwargs.get("use_cache", True):
            inputs["pixel_values"] = pixel_values
        elif is_first_iteration:
            mask = inputs.pop("image_mask", None)
            new = int((self.model.find_images(inputs["input_ids"], embeddings) if mask is None else mask).sum())
            if new:
                inputs["pixel_values"] = pixel_values[-(new // self.model.image_sequence_length) :]
        return inputs

    def _expand_inputs_for_generation(  # type: ignore[override]
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: torch.Tensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[torch.Tensor, dict[str, Any]]:
        """Each prompt's pictures are repeated together, however many it has."""
        pixel_values = model_kwargs.pop("pixel_values", None)
        if pixel_values is not None and expand_size > 1:
            embeddings = model_kwargs.get("inputs_embeds")
            mask = self.model.find_images(input_ids if embeddings is None else None, embeddings)
            counts = (mask.sum(1) // self.model.image_sequence_length).tolist()
            pixel_values = torch.cat([part for part in pixel_values.split(counts) for _ in range(expand_size)])
        input_ids, model_kwargs = super()._expand_inputs_for_generation(  # type: ignore[misc]
            expand_size,
            is_encoder_decoder,
            input_ids,  # type: ignore[arg-type]
            **model_kwargs,
        )
        if pixel_values is not None:
            model_kwargs["pixel_values"] = pixel_values
        return input_ids, model_kwargs

    def _get_logits_processor(
        self, generation_config: GenerationConfig, *args: Any, **kwargs: Any
    ) -> LogitsProcessorList:
        """Processors and criteria look tokens up in tables of the vocabulary. What lies outside is never generated."""
        if generation_config.bad_words_ids is not None:
            generation_config = copy.copy(generation_config)
            words = [word for word in generation_config.bad_words_ids if min(word, default=0) >= 0]
            generation_config.bad_words_ids = words or None
        if kwargs.get("encoder_input_ids") is not None:
            kwargs["encoder_input_ids"] = _without_images(kwargs["encoder_input_ids"])
        return _LogitsProcessors(super()._get_logits_processor(generation_config, *args, **kwargs))  # type: ignore[misc]

    def _get_stopping_criteria(self, *args: Any, **kwargs: Any) -> StoppingCriteriaList:
        return _StoppingCriteria(super()._get_stopping_criteria(*args, **kwargs))  # type: ignore[misc]

    def _get_candidate_generator(self, *args: Any, **kwargs: Any) -> CandidateGenerator:
        """What is copied from the prompt holds no pictures."""
        made = super()._get_candidate_generator(*args, **kwargs)  # type: ignore[misc]
        return _Words(made, self.config.image_token_id) if isinstance(made, PromptLookupCandidateGenerator) else made

    @torch.no_grad()
    def generate(self, inputs: torch.Tensor | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """transformers' generation; prompts padded on the right are moved to the right edge first."""
        input_ids, mask = kwargs.pop("input_ids", inputs), kwargs.get("attention_mask")
        kwargs.pop("image_mask", None)  # the ids say it, and they grow
        if mask is not None and mask.ndim == 2:
            order = mask.argsort(dim=1, stable=True)  # each row's padding to its left, real tokens in their order
            kwargs["attention_mask"] = mask.gather(1, order)
            if input_ids is not None and input_ids.shape == mask.shape:
                input_ids = input_ids.gather(1, order)
            embeddings = kwargs.get("inputs_embeds")
            if embeddings is not None and embeddings.shape[:2] == mask.shape:
                kwargs["inputs_embeds"] = embeddings.gather(1, order[..., None].expand_as(embeddings))
        return super().generate(input_ids, **kwargs)  # type: ignore[misc]


def _without_images(input_ids: torch.Tensor) -> torch.Tensor:
    """Ids with the vocabulary's first, LLaMA's `<unk>`, for pictures that have none of it."""
    return input_ids.clamp(min=0)


class _Words(CandidateGenerator):
    """Candidates from a prompt in which pictures are the vocabulary's first word."""

    def __init__(self, inner: CandidateGenerator, image_token: int):
        self.inner, self.image_token = inner, image_token

    def get_candidates(self, input_ids: torch.Tensor, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor | None]:  # type: ignore[override]
        words = input_ids.masked_fill(input_ids == self.image_token, 0)
        found, logits = self.inner.get_candidates(words, **kwargs)  # type: ignore[arg-type]
        return torch.cat([input_ids, found[:, input_ids.shape[1] :]], dim=1), logits

    def update_candidate_strategy(self, input_ids: torch.Tensor, scores: torch.Tensor, num_matches: int) -> None:
        self.inner.update_candidate_strategy(input_ids, scores, num_matches)  # type: ignore[arg-type]


class _LogitsProcessors(LogitsProcessorList):
    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return super().__call__(_without_images(input_ids), scores, **kwargs)  # type: ignore[arg-type]


class _StoppingCriteria(StoppingCriteriaList):
    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return super().__call__(_without_images(input_ids), scores, **kwargs)
