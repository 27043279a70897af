"""A drawn data set with one defect of every kind, and what a check has to find in it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from artquant.demo.dataset import write_demo_data

Expected = tuple[str, "str | None", "int | None", "str | None"]  # kind, file, record number, picture
TOKEN = "<|image|>"
LEVELS = tuple(f"descriptions_level_{level}" for level in (1, 2, 3))


@dataclass
class Planted:
    """A demo set to be spoilt. Each defect takes a training (or test) picture that no other has taken."""

    folder: Path
    files: dict[str, Any] = field(default_factory=dict)  # by name without suffix: records, or text as it is
    expected: set[Expected] = field(default_factory=set)
    taken: int = 0
    taken_test: int = 0

    def take(self) -> int:
        """Index of an unspoilt training picture; the same in every training file."""
        self.taken += 1
        return self.taken - 1

    def take_test(self) -> dict[str, Any]:
        """An unspoilt test record."""
        self.taken_test += 1
        return self.files["test"][self.taken_test - 1]

    def picture(self, name: str) -> Path:
        """Path of a picture."""
        return self.folder / "images" / name

    def rename(self, index: int, name: str) -> Path:
        """Give a training picture another file name in every record that names it."""
        old = self.files["score"][index]["image"]
        for file in ("score", *LEVELS):
            self.files[file][index]["image"] = name
        return self.picture(old).rename(self.picture(name))

    def spoil(self, kind: str, **changes: Any) -> None:
        """Change a score record that then has one fault."""
        index = self.take()
        self.files["score"][index] |= changes
        self.expect(kind, "score", index)

    def expect(self, kind: str, file: str | None, index: int | None = None, picture: str | None = None) -> None:
        """Expect a finding; `index` counts from 0."""
        self.expected.add((kind, file, None if index is None else index + 1, picture))

    def expect_picture(self, kind: str, index: int) -> Path:
        """Expect a finding about a training picture, at the first record that names it; returns its path."""
        name = self.files[LEVELS[0]][index]["image"]
        self.expect(kind, LEVELS[0], index, name)
        return self.picture(name)

    def write(self) -> Path:
        """Write the records, and a configuration that names them; returns its path."""
        for name, content in self.files.items():
            text = content if isinstance(content, str) else json.dumps(content)
            (self.folder / "meta" / f"{name}.json").write_text(text, encoding="utf-8")
        return self.configuration([*LEVELS], [name for name in self.files if name not in ("test", *LEVELS)])

    def configuration(self, descriptions: list[str], scores: list[str], **settings: Any) -> Path:
        """A run's YAML over files of the set."""

        def data(names: list[str]) -> list[dict[str, str]]:
            meta, images = self.folder / "meta", str(self.folder / "images")
            return [{"records": str(meta / f"{name}.json"), "images": images} for name in names]

        common = {"max_length": 400, "trainable": {"lora": None, "decoder": True}}
        config = {
            "run": "run",
            "base": "nowhere",
            "stages": [
                {"name": "descriptions", "data": data(descriptions)} | common,
                {"name": "scores", "data": data(scores)} | common,
            ],
            "infer": data(["test"])[0],
        }
        file = self.folder / "run.yaml"
        file.write_text(yaml.safe_dump(config | settings), encoding="utf-8")
        return file


def drawn(folder: Path, images: int = 150) -> Planted:
    """An unspoilt set."""
    write_demo_data(folder, images, seed=3, workers=1, progress=False)
    names = (*LEVELS, "score", "test")
    files = {name: json.loads((folder / "meta" / f"{name}.json").read_text(encoding="utf-8")) for name in names}
    return Planted(folder, files)


def encoded(image: Image.Image, format: str, **options: Any) -> bytes:
    """A picture as the bytes of a file."""
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()
