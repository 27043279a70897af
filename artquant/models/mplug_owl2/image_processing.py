"""Pictures to tensors, as the published mPLUG-Owl2 code does it.

Shape legend: I pictures, S pixels of a side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import BatchFeature
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD
from transformers.processing_utils import ImagesKwargs

from artquant.data.images import to_rgb
from artquant.models.mplug_owl2.configuration import SCALES

PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


class MPLUGOwl2ImageProcessorKwargs(ImagesKwargs, total=False):
    """What the image processor takes beside transformers' own settings.

    view_sizes: for `multi_image` models, the sides in pixels to which the square is reduced before it is brought to
        `size`, one per view (`low`, `mid`, `high`). The published code leaves the views to its user; ours show the
        layout, the forms and the detail of the same picture.
    """

    view_sizes: list[int] | None


def pad_to_square(image: Image.Image, colour: tuple[int, ...]) -> Image.Image:
    """The picture centred on a square of the given colour; an odd surplus goes to the right or bottom."""
    width, height = image.size
    if width == height:
        return image
    side = max(width, height)
    square = Image.new("RGB", (side, side), colour)
    square.paste(image, ((side - width) // 2, (side - height) // 2))
    return square


class MPLUGOwl2ImageProcessor(PilBackend):
    """Pad to a square with the mean colour, resize (bicubic, Pillow), scale to 0-1, normalise.

    Reads and writes the published `preprocessor_config.json`. Always works through Pillow, whatever else is installed,
    because other backends resize to slightly different values. Grey, transparent and other pictures become RGB as files
    do (`artquant.data.images`); arrays and tensors have 1, 3 or 4 channels, first or last, of 0-255 or, in floating
    point, of 0-1.

    Args:
        size: side of the result in pixels, as an integer or in transformers' dictionary form.
        crop_size: accepted because published files hold it; must equal `size`.
        image_mean, image_std: per channel, on the 0-1 scale.
        resample: Pillow's number of the resampling filter (3: bicubic).
        do_pad: whether the picture is padded to a square; otherwise it is stretched.
        do_resize, do_rescale, rescale_factor, do_normalize: as everywhere in transformers.
    """

    model_input_names = ["pixel_values"]  # noqa: RUF012
    valid_kwargs = MPLUGOwl2ImageProcessorKwargs
    size = {"height": 448, "width": 448}  # noqa: RUF012
    image_mean = OPENAI_CLIP_MEAN
    image_std = OPENAI_CLIP_STD
    resample = Image.Resampling.BICUBIC
    do_pad = True
    do_resize = True
    do_rescale = True
    do_normalize = True
    do_convert_rgb = True
    view_sizes: list[int] | None = None

    def __init__(self, size: Any = None, crop_size: Any = None, **kwargs: Any):
        sides = {name: _side(given) for name, given in (("size", size), ("crop_size", crop_size)) if given is not None}
        super().__init__(**sides, **kwargs)
        if sides.get("crop_size", self.side) != self.side:
            raise ValueError(f"preprocessor: crop_size {sides['crop_size']} must equal size {self.side}")
        if self.view_sizes is not None and len(self.view_sizes) != len(SCALES):
            raise ValueError(f"preprocessor: view_sizes must hold {len(SCALES)} sizes, got {self.view_sizes}")

    @classmethod
    def from_dict(cls, image_processor_dict: dict[str, Any], **kwargs: Any) -> Any:
        """From a file's values; a size that is given wins over both of the file's."""
        if "size" in kwargs:
            image_processor_dict = image_processor_dict | {"crop_size": kwargs.get("crop_size", kwargs["size"])}
        return super().from_dict(image_processor_dict, **kwargs)

    @property
    def side(self) -> int:
        """Pixels of a side of what the network sees."""
        return _side(dict(self.size))

    def to_dict(self) -> dict[str, Any]:
        """Sizes as published files have them."""
        return super().to_dict() | {"size": self.side, "crop_size": self.side}

    def process_image(self, image: Any, do_convert_rgb: bool | None = None, **kwargs: Any) -> Any:  # type: ignore[override]
        """A picture as Pillow's, RGB; of an array or tensor the values are kept if they are on the 0-1 scale."""
        if isinstance(image, Image.Image):
            return image if image.mode == "RGB" else to_rgb(image)
        return super().process_image(image, do_convert_rgb=False, **kwargs)

    def _preprocess(  # type: ignore[override]  # all arguments are given by name
        self,
        images: Sequence[Any],
        return_tensors: Any = None,
        **settings: Any,
    ) -> BatchFeature:
        """Pictures -> `pixel_values`, float32 [I, 3, S, S] (with views [I, 3 views, 3, S, S])."""
        pixels = [_prepared(image, settings) for image in images]
        if return_tensors is not None and len({one.shape for one in pixels}) > 1:
            raise ValueError("pictures of several sizes need do_resize to become one tensor")
        return BatchFeature({"pixel_values": pixels}, tensor_type=return_tensors)

    def picture(self, image: Image.Image) -> torch.Tensor:
        """One RGB picture with the settings as they are, [3, S, S] or [3 views, 3, S, S]: half the time of a call."""
        return torch.from_numpy(_prepared(image, vars(self)))


def _prepared(image: Any, settings: Mapping[str, Any]) -> np.ndarray:
    """One picture, [3, S, S] or [3 views, 3, S, S]."""
    fractions = not isinstance(image, Image.Image) and np.issubdtype(image.dtype, np.floating) and image.max() <= 1
    picture = image if isinstance(image, Image.Image) else _from_array(image, 255 if fractions else 1)
    if settings["do_pad"]:
        picture = pad_to_square(picture, tuple(int(255 * mean) for mean in settings["image_mean"]))

    def values(view: Image.Image) -> np.ndarray:
        if settings["do_resize"]:
            size = settings["size"]
            view = view.resize((_side(dict(size)),) * 2, settings["resample"])
        pixels = np.array(view, dtype=np.float32)
        if settings["do_rescale"]:
            pixels *= np.float32(settings["rescale_factor"])  # in place: half the time
        elif fractions:
            pixels *= np.float32(1 / 255)
        if settings["do_normalize"]:
            mean, std = np.array([settings["image_mean"], settings["image_std"]], dtype=np.float32)
            pixels -= mean
            pixels /= std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    if settings["view_sizes"] is None:
        return values(picture)
    reduced = [(min(side, picture.width),) * 2 for side in settings["view_sizes"]]
    return np.stack([values(picture.resize(size, settings["resample"])) for size in reduced])


def _from_array(values: np.ndarray, scale: int) -> Image.Image:
    """Values [channels, height, width] of 0-255 after scaling -> an RGB picture."""
    scaled = values * scale if scale != 1 else values
    if scaled.size and not (scaled.min() >= 0 and scaled.max() <= 255):
        raise ValueError(
            f"pictures as arrays hold 0-255, or 0-1 in floating point; found {values.min():g} to {values.max():g}"
        )
    pixels = np.ascontiguousarray(np.moveaxis(np.rint(scaled).astype(np.uint8), 0, -1))
    if pixels.shape[-1] not in (1, 3, 4):
        raise ValueError(f"pictures as arrays have 1, 3 or 4 channels, got {pixels.shape[-1]}")
    return to_rgb(Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _side(size: Any) -> int:
    """Side in pixels from an integer, {"shortest_edge": n} or {"height": n, "width": n}."""
    sides = {side for side in dict(size).values() if side is not None} if not isinstance(size, int) else {size}
    if len(sides) != 1:
        raise ValueError(f"preprocessor: only square sizes are known, got {size}")
    return int(sides.pop())
