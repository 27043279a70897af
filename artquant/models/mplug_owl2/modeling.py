"""mPLUG-Owl2 as native transformers classes; parameter names are the published ones.

Shape legend: B samples, I pictures, T merged positions, L positions of one picture, D hidden width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_utils import PreTrainedModel
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from artquant.models.mplug_owl2.abstractor import CrossAttention, VisualAbstractor
from artquant.models.mplug_owl2.configuration import SCALES, MPLUGOwl2Config
from artquant.models.mplug_owl2.decoder import ModalitySplit, MPLUGOwl2Attention, MPLUGOwl2DecoderLayer
from artquant.models.mplug_owl2.vision import VisionEmbeddings, VisionEncoder


class MPLUGOwl2PreTrainedModel(PreTrainedModel):
    """Initialisation, loading and saving shared by the classes below."""

    config_class = MPLUGOwl2Config
    config: MPLUGOwl2Config
    base_model_prefix = "model"
    input_modalities = ["image", "text"]  # noqa: RUF012
    supports_gradient_checkpointing = True
    _no_split_modules = ["MPLUGOwl2DecoderLayer", "VisionEncoderLayer", "AbstractorLayer"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_record_outputs = {  # noqa: RUF012
        "hidden_states": MPLUGOwl2DecoderLayer,
        "attentions": MPLUGOwl2Attention,
    }

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        deviation = self.config.initializer_range
        if isinstance(module, VisionEmbeddings):
            init.normal_(module.cls_token, std=deviation)
            init.normal_(module.position_embedding, std=deviation)
        elif isinstance(module, VisualAbstractor):
            init.normal_(module.query_embeds, std=deviation)
            init.normal_(module.vit_eos, std=deviation)
        elif isinstance(module, CrossAttention):
            for name, table in module.position_tables().items():
                init.copy_(module.get_buffer(name), torch.from_numpy(table))


class MPLUGOwl2LlamaModel(MPLUGOwl2PreTrainedModel):
    """Vision encoder, abstractor and decoder without the output head (mPLUG-Owl2, figure 2)."""

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, config.pad_token_id)
        self.layers = nn.ModuleList([MPLUGOwl2DecoderLayer(config, index) for index in range(config.num_hidden_layers)])
        self.norm = LlamaRMSNorm(config.hidden_size, eps=config.rms_norm_eps)
        self.rotary_emb = LlamaRotaryEmbedding(config=config)
        self.vision_model: VisionEncoder | nn.ModuleDict
        if config.multi_image:
            self.vision_model = nn.ModuleDict({scale: VisionEncoder(config) for scale in SCALES})
        else:
            self.vision_model = VisionEncoder(config)
        self.visual_abstractor: VisualAbstractor | nn.ModuleDict
        if config.multi_image or config.multi_scale:
            self.visual_abstractor = nn.ModuleDict({scale: VisualAbstractor(config) for scale in SCALES})
        else:
            self.visual_abstractor = VisualAbstractor(config)
        self.gradient_checkpointing = False
        self.post_init()

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Pictures as language-model vectors.

        Args:
            pixel_values: [I, 3, S, S]; with `multi_image` [I, 3 views, 3, S, S].

        Returns:
            [I, L, D]; L is 65 in the 7B model, three times that with `multi_scale` or `multi_image`.
        """
        vision, abstractor = self.vision_model, self.visual_abstractor
        if not isinstance(abstractor, nn.ModuleDict):
            return abstractor(vision(pixel_values))
        if isinstance(vision, nn.ModuleDict):
            seen = [vision[scale](pixel_values[:, index]) for index, scale in enumerate(SCALES)]
        else:
            seen = [vision(pixel_values)] * len(SCALES)
        return torch.cat([abstractor[scale](tokens) for scale, tokens in zip(SCALES, seen, strict=True)], dim=1)

    def _embed(
        self, input_ids: torch.Tensor, pixel_values: torch.Tensor | None
    ) -> tuple[torch.Tensor, ModalitySplit | None]:
        """Token embeddings with the image vectors in their places, and where those places are."""
        if pixel_values is None:
            return self.embed_tokens(input_ids), None
        image_mask_BT = input_ids == self.config.image_token_index
        image_positions = len(pixel_values) * self.config.image_sequence_length
        # Checked on the device: comparing on the host would wait for it.
        torch._assert_async(
            image_mask_BT.sum() == image_positions,
            f"input_ids must hold {image_positions} image positions ({self.config.image_sequence_length} for each of "
            f"the {len(pixel_values)} pictures in pixel_values); the processor expands the image token",
        )
        split = ModalitySplit.from_mask(image_mask_BT, image_positions)
        embeddings = self.embed_tokens(input_ids.masked_fill(image_mask_BT, 0))
        features = self.get_image_features(pixel_values).to(embeddings.dtype)
        merged = embeddings.flatten(0, 1).index_copy(0, split.image, features.flatten(0, 1))
        return merged.view_as(embeddings), split

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """One pass over merged sequences.

        Args:
            input_ids: [B, T], image positions hold `config.image_token_index`.
            pixel_values: [I, 3, S, S], one per run of L image positions, in order of appearance; None for text only
                (and for continuation, when the pictures are in the cache).
            attention_mask: [B, T], 1 at real positions; padding may be on either side.
            position_ids: [B, T]; by default counted over the real positions.
        """
        split = None
        if input_ids is not None and inputs_embeds is None:
            inputs_embeds, split = self._embed(input_ids, pixel_values)
        elif inputs_embeds is None or input_ids is not None:
            raise ValueError("give either input_ids or inputs_embeds")
        elif pixel_values is not None:
            raise ValueError("pixel_values need input_ids, which say where the pictures go")
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        packed_positions = position_ids  # packed sequences are looked for (a read) only in positions that were given
        if position_ids is None:
            position_ids = self._default_positions(inputs_embeds, attention_mask, past_key_values)
        causal_mask = create_causal_mask(
            config=self.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=packed_positions,
        )
        hidden_states = inputs_embeds
        position_embeddings = self.rotary_emb(hidden_states, position_ids=position_ids)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states,
                split=split,
                position_embeddings=position_embeddings,
                attention_mask=causal_mask,
                past_key_values=past_key_values,
                position_ids=position_ids,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values)

    @staticmethod
    def _default_positions(
        inputs_embeds: torch.Tensor, attention_mask: torch.Tensor | None, past_key_values: Cache | None
    ) -> torch.Tensor:
        length = inputs_embeds.shape[1]
        if attention_mask is not None and attention_mask.ndim == 2:
            return (attention_mask.long().cumsum(-1) - 1).clamp(min=0)[:, -length:]
        seen = past_key_values.get_seq_length() if past_key_values is not None else 0
        return torch.arange(seen, seen + length, device=inputs_embeds.device).unsqueeze(0)


class MPLUGOwl2LlamaForCausalLM(MPLUGOwl2PreTrainedModel, GenerationMixin):
    """mPLUG-Owl2 with its output head: the network of ArtQuant, DeQA-Score and Q-Align."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__(config)
        self.model = MPLUGOwl2LlamaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_image_features(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """See `MPLUGOwl2LlamaModel.get_image_features`."""
        return self.model.get_image_features(pixel_values)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits over the vocabulary where they are asked for.

        Args:
            input_ids, pixel_values, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache: see
                `MPLUGOwl2LlamaModel.forward`.
            labels: [B, T], -100 where nothing is to be predicted; gives the mean next-token cross-entropy.
            logits_to_keep: logits for the last so many positions (0: for all), or for the positions of a 1-D tensor.

        Returns:
            `loss` (with labels), `logits` [B, T', V], `past_key_values`.
        """
        outputs = self.model(
            input_ids=input_ids,
            pixel_values=pixel_values,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        hidden_states = outputs.last_hidden_state
        if isinstance(logits_to_keep, torch.Tensor):
            hidden_states = hidden_states[:, logits_to_keep]
        elif logits_to_keep:
            hidden_states = hidden_states[:, -logits_to_keep:]
        logits = self.lm_head(hidden_states)
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    # transformers types `self` of what follows as a class that no network has, and gives all arguments by name.
    def prepare_inputs_for_generation(  # type: ignore[override]
        self,
        input_ids: torch.Tensor,
        pixel_values: torch.Tensor | None = None,
        is_first_iteration: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Pictures are read once: afterwards they are in the cache."""
        given = kwargs | {"is_first_iteration": is_first_iteration}
        inputs = super().prepare_inputs_for_generation(input_ids, **given)  # type: ignore[misc, arg-type]
        if is_first_iteration or not kwargs.get("use_cache", True):
            inputs["pixel_values"] = pixel_values
        return inputs

    def _expand_inputs_for_generation(
        self,
        expand_size: int = 1,
        is_encoder_decoder: bool = False,
        input_ids: torch.LongTensor | None = None,
        **model_kwargs: Any,
    ) -> tuple[torch.LongTensor, dict[str, Any]]:
        """Each prompt's pictures are repeated together, however many it has."""
        pixel_values = model_kwargs.pop("pixel_values", None)
        if pixel_values is not None and input_ids is not None and expand_size > 1:
            positions = (input_ids == self.config.image_token_index).sum(1)
            counts = (positions // self.config.image_sequence_length).tolist()
            pixel_values = torch.cat([part for part in pixel_values.split(counts) for _ in range(expand_size)])
        input_ids, model_kwargs = super()._expand_inputs_for_generation(  # type: ignore[misc]
            expand_size, is_encoder_decoder, input_ids, **model_kwargs
        )
        if pixel_values is not None:
            model_kwargs["pixel_values"] = pixel_values
        return input_ids, model_kwargs

    @torch.no_grad()
    def generate(self, inputs: torch.Tensor | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """transformers' generation; prompts padded on the right are moved to the right edge first."""
        input_ids = kwargs.pop("input_ids", inputs)
        attention_mask = kwargs.get("attention_mask")
        if input_ids is not None and attention_mask is not None:
            input_ids, kwargs["attention_mask"] = _align_right(input_ids, attention_mask)
        return super().generate(input_ids, **kwargs)  # type: ignore[misc]


def _align_right(input_ids: torch.Tensor, attention_mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Move each row's padding to its left, keeping the order of the real tokens. Both [B, T]."""
    order = attention_mask.argsort(dim=1, stable=True)
    return input_ids.gather(1, order), attention_mask.gather(1, order)
