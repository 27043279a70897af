"""What is attacked: small pictures, lists, models and configurations, made by the commands, and their results."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from . import bench

_MODEL = {
    "vocabulary_size": 800,
    "image_size": 28,
    "patch_size": 14,
    "max_positions": 512,
    "vision": {"hidden": 32, "layers": 1, "heads": 2, "mlp": 64},
    "abstractor": {"hidden": 32, "layers": 1, "heads": 2, "mlp": 64, "queries": 4},
    "text": {"hidden": 32, "layers": 2, "heads": 2, "key_value_heads": 2, "mlp": 64},
}
# Forms of pictures: file name, how Pillow writes it, and its mode.
FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "rgb.png": ({}, "RGB"),
    "grey.png": ({}, "L"),
    "palette.png": ({}, "P"),
    "alpha.png": ({}, "RGBA"),
    "plain.jpg": ({"quality": 90}, "RGB"),
    "progressive.jpg": ({"quality": 90, "progressive": True}, "RGB"),
    "cmyk.jpg": ({"quality": 90}, "CMYK"),
    "lossy.webp": ({"quality": 90}, "RGB"),
    "lossless.webp": ({"lossless": True}, "RGB"),
    "plain.gif": ({}, "P"),
    "plain.bmp": ({}, "RGB"),
    "plain.tiff": ({}, "RGB"),
    "lzw.tiff": ({"compression": "tiff_lzw"}, "RGB"),
    "deflate.tiff": ({"compression": "tiff_adobe_deflate"}, "RGB"),
    "plain.avif": ({"quality": 80}, "RGB"),
    "plain.ppm": ({}, "RGB"),
}


@dataclass(frozen=True)
class Ground:
    """The folder of all that, and what undisturbed commands make of it."""

    folder: Path

    @property
    def data(self) -> Path:
        """The demo's data set: `images`, `meta`."""
        return self.folder / "data"

    @property
    def images(self) -> Path:
        """The data set's pictures."""
        return self.data / "images"

    @property
    def models(self) -> dict[str, Path]:
        """A trained whole model and an adapter over the same base."""
        return {name: self.folder / "runs" / name / "scores" / "model" for name in ("whole", "adapter")}

    @property
    def config(self) -> Path:
        """A run of one stage on the whole network."""
        return self.folder / "whole.yaml"

    def records(self, name: str) -> Path:
        """A record file of the data set."""
        return self.data / "meta" / f"{name}.json"

    @property
    def pictures(self) -> list[Path]:
        """One picture in every form."""
        return [self.folder / "forms" / name for name in FORMS]

    @property
    def scores(self) -> dict[str, float]:
        """The undisturbed score, by the picture's name, of the whole model."""
        return json.loads((self.folder / "scores.json").read_text())

    def listed(self) -> list[dict[str, Any]]:
        """The records of the list that is scored."""
        return json.loads(self.records("few").read_text())


def make(folder: Path) -> Ground:
    """Make all of it in an empty folder, or take what is there."""
    ground = Ground(folder.resolve())
    if (folder / "scores.json").is_file():
        return ground
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _done("demo-data", "--out", ground.data, "--images", "40", "--workers", "1")
    _lists(ground)
    _write(
        folder / "model.yaml", {"texts": [str(ground.records(n)) for n in ("descriptions_level_3", "score")]} | _MODEL
    )
    _done("init-model", "--config", folder / "model.yaml", "--out", folder / "base")
    everything = {"lora": None, "vision": True, "projector": True, "decoder": True}
    for name, trainable in (("whole", everything), ("adapter", {"lora": {"r": 4, "alpha": 8.0, "dropout": 0.0}})):
        _write(folder / f"{name}.yaml", configuration(ground, name, trainable))
        _done("train", "--config", folder / f"{name}.yaml")
    two = configuration(ground, "two", everything)
    [first] = two["stages"]
    texts = [{"records": str(ground.records("descriptions_level_1")), "images": str(ground.images), "weight": 1.0}]
    two["stages"] = [first | {"name": "descriptions", "data": texts}, first]
    _write(folder / "two.yaml", two)
    (folder / "forms").mkdir()
    with Image.open(sorted(ground.images.iterdir())[0]) as image:
        for name, (options, mode) in FORMS.items():
            image.convert("RGB").resize((96, 72)).convert(mode).save(folder / "forms" / name, **options)
    _done("infer", "--model", ground.models["whole"], "--records", ground.records("few"), "--images", ground.images,
          "--workers", "0", "--out", folder / "predictions.jsonl")  # fmt: skip
    lines = (folder / "predictions.jsonl").read_text().splitlines()
    scores = {one["image"]: one["score"] for one in map(json.loads, lines)}
    for model in ground.models.values():
        done = _done("score", *ground.pictures, "--model", model, "--json")
        for one in map(json.loads, done.output.splitlines()):
            key = Path(one["image"]).name if model == ground.models["whole"] else f"adapter/{Path(one['image']).name}"
            scores[key] = one["score"]
    (folder / "scores.json").write_text(json.dumps(scores))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)  # nobody may read it: what is refused then is the attack alone
    return ground


def _lists(ground: Ground) -> None:
    """Short lists, published annotation files and structured records."""
    few = json.loads(ground.records("test").read_text())[:4]
    ground.records("few").write_text(json.dumps(few, indent=1))
    everything = [{"image": picture.name} for picture in sorted(ground.images.iterdir())]
    ground.records("all").write_text(json.dumps(everything))
    structured = [
        {"image": f"{n}.jpg", "perception": f"Warm light {n}.", "cognition": "A harbour.", "emotion": "It is calm."}
        for n in range(12)
    ]
    ground.records("structured").write_text(json.dumps(structured, indent=1))
    ground.records("many").write_text(json.dumps([one | {"image": f"{n}-{one['image']}"}
        for n in range(300) for one in structured]))  # fmt: skip
    rows = [f"{n}.jpg,{1 + n % 5}.5,{1 + n % 4},{2 + n % 3}" for n in range(3000)]
    for name, lines in (("table", rows[:24]), ("long", rows)):
        (ground.folder / f"{name}.csv").write_text("\n".join(["image,score,one,two", *lines]) + "\n")


def configuration(ground: Ground, run: str, trainable: dict[str, Any]) -> dict[str, Any]:
    """A run's configuration of one short stage."""
    stage = {
        "name": "scores",
        "data": [{"records": str(ground.records("score")), "images": str(ground.images), "weight": 1.0}],
        "trainable": trainable,
        "optimizer": {"learning_rate": 1e-3, "warmup_fraction": 0.0},
        "max_steps": 6,
        "batch_size": 4,
        "accumulation": 1,
        "max_length": 512,
        "workers": 0,
        "save_steps": 2,
        "log_steps": 1,
    }
    infer = {"records": str(ground.records("few")), "images": str(ground.images), "workers": 0, "device": "cpu"}
    whole = {"run": run, "base": str(ground.folder / "base"), "output": str(ground.folder / "runs"), "seed": 0}
    return whole | {"stages": [stage], "infer": infer, "evaluate": {"bootstrap": 20}}


def working(ground: Ground, folder: Path) -> dict[str, list[str]]:
    """A command line of each command that works."""
    model, few = str(ground.models["whole"]), str(ground.records("few"))
    lists = ["--records", few, "--images", str(ground.images)]
    shape = str(ground.folder / "model.yaml")
    prepared = ["--score-column", "score", "--range", "1,6", "--test-fraction", "0.25"]
    return {
        "score": ["score", str(ground.pictures[0]), "--model", model, "--json"],
        "infer": ["infer", "--model", model, *lists, "--workers", "0", "--out", str(folder / "out.jsonl")],
        "check": ["check", "--records", few, "--no-pictures"],
        "plan": ["plan", str(ground.config), "--memory", "4GiB"],
        "init-model": ["init-model", shape, "--out", str(folder / "made")],
        "prepare": ["prepare", "generic", str(ground.folder / "table.csv"), *prepared, "--out", str(folder / "meta")],
        "descriptions": ["descriptions", "split", str(ground.records("structured")), "--out", str(folder / "levels")],
        "export": ["export", model, "--to", "merged", "--out", str(folder / "exported")],
        "eval": [
            "eval",
            "--predictions",
            str(ground.folder / "predictions.jsonl"),
            "--truth",
            few,
            "--bootstrap",
            "10",
        ],
    }


def _write(path: Path, value: Any) -> None:
    path.write_text(yaml.safe_dump(value, sort_keys=False))


def _done(*arguments: Any) -> bench.Outcome:
    """Run a command that must succeed."""
    outcome = bench.run(["--quiet", *map(str, arguments)], bench.Around(limit=300))
    if outcome.status:
        raise SystemExit(f"artquant {' '.join(map(str, arguments))}: status {outcome.status}\n{outcome.error}")
    return outcome
