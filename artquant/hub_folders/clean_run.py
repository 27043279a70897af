"""Run as a program of its own: scores of hub folders where this package is not.

Arguments: a JSON file of {"path": where Python looks, "folders": {folder: tokens of a description, 0 for none},
"pictures": three files}, and the file to write: {folder: {"scores": [...], "texts": [...]}}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGE = "artquant"


class Absent(MetaPathFinder):
    """The package cannot be found, wherever it is installed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Refused."""
        if fullname.partition(".")[0] == PACKAGE:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)
        return None


def main(asked: Path, answer: Path) -> None:
    """Load each folder, score the pictures as a file, a PIL picture and an array, and describe the first."""
    given = json.loads(asked.read_text(encoding="utf-8"))
    sys.path[:] = given["path"]
    sys.meta_path.insert(0, Absent())
    import numpy as np
    from PIL import Image
    from transformers import AutoModelForCausalLM

    first, second, third = given["pictures"]
    found = {}
    for folder, tokens in given["folders"].items():
        model: Any = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)
        scores = model.score([first, Image.open(second), np.asarray(Image.open(third))])
        texts = model.describe(first, max_new_tokens=tokens) if tokens else []
        found[folder] = {"scores": scores.tolist(), "texts": texts}
    answer.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
