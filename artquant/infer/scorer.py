"""The Python interface: pictures in, scores or descriptions out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch.nn.functional import pad

from artquant.batches.samples import encode_row
from artquant.config.load import convert
from artquant.config.schema import Loading
from artquant.data.images import as_rgb
from artquant.data.predictions import Prediction
from artquant.errors import ArtQuantError
from artquant.infer.packed import MASKING_ATTENTIONS, PackedPrompts
from artquant.models.family import NetworkInputs, Row
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import LoadedModel, load_model
from artquant.readouts import Scores


@dataclass(frozen=True)
class Score(Prediction):
    """One picture's score, on the scale of the model (APDD: 1 to 10)."""

    std: float = 0.0  # standard deviation of the score
    attributes: Mapping[str, Score] = field(default_factory=dict)  # by attribute, where they were asked for

    @property
    def probs(self) -> Mapping[str, float]:
        """Probability of each rating word (or score token)."""
        return self.columns["probs"]

    @property
    def logits(self) -> Mapping[str, float]:
        """Logit of each rating word (or score token)."""
        return self.columns["logits"]


class Scorer:
    """Scores and describes pictures with one model.

    Example:
        >>> scorer = Scorer.from_pretrained("runs/demo/scores/model")
        >>> [result] = scorer([Image.open("painting.jpg")])
        >>> result.score
    """

    def __init__(self, loaded: LoadedModel, device: str | torch.device = "cpu"):
        self.loaded = loaded
        self.device = torch.device(device)
        self.network = (loaded.network if loaded.stays else loaded.network.to(self.device)).eval()
        self.processor = loaded.processor
        # The prompts are the same for every picture: tokenised once.
        self._rows: dict[str | None, Row] = {}
        self._packed: dict[tuple[str, ...], PackedPrompts] = {}

    @classmethod
    def from_pretrained(
        cls,
        folder: ModelFolder | Path | str,
        base: Path | str | None = None,
        device: str = "auto",
        prompt: str | None = None,
        weights: Sequence[float] | None = None,
        allow_other_base: bool = False,
        **loading: Any,
    ) -> Scorer:
        """Load a model folder: one that we trained, or a published one in full or adapter form.

        Args:
            folder: the model folder, or one that was opened already.
            base: base model folder, for a published LoRA run, or for a full fine-tune saved without tokenizer.
            device: "auto" (the first GPU, else the CPU), "cpu", "cuda:1", ...
            prompt: name of the prompt; default is the model's own.
            weights: the rating words' scores, best first; default are the model's own.
            allow_other_base: put an adapter over a base that it was not trained over.
            loading: `dtype`, `attention`, `quantize`, ...: see `artquant.config.schema.Loading`.

        Raises:
            ArtQuantError: the folder is no usable model, or the device is not there.
        """
        chosen = choose_device(device)
        if not isinstance(folder, ModelFolder):
            folder = ModelFolder.open(folder, base, allow_other_base=allow_other_base)
        scorer = cls(load_model(folder, convert(Loading, loading, ""), prompt, weights), chosen)
        scorer.network.precise()
        return scorer

    def _row(self, attribute: str | None) -> Row:
        if attribute not in self._rows:
            self._rows[attribute] = encode_row(self.processor, self.loaded.prompt.scoring(attribute))
        return self._rows[attribute]

    def score_pictures(self, pictures: Sequence[Any], attributes: Sequence[str] = ()) -> list[Score]:
        """Scores of prepared pictures (`Processor.picture`); of the whole and of each attribute.

        Where the family of networks allows it, all are read in one pass.

        Args:
            attributes: names, as `LoadedModel.attributes` lists those that the model was trained on.

        Raises:
            ArtQuantError: attributes cannot be packed with flash_attention_2, or two have the same words.
        """
        if attributes and self.loaded.family.packs:
            inputs, ends = self._packed_inputs(pictures, tuple(attributes))
            found = [self._scores(inputs, ends)]
        else:
            found = []
            for attribute in (None, *attributes):
                inputs = self.processor.inputs([self._row(attribute)] * len(pictures), pictures)
                found.append(self._scores(inputs.to(self.device), inputs.ends()[:, None] - 1))
        each = [[score for part in found for score in part[row]] for row in range(len(pictures))]
        return [replace(total, attributes=dict(zip(attributes, others, strict=True))) for total, *others in each]

    def _scores(self, inputs: NetworkInputs, ends: torch.Tensor) -> list[list[Score]]:
        """Scores at places of each row. ends: [B, N] positions that predict them."""
        rows, width = inputs["input_ids"].shape
        positions = (ends + width * torch.arange(rows)[:, None]).flatten().to(self.device)
        scores = _listed(self.loaded.readout.read(self.network.see(inputs, positions)))
        count = ends.shape[1]
        return [scores[start : start + count] for start in range(0, len(scores), count)]

    def _packed_inputs(
        self, pictures: Sequence[Any], attributes: tuple[str, ...]
    ) -> tuple[NetworkInputs, torch.Tensor]:
        """One row a picture that holds the endings of all prompts, and where they end [B, N]."""
        attention = self.network.config._attn_implementation
        if attention not in MASKING_ATTENTIONS:
            raise ArtQuantError(
                f"attributes are scored together with attention {' or '.join(MASKING_ATTENTIONS)}, not {attention}; "
                "set infer.attention or --attention"
            )
        first = self.processor.inputs([self._row(None)] * len(pictures), pictures)
        if attributes not in self._packed:
            rows = [self._row(attribute) for attribute in (None, *attributes)]
            one = self.processor.inputs(rows, list(pictures[:1]) * len(rows))
            prompts = [ids[:end].tolist() for ids, end in zip(one["input_ids"], one.ends().tolist(), strict=True)]
            self._packed[attributes] = PackedPrompts.from_prompts(prompts)
        packed = self._packed[attributes]
        dtype = self.network.plain.dtype
        # What is said of positions is said of what all prompts share.
        more = len(packed.input_ids) - first["input_ids"].shape[1]
        places = {
            name: pad(value, (0, more)) for name, value in first.items() if value.shape == first["input_ids"].shape
        }
        inputs = NetworkInputs(first.tensors | places | packed.inputs(len(pictures), dtype, self.device))
        return inputs.to(self.device), packed.last.expand(len(pictures), -1)

    def __call__(
        self, images: Sequence[Image.Image], batch_size: int = 16, attributes: Sequence[str] = ()
    ) -> list[Score]:
        """Scores of pictures of any size and mode, in order; they are read as `artquant.data.images.as_rgb` says.

        Args:
            attributes: as in `score_pictures`.
        """
        return [
            score
            for batch in _batches(images, batch_size)
            for score in self.score_pictures(self._prepared(batch), attributes)
        ]

    def _prepared(self, images: Sequence[Image.Image]) -> list[Any]:
        return [self.processor.picture(as_rgb(image)) for image in images]

    @torch.inference_mode()
    def describe(
        self, images: Sequence[Image.Image], level: int = 3, max_new_tokens: int = 512, batch_size: int = 8
    ) -> list[str]:
        """Descriptions of pictures, the likeliest words.

        Args:
            level: 1 perception, 2 perception and cognition, 3 perception, cognition and emotion.
            max_new_tokens: where a description is cut off at the latest.
        """
        network: Any = self.network.plain  # transformers' type of all networks does not say that it can generate
        row = encode_row(self.processor, self.loaded.prompt.describing(level))
        texts = []
        for batch in _batches(images, batch_size):
            inputs = self.processor.inputs([row] * len(batch), self._prepared(batch), padding_side="left")
            generated = network.generate(
                **inputs.to(self.device, network.dtype),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                use_cache=True,  # models that older releases trained say no
                pad_token_id=self.processor.pad_token_id,
            )
            answers = generated[:, inputs["input_ids"].shape[1] :].tolist()
            texts += [self.processor.decode(answer, skip_special_tokens=True).strip() for answer in answers]
        return texts


def _listed(scores: Scores) -> list[Score]:
    """Scores as plain values."""
    columns = {
        name: [dict(zip(scores.labels, row, strict=True)) for row in values.tolist()]
        for name, values in scores.columns.items()
    }
    moments = zip(scores.score.tolist(), scores.std.tolist(), strict=True)
    return [
        Score(score, std, {name: rows[index] for name, rows in columns.items()})
        for index, (score, std) in enumerate(moments)
    ]


def choose_device(name: str) -> torch.device:
    """A device by name; "auto" is the first GPU, else the CPU.

    Raises:
        ArtQuantError: no such device on this machine.
    """
    if name == "auto":
        return torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ArtQuantError(f"device {name!r} is not known; name auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ArtQuantError(f"device {name}: this machine has {torch.cuda.device_count()} GPU(s); name another or cpu")
    return device


def _batches(images: Sequence[Image.Image], size: int) -> Iterator[Sequence[Image.Image]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]
