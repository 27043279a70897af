"""The Python interface: pictures in, scores or descriptions out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from PIL import Image

from artquant.data.images import as_rgb
from artquant.errors import ArtQuantError
from artquant.infer.packed import MASKING_ATTENTIONS, PackedPrompts
from artquant.models.checkpoints import DTYPES, LoadedModel, load_model
from artquant.models.quantize import Quantization


@dataclass(frozen=True)
class Score:
    """One picture's score, on the scale of the model's rating words (APDD: 1 to 10)."""

    score: float  # expectation over the rating words
    std: float  # standard deviation over the rating words
    probs: dict[str, float]  # of each rating word
    logits: dict[str, float]  # of each rating word
    attributes: dict[str, Score] = field(default_factory=dict)  # by attribute, where they were asked for


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
        # 8-bit weights stay where the library has put them.
        self.model = (loaded.model if loaded.quantize == "int8" else loaded.model.to(self.device)).eval()
        self.image_processor = loaded.processor.image_processor
        self._head = self.model.get_output_embeddings().weight.detach().float()  # [V, D]
        # The prompts are the same for every picture: tokenised once.
        self._score_ids = self._prompt_ids(loaded.prompt.score_context())
        self._packed: dict[tuple[str, ...], PackedPrompts] = {}

    @classmethod
    def from_pretrained(
        cls,
        folder: Path | str,
        base: Path | str | None = None,
        device: str = "auto",
        dtype: str = "float32",
        attention: str = "sdpa",
        prompt: str | None = None,
        weights: Iterable[float] | None = None,
        quantize: Quantization | None = None,
        allow_other_base: bool = False,
    ) -> Scorer:
        """Load a model folder: one that we trained, or a published one in full or adapter form.

        Args:
            folder: the model folder.
            base: base model folder, for a published LoRA run, or for a full fine-tune saved without tokenizer.
            device: "auto" (the first GPU, else the CPU), "cpu", "cuda:1", ...
            dtype: "float32" or "bfloat16".
            attention: "eager", "sdpa" or "flash_attention_2".
            prompt: name of the prompt; default is the model's own.
            weights: the rating words' scores, best first; default are the model's own.
            quantize: "nf4" or "int8", the decoder in 4 or 8 bits; None: as it is.
            allow_other_base: put an adapter over a base that it was not trained over.

        Raises:
            ArtQuantError: the folder is no usable model, or the device is not there.
        """
        chosen = choose_device(device)
        loaded = load_model(folder, base, _dtype(dtype), attention, prompt, weights, quantize, allow_other_base)
        return cls(loaded, chosen)

    def _prompt_ids(self, text: str) -> torch.Tensor:
        processor = self.loaded.processor
        return torch.tensor(processor.expand(processor.tokenize(text)), device=self.device)

    @torch.no_grad()  # not inference mode: training goes on with what ZeRO-3 gathers here
    def score_pixels(self, pixel_values: torch.Tensor, attributes: Sequence[str] = ()) -> list[Score]:
        """Scores of prepared pictures [B, 3, S, S]; of the whole and of each attribute, in one pass.

        Args:
            attributes: names, as `LoadedModel.attributes` lists those that the model was trained on.

        Raises:
            ArtQuantError: attributes cannot be packed with flash_attention_2, or two have the same words.
        """
        pixel_values = pixel_values.to(self.device, self.model.dtype)
        if attributes:
            packed = self._packed_prompts(tuple(attributes))
            inputs = packed.inputs(len(pixel_values), self.model.dtype, self.device)
            ends = packed.last.to(self.device)
        else:
            inputs = {"input_ids": self._score_ids.expand(len(pixel_values), -1)}
            ends = torch.tensor([len(self._score_ids) - 1], device=self.device)
        outputs = self.model.base_model(**inputs, pixel_values=pixel_values, use_cache=False)
        # The head in float32 and at few positions: in bfloat16 the logits would be rounded to steps of up to 0.1.
        hidden = outputs.last_hidden_state.index_select(1, ends).float()
        with torch.autocast(self.device.type, enabled=False):  # validation comes here from mixed-precision training
            logits = hidden @ self._head.T
        scores = self._read(logits.flatten(0, 1))
        rows = [scores[start : start + len(ends)] for start in range(0, len(scores), len(ends))]
        return [replace(total, attributes=dict(zip(attributes, others, strict=True))) for total, *others in rows]

    def _read(self, logits: torch.Tensor) -> list[Score]:
        """Scores from logits [M, V]."""
        scores = self.loaded.readout.score(logits)
        words = self.loaded.readout.words
        columns = (scores.score.tolist(), scores.std.tolist(), scores.probs.tolist(), scores.logits.tolist())
        return [
            Score(score, std, dict(zip(words, probs, strict=True)), dict(zip(words, logits, strict=True)))
            for score, std, probs, logits in zip(*columns, strict=True)
        ]

    def _packed_prompts(self, attributes: tuple[str, ...]) -> PackedPrompts:
        attention = self.model.config._attn_implementation
        if attention not in MASKING_ATTENTIONS:
            raise ArtQuantError(
                f"attributes are scored together with attention {' or '.join(MASKING_ATTENTIONS)}, not {attention}; "
                "set infer.attention or --attention"
            )
        if attributes not in self._packed:
            prompt, processor = self.loaded.prompt, self.loaded.processor
            contexts = [prompt.score_context(attribute) for attribute in (None, *attributes)]
            self._packed[attributes] = PackedPrompts.from_prompts(
                [processor.expand(processor.tokenize(context)) for context in contexts]
            )
        return self._packed[attributes]

    def __call__(
        self, images: Sequence[Image.Image], batch_size: int = 16, attributes: Sequence[str] = ()
    ) -> list[Score]:
        """Scores of pictures of any size and mode, in order; they are read as `artquant.data.images.as_rgb` says.

        Args:
            attributes: as in `score_pixels`.
        """
        return [
            score
            for batch in _batches(images, batch_size)
            for score in self.score_pixels(self._pixels(batch), attributes)
        ]

    def _pixels(self, images: Sequence[Image.Image]) -> torch.Tensor:
        return self.image_processor([as_rgb(image) for image in images])["pixel_values"]

    @torch.inference_mode()
    def describe(
        self, images: Sequence[Image.Image], level: int = 3, max_new_tokens: int = 512, batch_size: int = 8
    ) -> list[str]:
        """Descriptions of pictures, the likeliest words.

        Args:
            level: 1 perception, 2 perception and cognition, 3 perception, cognition and emotion.
            max_new_tokens: where a description is cut off at the latest.
        """
        prompt_ids = self._prompt_ids(self.loaded.prompt.description_context(level))
        texts = []
        for batch in _batches(images, batch_size):
            input_ids = prompt_ids.expand(len(batch), -1)
            generated = self.model.generate(
                input_ids=input_ids,
                attention_mask=torch.ones_like(input_ids),
                pixel_values=self._pixels(batch).to(self.device, self.model.dtype),
                max_new_tokens=max_new_tokens,
                do_sample=False,
                pad_token_id=self.loaded.processor.pad_token_id,
            )
            answers = generated[:, input_ids.shape[1] :]
            texts += [text.strip() for text in self.loaded.processor.batch_decode(answers, skip_special_tokens=True)]
        return texts


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


def _dtype(name: str) -> torch.dtype:
    if name not in DTYPES:
        raise ArtQuantError(f"dtype {name!r} is not known; name {' or '.join(DTYPES)}")
    return DTYPES[name]


def _batches(images: Sequence[Image.Image], size: int) -> Iterator[Sequence[Image.Image]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]
