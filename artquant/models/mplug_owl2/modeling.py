"""mPLUG-Owl2 as native transformers classes; parameter names are the published ones.

Shape legend: B samples, I pictures, T merged positions, L positions of one picture, D hidden width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutputWithPast, BaseModelOutputWithPooling, CausalLMOutputWithPast
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding
from transformers.utils import torch_compilable_check
from transformers.utils.generic import can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from artquant.models.family import GivesStatesAt
from artquant.models.mplug_owl2.abstractor import VisualAbstractor
from artquant.models.mplug_owl2.configuration import SCALES, MPLUGOwl2Config
from artquant.models.mplug_owl2.decoder import ModalitySplit, MPLUGOwl2Attention, MPLUGOwl2DecoderLayer, TokenEmbedding
from artquant.models.mplug_owl2.generation import PictureGeneration
from artquant.models.mplug_owl2.pretrained import MPLUGOwl2PreTrainedModel
from artquant.models.mplug_owl2.vision import VisionEncoder


class MPLUGOwl2LlamaModel(MPLUGOwl2PreTrainedModel, GivesStatesAt):
    """Vision encoder, abstractor and decoder without the output head (mPLUG-Owl2, figure 2)."""

    _can_record_outputs = {"hidden_states": MPLUGOwl2DecoderLayer, "attentions": MPLUGOwl2Attention}  # noqa: RUF012

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__(config)
        self.image_sequence_length = config.image_sequence_length
        self.embed_tokens = TokenEmbedding(config)
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

    @merge_with_config_defaults
    @can_return_tuple
    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Pictures as language-model vectors.

        Args:
            pixel_values: [I, 3, S, S]; with `multi_image` [I, 3 views, 3, S, S].
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`: of the vision encoder.

        Returns:
            `pooler_output` [I, L, D]: the vectors; L is 65 in the 7B model, three times that with `multi_scale` or
            `multi_image`. `last_hidden_state` [I, N, D'], `hidden_states`, `attentions`: the vision encoder's (those of
            several one after the other).
        """
        vision, abstractor = self.vision_model, self.visual_abstractor
        kwargs["return_dict"] = True
        if isinstance(vision, nn.ModuleDict):
            views = {scale: vision[scale](pixel_values[:, index], **kwargs) for index, scale in enumerate(SCALES)}
        else:
            views = dict.fromkeys(SCALES, vision(pixel_values, **kwargs))
        if isinstance(abstractor, nn.ModuleDict):
            pooled = torch.cat([abstractor[scale](views[scale].last_hidden_state) for scale in SCALES], dim=1)
        else:
            pooled = abstractor(views[SCALES[0]].last_hidden_state)
        seen = list({id(view): view for view in views.values()}.values())
        return BaseModelOutputWithPooling(
            last_hidden_state=torch.cat([view.last_hidden_state for view in seen], dim=1),
            pooler_output=pooled,
            hidden_states=None if seen[0].hidden_states is None else sum((view.hidden_states for view in seen), ()),
            attentions=None if seen[0].attentions is None else sum((view.attentions for view in seen), ()),
        )

    def find_images(self, input_ids: torch.Tensor | None, inputs_embeds: torch.Tensor | None) -> torch.Tensor:
        """Where pictures lie, [B, T]: by their id, or by what `get_input_embeddings()` makes of it."""
        image_token = self.config.image_token_id
        if input_ids is not None:
            return input_ids == image_token
        assert inputs_embeds is not None
        if image_token < 0:
            return inputs_embeds.isnan().all(-1)
        # As many as there are positions: an adapter's product is rounded by its shape.
        pictures = torch.full(inputs_embeds.shape[:2], image_token, device=inputs_embeds.device)
        return (inputs_embeds == self.embed_tokens(pictures)).all(-1)

    def _embed(
        self,
        input_ids: torch.Tensor | None,
        inputs_embeds: torch.Tensor | None,
        pixel_values: torch.Tensor | None,
        image_mask: torch.Tensor | None,
    ) -> tuple[torch.Tensor, ModalitySplit | None]:
        """Token embeddings with the image vectors in their places, and where those places are."""
        embeddings = inputs_embeds
        if embeddings is None:  # an adapter's table knows nothing of an id outside of the vocabulary
            image_token = self.config.image_token_id
            assert input_ids is not None
            ids = input_ids if image_token >= 0 else input_ids.masked_fill(input_ids == image_token, 0)
            embeddings = self.embed_tokens(ids)
        if pixel_values is None:
            # A single id was generated: no need to wait. A picture's id within the vocabulary is a word like others.
            if input_ids is not None and input_ids.shape[-1] > 1 and self.config.image_token_id < 0:
                torch_compilable_check(
                    ~self.find_images(input_ids, None).any(), "input_ids hold pictures, but there are no pixel_values"
                )
            return embeddings, None
        positions = len(pixel_values) * self.image_sequence_length
        if image_mask is None:
            image_mask = self.find_images(input_ids, inputs_embeds)
            torch_compilable_check(
                image_mask.sum() == positions,
                lambda: (
                    f"the prompts hold {int(image_mask.sum())} image positions, but {len(pixel_values)} pictures need "
                    f"{positions}, {self.image_sequence_length} each; the processor expands the image token"
                ),
            )
        split = ModalitySplit.from_mask(image_mask, positions)
        # No cache, whatever the configuration says of the text's: transformers warns of it beside checkpointing.
        found = self.get_image_features(pixel_values, return_dict=True, use_cache=False)
        features = found.pooler_output.to(embeddings.dtype)
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
        image_mask: torch.Tensor | None = None,
        states_at: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """One pass over merged sequences.

        Args:
            input_ids: [B, T], image positions hold `config.image_token_id`.
            pixel_values: [I, 3, S, S], one per run of L image positions, in order of appearance; None for text only
                (and for continuation, when the pictures are in the cache).
            attention_mask: [B, T], 1 at real positions; padding may be on either side.
            position_ids: [B, T]; by default counted over the real positions.
            inputs_embeds: [B, T, D], instead of ids; pictures' places hold what `get_input_embeddings()` gives for
                their id, or are named by `image_mask`.
            image_mask: [B, T], true at image positions, as the processor's `inputs` gives it; it is taken as it is.
                Without one the positions are looked for and counted, for which the host waits for the device.
            states_at: [M] flat positions b * T + t, for which alone the last layer is finished: the states are [M, D].

        Raises:
            ValueError: image positions and pictures do not fit together.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        inputs_embeds, split = self._embed(input_ids, inputs_embeds, pixel_values, image_mask)
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
        last = self.config.num_hidden_layers  # fewer than there are for a draft of itself
        for number, layer in enumerate(self.layers[:last], 1):
            hidden_states = layer(
                hidden_states,
                chosen=states_at if number == last else None,
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


class MPLUGOwl2LlamaForCausalLM(MPLUGOwl2PreTrainedModel, PictureGeneration, GenerationMixin):
    """mPLUG-Owl2 with its output head: the network of ArtQuant, DeQA-Score and Q-Align."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}  # noqa: RUF012
    # Derived values, and a parameter of ROC4MLLM's that is used nowhere.
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq$", r"^learned_weight$"]  # noqa: RUF012
    _tp_plan = {"lm_head": "colwise_gather_output"}  # noqa: RUF012
    _pp_plan = {"lm_head": (["hidden_states"], ["logits"])}  # type: ignore[dict-item]  # noqa: RUF012

    def __init__(self, config: MPLUGOwl2Config):
        super().__init__(config)
        self.model = MPLUGOwl2LlamaModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def get_image_features(self, pixel_values: torch.Tensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See `MPLUGOwl2LlamaModel.get_image_features`."""
        return self.model.get_image_features(pixel_values, **kwargs)

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
        image_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits over the vocabulary where they are asked for.

        Args:
            input_ids, pixel_values, attention_mask, position_ids, past_key_values, inputs_embeds, use_cache: see
                `MPLUGOwl2LlamaModel.forward`, as for `image_mask`.
            labels: [B, T], -100 or a picture's id where nothing is predicted; gives the mean next-token cross-entropy.
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
            image_mask=image_mask,
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
            if self.config.image_token_id < 0:  # collators copy the ids
                labels = labels.masked_fill(labels == self.config.image_token_id, -100)
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )
