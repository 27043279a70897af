"""What is kept of a picture to compare it with others: small thumbnails, of the whole and of what a frame holds."""

from __future__ import annotations

import numpy as np
from PIL import Image

SIDE = 40  # pixels of a thumbnail, into which a picture is squeezed
_LOOK = 192  # pixels of the longer side, about, at which a frame is looked for
_EVEN = 12  # of 255, in which the pixels of a line of a frame differ at most
_MOST = 3  # a frame leaves at least one part in so many of either side


def thumbnails_of(image: Image.Image) -> bytes:
    """RGB thumbnails, [1 or 2, SIDE, SIDE, 3]: the picture, and what is within its frame, if it has one."""
    boxes = [(0, 0, *image.size)]
    within = _within_frame(image)
    if within != boxes[0]:
        boxes.append(within)
    side = (SIDE, SIDE)
    return b"".join(image.resize(side, Image.Resampling.BOX, box).tobytes() for box in boxes)


def _within_frame(image: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the picture without the lines of one colour at its sides, frame in frame too."""
    step = max(1, max(image.size) // _LOOK)
    pixels = np.asarray(image.reduce(step)).astype(np.int16)
    sides = [0, 0, pixels.shape[1], pixels.shape[0]]  # left, top, right, bottom
    peeled = True
    while peeled:
        peeled = False
        for side in range(4):
            left, top, right, bottom = sides
            if (right - left) * _MOST <= pixels.shape[1] or (bottom - top) * _MOST <= pixels.shape[0]:
                return (0, 0, *image.size)  # hardly anything is left: a picture on a sheet, or none
            lines = (pixels[top:bottom, left], pixels[top], pixels[top:bottom, right - 1], pixels[bottom - 1])
            line = (lines[side] if side % 2 == 0 else lines[side][left:right])[
                2:-2
            ]  # the ends may be mixed with the frame's other sides
            if len(line) and np.ptp(line, axis=0).max() <= _EVEN:
                sides[side] += 1 if side < 2 else -1
                peeled = True
    left, top, right, bottom = sides
    # One line more, which may be mixed with the frame.
    right = image.width if right == pixels.shape[1] else (right - 1) * step
    bottom = image.height if bottom == pixels.shape[0] else (bottom - 1) * step
    return (left + (left > 0)) * step, (top + (top > 0)) * step, right, bottom


def grey(thumbnails: np.ndarray) -> np.ndarray:
    """RGB [N, S, S, 3] -> luminance [N, S, S], float32."""
    return thumbnails.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
