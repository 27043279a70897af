"""Scores as rewards for training image generators: one file, to import or to copy; Pillow and numpy are all it needs.

    client = RewardClient("http://127.0.0.1:8000")            # of `artquant serve MODEL`
    client(images)                                            # [N] floats in 0 to 1
    trl_reward(client)                                        # TRL: reward(completions, **columns) -> [N]
    flow_grpo_reward(client)                                  # flow_grpo: fn(images, prompts, metadata) -> (scores, {})
    FlowFactoryReward(client)                                 # Flow-Factory, pointwise: {"rewards": [N]}
    ScorerRewards(Scorer.from_pretrained(MODEL))              # the same calls without a server

Pictures are PIL's, paths, encoded bytes, or arrays and tensors: [H, W, C], [C, H, W], or batches of them, of floats in
0 to 1 or of uint8. A reward is a finite number or an error: none is made up for a picture that cannot be read.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import math
import random
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_WAIT = 30.0  # seconds between two attempts
_LARGEST_ANSWER = 1 << 24  # bytes
_LARGEST_SCORE = 1e300
_INTO_RGB = frozenset({"CMYK", "YCbCr", "HSV", "LAB", "RGBX", "RGBa", "La", "PA"})  # modes that PNG lacks
# Not reached, broken off, no HTTP, no JSON.
_BROKEN = (OSError, http.client.HTTPException, ValueError, RecursionError)


class RewardError(Exception):
    """No reward: what the server says, or why it cannot be asked, in one line."""


class Rewards(Protocol):
    """What gives rewards."""

    def __call__(
        self, images: Any, prompts: Sequence[str] | None = None, metadata: Mapping[str, Any] | None = None
    ) -> list[float]:
        """One finite number a picture, in their order."""


class RewardClient:
    """Rewards of a server.

    Args:
        url: of `artquant serve`, such as http://127.0.0.1:8000.
        token: that it asks for. unit: rewards in 0 to 1; else on the model's scale. batch: pictures in a request.
        timeout: seconds for a request. attempts: for each, the first among them: a server that is loading, busy or
            restarted is asked again.

    Raises:
        RewardError: one of them is of no use.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        unit: bool = True,
        batch: int = 16,
        timeout: float = 120.0,
        attempts: int = 8,
    ) -> None:
        if not _is_address(url):
            raise RewardError("the url must be as http://HOST:PORT, without a name or password in it")
        if token is not None and not (token.isascii() and token.isprintable()):
            raise RewardError("the token has characters that no header can bear; look for a line's end in it")
        if batch < 1 or attempts < 1 or not 0 < timeout < math.inf:
            raise RewardError("batch, timeout and attempts must be above 0")
        self._url, self._token, self._unit = f"{url.rstrip('/')}/v1/reward", token, unit
        self._batch, self._timeout, self._attempts = batch, timeout, attempts

    def __call__(
        self, images: Any, prompts: Sequence[str] | None = None, metadata: Mapping[str, Any] | None = None
    ) -> list[float]:
        """One number a picture; prompts and metadata are handed on.

        Raises:
            RewardError: the server refuses, cannot be reached, or answers something else.
        """
        encoded = [base64.b64encode(encoded_picture(image)).decode() for image in pictures_of(images)]
        if prompts is not None and len(prompts) != len(encoded):
            raise RewardError(f"{len(encoded)} pictures and {len(prompts)} prompts; give one for each")
        scores: list[float] = []
        for start in range(0, len(encoded), self._batch):
            asked: dict[str, Any] = {"images": encoded[start : start + self._batch], "unit": self._unit}
            if prompts is not None:
                asked["prompts"] = list(prompts[start : start + self._batch])
            if metadata is not None:
                asked["metadata"] = dict(metadata)
            scores += _checked(self._answer(_json(asked)), len(asked["images"]), self._url)
        return scores

    def _answer(self, body: bytes) -> Any:
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self._token}"} if self._token else {}
        )
        opener = urllib.request.build_opener(_NotElsewhere)  # not kept: a client can be sent to other processes
        for attempt in range(1, self._attempts + 1):
            wait = min(_LONGEST_WAIT, 0.5 * 2**attempt) * random.uniform(0.5, 1.0)
            request = urllib.request.Request(self._url, body, headers)
            try:
                with opener.open(request, timeout=self._timeout) as answer:
                    return json.loads(answer.read(_LARGEST_ANSWER))
            except urllib.error.HTTPError as error:
                reason = f"{error.code} {_said(error)}"
                if error.code not in _RETRIED:
                    raise RewardError(f"{self._url}: {reason}") from None
                wait = _retry_after(error.headers.get("Retry-After"), wait)
            except _BROKEN as error:
                reason = _line(str(error))
            if attempt < self._attempts:
                time.sleep(wait)
        raise RewardError(f"{self._url}: no answer in {self._attempts} attempts: {reason}")


class _NotElsewhere(urllib.request.HTTPRedirectHandler):
    """Follows no server elsewhere: the token and the pictures are meant for one."""

    def redirect_request(self, *_: Any) -> None:
        """None: a redirection is an answer like any other refusal."""


class ScorerRewards:
    """The same without a server: rewards of a `Scorer` in this process."""

    def __init__(self, scorer: Any, *, unit: bool = True) -> None:
        self._scorer, self._unit = scorer, unit

    def __call__(
        self, images: Any, prompts: Sequence[str] | None = None, metadata: Mapping[str, Any] | None = None
    ) -> list[float]:
        """One number a picture; prompts and metadata change nothing."""
        opened = [Image.open(io.BytesIO(encoded_picture(image))) for image in pictures_of(images)]
        scores = self._scorer(opened, unit=self._unit, as_tensor=True).tolist() if opened else []
        return _checked({"scores": scores}, len(opened), "scorer")


def trl_reward(rewards: Rewards, column: str | None = None) -> Callable[..., list[float]]:
    """A reward function for TRL's trainers: `reward(completions, **columns) -> [N]`.

    Args:
        column: the data set's column of pictures; None: the completions are pictures, or messages that hold one.
    """

    def aesthetic_reward(completions: Sequence[Any], **columns: Any) -> list[float]:
        if column is not None and column not in columns:
            raise RewardError(f"the data set has no column {column!r}; it has {', '.join(columns) or 'none'}")
        images = [_in_message(one) for one in completions] if column is None else columns[column]
        return rewards([_first(image) for image in images])

    return aesthetic_reward


def flow_grpo_reward(rewards: Rewards) -> Callable[..., tuple[list[float], dict[str, Any]]]:
    """A reward function for flow_grpo: `fn(images, prompts, metadata) -> (scores, {})`; images [N, C, H, W] or NHWC."""

    def aesthetic_score(images: Any, prompts: Any = None, metadata: Any = None) -> tuple[list[float], dict[str, Any]]:
        return rewards(images), {}

    return aesthetic_score


class FlowFactoryReward:
    """Flow-Factory's pointwise reward model: called with prompts and pictures, gives {"rewards": [N]}."""

    def __init__(self, rewards: Rewards) -> None:
        self._rewards = rewards

    def __call__(self, prompt: Sequence[str], image: Any, **others: Any) -> dict[str, list[float]]:
        """As its server route `/compute` answers."""
        return {"rewards": self._rewards(image)}


def pictures_of(images: Any) -> list[Any]:
    """Pictures one by one: of a batch of arrays or tensors its rows, of a list its entries, of one picture itself."""
    if isinstance(images, (str, Path, bytes, bytearray, Image.Image)):
        return [images]
    if not isinstance(images, _AsArray):
        if isinstance(images, Mapping) or not isinstance(images, Iterable):
            raise RewardError(f"a {type(images).__name__} is no picture")
        return list(images)
    array = _array(images)
    if array.ndim not in (3, 4):
        raise RewardError(
            f"an array of shape {array.shape} is no picture; give [N, C, H, W], [N, H, W, C] or one of them"
        )
    return list(array) if array.ndim == 4 else [array]


def encoded_picture(image: Any) -> bytes:
    """A picture as a file's bytes: those of files as they are, pixels as PNG.

    Raises:
        RewardError: it is none.
    """
    if isinstance(image, (bytes, bytearray)):
        return bytes(image)
    if isinstance(image, (str, Path)):
        try:
            return Path(image).read_bytes()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise RewardError(f"{_line(str(image))}: cannot be read: {_line(str(reason))}") from None
    if not isinstance(image, (Image.Image, _AsArray)):
        raise RewardError(f"a {type(image).__name__} is no picture")
    try:
        opened = image if isinstance(image, Image.Image) else Image.fromarray(_pixels(_array(image)))
        stream = io.BytesIO()
        (opened.convert("RGB") if opened.mode in _INTO_RGB else opened).save(stream, "PNG", compress_level=1)
    except (OSError, ValueError, SyntaxError) as error:  # cut off, closed, without pixels
        raise RewardError(f"a picture cannot be read: {_line(str(error))}") from None
    return stream.getvalue()


def _pixels(array: np.ndarray) -> np.ndarray:
    """[H, W, 3] or [H, W], uint8, of channels first or last and floats in 0 to 1 or uint8."""
    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3) or not array.size:
        raise RewardError(
            f"an array of shape {array.shape} is no picture; give [C, H, W] or [H, W, C] of 1 or 3 channels"
        )
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating) or not np.isfinite(array).all():
            raise RewardError(f"pixels of type {array.dtype} must be finite floats in 0 to 1, or uint8")
        if array.min() < -1e-3 or array.max() > 1 + 1e-3:
            raise RewardError(f"pixels from {array.min():.3g} to {array.max():.3g}; floats must be in 0 to 1")
        array = (array.clip(0, 1) * 255).round().astype(np.uint8)
    return array[:, :, 0] if array.shape[2] == 1 else array


@runtime_checkable
class _AsArray(Protocol):
    """What numpy can make an array of."""

    def __array__(self) -> np.ndarray:
        """The array."""


def _array(images: _AsArray) -> np.ndarray:
    """An array, of a tensor too, wherever it lies and whatever its format."""
    torch = sys.modules.get("torch")  # who has a tensor has imported it
    if torch is not None and isinstance(images, torch.Tensor):
        try:
            kept = images.detach().cpu()
            return np.asarray(kept.float() if kept.is_floating_point() else kept)
        except (TypeError, RuntimeError) as error:  # sparse, on a device without memory, on one that has failed
            raise RewardError(f"a tensor cannot be read: {_line(str(error))}") from None
    return np.asarray(images)


def _first(images: Any) -> Any:
    if not isinstance(images, (list, tuple)):
        return images
    if not images:
        raise RewardError("a row without a picture")
    return images[0]


def _in_message(completion: Any) -> Any:
    """The picture of a completion: itself, or what a chat message holds as `image`."""
    if isinstance(completion, (list, tuple)) and completion and isinstance(completion[-1], Mapping):
        content = completion[-1].get("content")
        for part in content if isinstance(content, (list, tuple)) else ():
            if isinstance(part, Mapping) and part.get("type") == "image" and "image" in part:
                return part["image"]
        raise RewardError("a completion without a picture; name the column that holds them")
    return completion


def _checked(answer: Any, count: int, where: str) -> list[float]:
    scores = answer.get("scores") if isinstance(answer, dict) else None
    if not isinstance(scores, list) or len(scores) != count:
        raise RewardError(f"{where}: the answer holds no {count} scores")
    if not all(type(score) in (int, float) and abs(score) < _LARGEST_SCORE for score in scores):
        raise RewardError(f"{where}: the answer holds scores that are no finite numbers")
    return [float(score) for score in scores]


def _said(error: urllib.error.HTTPError) -> str:
    try:
        body = error.read(4096)
    except _BROKEN:
        return "(the answer is broken off)"
    try:
        return _line(str(json.loads(body)["error"]["message"]))
    except (ValueError, KeyError, TypeError, RecursionError):
        return _line(body.decode("utf-8", "replace"))


def _line(text: str) -> str:
    """One line of what another says, without what a terminal would obey."""
    return "".join(char if char.isprintable() else " " for char in text[:300]).strip()


def _is_address(url: object) -> bool:
    if not (isinstance(url, str) and url.isascii() and url.isprintable()) or any(char in url for char in " @?#"):
        return False
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _json(asked: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(asked).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise RewardError(f"prompts and metadata must be as JSON can say them: {_line(str(error))}") from None


def _retry_after(said: str | None, otherwise: float) -> float:
    try:
        return min(_LONGEST_WAIT, max(0.0, float(said or "")))
    except ValueError:
        return otherwise
