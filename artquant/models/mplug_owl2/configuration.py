"""Configuration of the mPLUG-Owl2 network, in the form of the published `config.json`.

The language model's fields lie at the top level (it is a LLaMA configuration); the vision encoder's and the visual
abstractor's are nested in `visual_config`, as plain dictionaries that are kept as they were read.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, TypeVar

from transformers import LlamaConfig

IMAGE_TOKEN_ID = -200  # outside every vocabulary, as in the published code
SCALES = ("low", "mid", "high")


@dataclass(frozen=True)
class VisionEncoderConfig:
    """Shape of the vision transformer (mPLUG-Owl2, section 3.1: ViT-L/14)."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    image_size: int = 448  # pixels, height = width
    patch_size: int = 14  # pixels
    num_channels: int = 3
    layer_norm_eps: float = 1e-6
    hidden_act: str = "quick_gelu"
    attention_dropout: float = 0.0

    @property
    def grid_size(self) -> int:
        """Patches along one side of the image."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class AbstractorConfig:
    """Shape of the visual abstractor (mPLUG-Owl2, section 3.1)."""

    hidden_size: int = 1024
    intermediate_size: int = 2816
    num_hidden_layers: int = 6
    num_attention_heads: int = 16
    num_learnable_queries: int = 64
    encoder_hidden_size: int = 1024  # width of the vision encoder's output
    grid_size: int = 32  # patches along one side of the image
    layer_norm_eps: float = 1e-6
    attention_probs_dropout_prob: float = 0.0


_Shape = TypeVar("_Shape", VisionEncoderConfig, AbstractorConfig)


def _from_dict(cls: type[_Shape], values: dict[str, Any]) -> _Shape:
    names = {field.name for field in fields(cls)}
    return cls(**{name: value for name, value in values.items() if name in names})


class MPLUGOwl2Config(LlamaConfig):
    """A LLaMA configuration with `visual_config` (mPLUG-Owl2, arXiv 2311.04257).

    Args beyond LLaMA's:
        visual_config: `{"visual_model": {...}, "visual_abstractor": {...}}`; missing values are those of the 7B model.
        image_token_index: id that stands for one image position in `input_ids`. It lies outside the vocabulary.
        multi_scale: three abstractors (`low`, `mid`, `high`) over one vision encoder, outputs joined.
        multi_image: three vision encoders and three abstractors, one per view of the picture.
    """

    model_type = "mplug_owl2"
    # No code lies in a folder; TRL looks for it where transformers does not know a class.
    auto_map: ClassVar[dict[str, str]] = {}
    attribute_map = {"image_token_id": "image_token_index"}  # noqa: RUF012  # the name that transformers gives it

    # LLaMA's plan for several devices; there keys and values exist once, here in two branches.
    base_model_tp_plan = {  # noqa: RUF012
        "layers.*.self_attn.q_proj": "colwise",
        "layers.*.self_attn.k_proj.multiway.*": "colwise",
        "layers.*.self_attn.v_proj.multiway.*": "colwise",
        "layers.*.self_attn.o_proj": "rowwise",
        "layers.*.mlp.gate_proj": "colwise",
        "layers.*.mlp.up_proj": "colwise",
        "layers.*.mlp.down_proj": "rowwise",
    }

    visual_config: dict[str, Any] = field(default_factory=dict)
    image_token_index: int = IMAGE_TOKEN_ID
    multi_scale: bool = False
    multi_image: bool = False

    def __post_init__(self, **kwargs: Any) -> None:
        self.visual_config = {"visual_model": {}, "visual_abstractor": {}} | (self.visual_config or {})
        super().__post_init__(**kwargs)
        encoder, abstractor = self.vision, self.abstractor
        if abstractor.grid_size != encoder.grid_size or abstractor.encoder_hidden_size != encoder.hidden_size:
            raise ValueError(
                f"visual_config does not fit together: the abstractor expects grid {abstractor.grid_size} and width "
                f"{abstractor.encoder_hidden_size}, the encoder gives {encoder.grid_size} and {encoder.hidden_size}"
            )
        if abstractor.encoder_hidden_size != abstractor.hidden_size:
            raise ValueError(
                "visual_config: the abstractor's hidden_size must equal its encoder_hidden_size, since keys join both "
                f"(got {abstractor.hidden_size} and {abstractor.encoder_hidden_size})"
            )

    @property
    def vision(self) -> VisionEncoderConfig:
        """The vision encoder's part of `visual_config`."""
        return _from_dict(VisionEncoderConfig, self.visual_config["visual_model"])

    @property
    def abstractor(self) -> AbstractorConfig:
        """The abstractor's part of `visual_config`."""
        return _from_dict(AbstractorConfig, self.visual_config["visual_abstractor"])

    @property
    def image_sequence_length(self) -> int:
        """Positions that one picture takes in the merged sequence (7B model: 64 queries + 1 end vector = 65)."""
        branches = len(SCALES) if self.multi_scale or self.multi_image else 1
        return branches * (self.abstractor.num_learnable_queries + 1)

    def to_dict(self) -> dict[str, Any]:
        """All fields, the rotary base and the data type also under the names that the published code reads."""
        values = super().to_dict()
        values["rope_theta"] = values["rope_parameters"]["rope_theta"]
        values["torch_dtype"] = values.get("dtype")
        return values

    def to_json_string(self, use_diff: bool = True) -> str:
        """Every field, not only what differs from a default: the published code's defaults are not ours.

        But not where it was loaded from, nor labels, which no head has.
        """
        values = json.loads(super().to_json_string(use_diff=False))
        kept = {name: value for name, value in values.items() if name not in ("_name_or_path", "id2label", "label2id")}
        return json.dumps(kept, indent=2, sort_keys=True) + "\n"
