"""Whether hub folders say without this package what it says with them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from artquant.errors import ArtQuantError, one_line
from artquant.files.json_files import read_json, write_json
from artquant.hub_folders import clean_run
from artquant.hub_folders.clean_run import PACKAGE
from artquant.infer.scorer import Scorer
from artquant.models.weights import LoadedModel

_SIZES = ((112, 84), (70, 112), (98, 98))  # pixels of the pictures
_TOKENS = 8  # of a description


@dataclass(frozen=True)
class Said:
    """What a model says: scores of all pictures, and a description of the first if it was trained to describe."""

    scores: Sequence[float]
    texts: Sequence[str]

    def difference(self, other: Said) -> float:
        """The largest between two scores of a picture."""
        return max(abs(one - another) for one, another in zip(self.scores, other.scores, strict=True))


def draw_pictures(folder: Path) -> list[Path]:
    """Three pictures of several sizes: colours that run into each other, under noise."""
    drawn, paths = np.random.default_rng(0), [folder / f"{number}.png" for number in range(len(_SIZES))]
    for path, size in zip(paths, _SIZES, strict=True):
        coarse = Image.fromarray(drawn.integers(0, 256, (4, 4, 3), dtype=np.uint8)).resize(
            size, Image.Resampling.BICUBIC
        )
        noise = drawn.normal(0, 8, (size[1], size[0], 3))
        Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8)).save(path)
    return paths


def said_here(loaded: LoadedModel, pictures: Sequence[Path]) -> Said:
    """What a loaded model says, by torch's own layers."""
    scorer = Scorer(loaded, plain=True)
    scorer.network.precise()
    describes = loaded.prompt.description_questions and (loaded.learned is None or "description" in loaded.learned)
    texts = scorer.describe([pictures[0]], max_new_tokens=_TOKENS) if describes else []
    return Said([one.score for one in scorer(list(pictures))], texts)


def said_without_package(folders: Mapping[Path, bool], pictures: Sequence[Path], scratch: Path) -> dict[Path, Said]:
    """What hub folders say in one process that has transformers and not this package.

    Args:
        folders: with whether each describes. scratch: a folder for what the process reads and writes.

    Raises:
        ArtQuantError: it ends with an error.
    """
    asked, answer = scratch / "asked.json", scratch / "answer.json"
    named = {str(folder.absolute()): _TOKENS if describes else 0 for folder, describes in folders.items()}
    path = [entry for entry in sys.path if entry]
    write_json(asked, {"path": path, "folders": named, "pictures": [str(picture) for picture in pictures]})
    home = {"HF_HOME": str(scratch / "home"), "HF_MODULES_CACHE": str(scratch / "modules"), "HF_HUB_OFFLINE": "1"}
    environment = os.environ | home | {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-I", clean_run.__file__, str(asked), str(answer)]
    done = subprocess.run(command, cwd=scratch, env=environment, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it was killed"])[-1]
        raise ArtQuantError(
            f"transformers cannot score with the folder without {PACKAGE} ({one_line(last)}), so nothing was written; "
            "export it as merged"
        )
    return {folder: Said(**read_json(answer)[str(folder.absolute())]) for folder in folders}
