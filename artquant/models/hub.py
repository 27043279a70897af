"""Where a model lies: a folder here, or a repository on the Hugging Face hub, fetched into its cache.

A repository is named `owner/name` or `owner/name@revision`, or by one of the short names in `known_models.yaml`. The
library does the rest: cache, resumed downloads, tokens (HF_TOKEN), mirrors (HF_ENDPOINT), work without a network
(HF_HUB_OFFLINE). Configuration, tokenizer and weights are fetched, and no code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from artquant.errors import one_line
from artquant.models.family import CheckpointError

_NAME = re.compile(r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@(?P<revision>[\w./-]+))?")
_DESCRIPTION = ("*.json", "*.jinja", "*.txt", "*.model")
_WEIGHTS = ("*.safetensors", "*.stats", "adapter_model.bin", "non_lora_trainables.bin")
_PICKLED = ("pytorch_model*.bin",)  # where there are no safetensors
_SILENT = 1.0  # seconds before a bar shows
_BELOW = ("*/*",)  # other forms and training states lie in folders of their own


@dataclass(frozen=True)
class Place:
    """A model's folder, and what a card calls it: the folder, or the repository with the commit that was fetched."""

    folder: Path
    name: Path


@dataclass(frozen=True)
class KnownModel:
    """A published model with a short name. base: the short name of what it is read with (`--base`)."""

    repository: str
    base: str | None = None


def known_models() -> Mapping[str, KnownModel]:
    """The published models that have short names."""
    text = files("artquant.models").joinpath("known_models.yaml").read_text(encoding="utf-8")
    return {name: KnownModel(**values) for name, values in yaml.safe_load(text).items()}


def known_base(name: Path | str) -> Path | None:
    """The short name of what a model that is named by a short name is read with."""
    known = None if Path(name).is_dir() else known_models().get(str(name))
    return None if known is None or known.base is None else Path(known.base)


def locate(name: Path | str, weights: bool = True) -> Place:
    """The folder of a model, fetched if it is named as on the hub.

    What is there as a folder is never looked for elsewhere; nor is a path whose first folder is there.

    Args:
        weights: whether they are needed, or configuration and tokenizer alone.

    Raises:
        CheckpointError: the hub cannot be reached, has no such repository, or does not give it away.
    """
    path, match = Path(name), _repository(Path(name))
    if match is None:
        return Place(path, path)
    repository, revision = match["repository"], match["revision"]
    wanted = (*_DESCRIPTION, *_WEIGHTS) if weights else _DESCRIPTION
    folder = _fetched(repository, revision, wanted)
    if weights and not any(folder.glob("*.safetensors")):
        folder = _fetched(repository, revision, (*wanted, *_PICKLED))
    return Place(folder, Path(f"{repository}@{folder.name}"))


def is_fetched(name: Path | str) -> bool:
    """Whether a name stands for a repository on the hub, not for a folder."""
    return _repository(Path(name)) is not None


def _repository(path: Path) -> re.Match[str] | None:
    """What is named on the hub; None: a folder is meant, there or not."""
    if path.exists() or path.is_absolute():
        return None
    known = known_models().get(str(path))
    if known is not None:
        return _NAME.fullmatch(known.repository)
    return None if path.parts and Path(path.parts[0]).exists() else _NAME.fullmatch(str(path))


def _fetched(repository: str, revision: str | None, wanted: tuple[str, ...]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError
    from huggingface_hub.utils import tqdm

    class Bar(tqdm):
        """Of downloads that take a while: a filled cache is worth no line."""

        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **{"delay": _SILENT, **named})

    what = repository if revision is None else f"{repository}@{revision}"
    try:
        return Path(
            snapshot_download(
                repository, revision=revision, allow_patterns=[*wanted], ignore_patterns=[*_BELOW], tqdm_class=Bar
            )
        )
    except GatedRepoError as error:
        raise CheckpointError(
            f"{what}: its owner gives it to those who have asked; ask on its page and set HF_TOKEN to your token"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(f"{what}: the repository has no such revision; correct what stands behind @") from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{what}: no such folder here, and no such repository on the hub (or a private one: set HF_TOKEN); correct "
            "the name"
        ) from error
    except Exception as error:  # no network, a proxy, a hub that fails: each of its own kind in the library below
        raise CheckpointError(
            f"{what}: no such folder here, and not to be had from the hub ({one_line(error)}); correct the name, or run"
            " it again with a network"
        ) from error
