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
        image_mask: torch.Tensor | None = None,
        is_first_iteration: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Pictures are read once: afterwards they are in the cache. Beside a cache that goes on, new ones are read."""
        given = kwargs | {"inputs_embeds": inputs_embeds, "is_first_iteration": is_first_iteration}
        inputs = super().prepare_inputs_for_generation(input_ids, **given)  # type: ignore[misc, arg-type]
        if pixel_values is None:
            return inputs
        cache = kwargs.get("past_key_values")
        going_on = kwargs.get("use_cache", True) and cache is not None and int(cache.get_seq_length()) > 0
        if going_on and not is_first_iteration:
            return inputs
        if not going_on and inputs_embeds is None:
            return inputs | {"pixel_values": pixel_values}
        if image_mask is None:
            image_mask = self.model.find_images(input_ids if inputs_embeds is None else None, inputs_embeds)
        length = inputs["input_ids" if inputs.get("inputs_embeds") is None else "inputs_embeds"].shape[1]
        new = image_mask[:, -length:]
        if going_on and not new.any():
            return inputs
        if (
            int(new.sum()) != len(pixel_values) * self.model.image_sequence_length
        ):  # beside new ones, those of the cache
            rows, counts = self._by_row(pixel_values, image_mask), self._counts(new)
            pixel_values = torch.cat([row[len(row) - count :] for row, count in zip(rows, counts, strict=True)])
        return inputs | {"pixel_values": pixel_values, "image_mask": new}

    def _counts(self, image_mask: torch.Tensor) -> list[int]:
        """Pictures in each row."""
        return (image_mask.sum(1) // self.model.image_sequence_length).tolist()

    def _by_row(self, pixel_values: torch.Tensor, image_mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Pictures, which come row by row."""
        length = self.model.image_sequence_length
        if int(image_mask.sum()) != len(pixel_values) * length:
            raise ValueError(
                f"the prompts hold {int(image_mask.sum())} image positions, but {len(pixel_values)} pictures need "
                f"{len(pixel_values) * length}, {length} each"
            )
        return pixel_values.split(self._counts(image_mask))

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
            mask, embeddings = model_kwargs.get("image_mask"), model_kwargs.get("inputs_embeds")
            if mask is None:
                mask = self.model.find_images(input_ids if embeddings is None else None, embeddings)
            rows = self._by_row(pixel_values, mask)
            pixel_values = torch.cat([row for row in rows for _ in range(expand_size)])
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
    def generate(self, inputs: torch.Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
        """transformers' generation; prompts padded on the right are moved to the right edge first."""
        input_ids, mask = kwargs.pop("input_ids", inputs), kwargs.get("attention_mask")
        if kwargs.get("inputs_embeds") is None:
            kwargs.pop("image_mask", None)  # the ids say it
        elif input_ids is not None and input_ids.shape == kwargs["inputs_embeds"].shape[:2]:
            kwargs.setdefault("image_mask", self.model.find_images(input_ids, None))
        if mask is not None and mask.ndim == 2:
            cache = kwargs.get("past_key_values")
            kept = 0 if cache is None else int(cache.get_seq_length())  # what a cache holds keeps its order
            order = torch.arange(mask.shape[1], device=mask.device).repeat(len(mask), 1)
            order[:, kept:] = kept + mask[:, kept:].argsort(dim=1, stable=True)  # padding left, real tokens in order
            input_ids = _moved(input_ids, order)
            kwargs |= {name: _moved(kwargs[name], order) for name in _BY_POSITION if name in kwargs}
        return super().generate(input_ids, *args, **kwargs)  # type: ignore[misc]


_BY_POSITION = ("attention_mask", "position_ids", "token_type_ids", "mm_token_type_ids", "image_mask", "inputs_embeds")


def _moved(values: torch.Tensor | None, order: torch.Tensor) -> torch.Tensor | None:
    """Values [B, T, ...] in another order of positions, or of the last of them, where only new ones are given."""
    if values is None or values.shape[0] != len(order) or not 0 < values.shape[1] <= order.shape[1]:
        return values
    known = order.shape[1] - values.shape[1]
    places = order[:, known:] - known
    if places.numel() and int(places.min()) < 0:  # not what the mask is about
        return values
    return values.gather(1, places if values.ndim == 2 else places[..., None].expand_as(values))


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
