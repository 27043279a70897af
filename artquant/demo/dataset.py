"""Writes a demonstration data set: drawn paintings with ratings and descriptions, in the files that training reads.

    OUT/images/NNNNN.png
    OUT/meta/descriptions_level_{1,2,3}.json, score.json   training pictures
    OUT/meta/attributes.json                               training pictures: a score record per attribute
    OUT/meta/aspects.json                                  training pictures: a sentence on each attribute
    OUT/meta/captions.json                                 training pictures: what is there, and no judgement
    OUT/meta/test.json                                     held-out pictures
    OUT/meta/annotations.json                              every picture: split, plan, attributes
    OUT/meta/demo_data.json                                what the set was made from; written first

Picture i depends on the seed and i alone, so a run on any number of processes writes the same bytes, and an interrupted
run can be completed. Every file is written under a temporary name and renamed.
"""

from __future__ import annotations

import logging
import os
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from artquant.demo.attributes import ATTRIBUTES, Ratings, draw_values, panel_biases, rate, to_scale, total
from artquant.demo.descriptions import Described, caption, describe, draw_questions
from artquant.demo.drawing import draw
from artquant.demo.phrases import CAPTION_QUESTION
from artquant.demo.plan import Plan, draw_plan
from artquant.errors import ArtQuantError
from artquant.files.child_processes import process_pool
from artquant.files.json_files import read_json, write_json
from artquant.files.only_writer import only_writer
from artquant.files.progress_bar import progress_bar
from artquant.labels.rating_scale import APDD_SCALE
from artquant.labels.soft_labels import soft_labels
from artquant.prepare.annotation import Annotation
from artquant.prepare.records import Labelling, attribute_records, image_records, score_records
from artquant.texts.attributes import attribute_phrase
from artquant.texts.descriptions import description_record
from artquant.texts.prompt import IMAGE_TOKEN, SCORE_QUESTIONS, SUBJECT, get_prompt

logger = logging.getLogger(__name__)

GENERATOR = "artquant demo-data"
EDITION = 3  # to be raised when the same seed gives other pictures or texts
MANIFEST = "meta/demo_data.json"
MOST_IMAGES = 99_999  # five digits in the file name
MOST_WORKERS = 64


@dataclass(frozen=True)
class DemoSummary:
    """What a call of `write_demo_data` left under `out`."""

    out: Path
    images: int
    training: int
    test: int
    drawn: int  # pictures written by this call; the others were there
    words: dict[str, int]  # pictures by rating word


@dataclass(frozen=True)
class Picture:
    """Everything that is known of one picture without drawing it."""

    index: int
    plan: Plan
    values: np.ndarray  # [10] true attributes, 0 to 1
    ratings: Ratings
    said: Described
    questions: tuple[str, str, str]
    score_question: str
    caption: str

    @property
    def name(self) -> str:
        """File name under `images/`."""
        return f"{self.index:05d}.png"


def make_picture(seed: int, index: int, biases: np.ndarray) -> tuple[Picture, np.random.Generator]:
    """Draws picture `index` of the data set, and the generator that is to paint it.

    Args:
        seed: of the data set, 0 or more.
        index: of the picture, 0 or more.
        biases: `attributes.panel_biases(seed)`.
    """
    rng = np.random.default_rng([seed, index])
    plan, values = draw_plan(rng), draw_values(rng)
    ratings = rate(values, biases, rng)
    said, questions = describe(plan, values, rng), draw_questions(rng)
    score_question = str(rng.choice(SCORE_QUESTIONS)).replace(SUBJECT, "painting")
    there = caption(plan, values, np.random.default_rng([seed, index, 1]))
    return Picture(index, plan, values, ratings, said, questions, score_question, there), rng


def write_demo_data(
    out: Path, images: int, seed: int, test_fraction: float = 0.2, workers: int = 2, progress: bool = True
) -> DemoSummary:
    """Draws a data set of paintings, or completes it where `out` holds a part of the same one.

    Args:
        out: folder to write; new, empty, or from an earlier call with the same images, seed and test_fraction.
        images: number of pictures, 2 to 99,999.
        seed: 0 or more; the same arguments give the same bytes.
        test_fraction: share of the pictures that is held out, above 0 and below 1 (at least one picture on each side).
        workers: processes that draw, 1 to 64; with 1, this one.
        progress: whether to show a progress bar on stderr.

    Raises:
        ArtQuantError: for arguments out of range, where `out` holds anything else or cannot be written, or when a
            drawing process ends early (also where the calling script has no file or no `if __name__ == "__main__"`).
    """
    out = Path(out)
    _check_arguments(images, seed, test_fraction, workers)
    held_out = min(images - 1, max(1, round(images * test_fraction)))
    made_from = {"edition": EDITION, "images": images, "seed": seed, "test_fraction": test_fraction}
    with only_writer(out):
        return _drawn(out, {"generator": GENERATOR, **made_from}, held_out, workers, progress)


def _drawn(out: Path, manifest: dict, held_out: int, workers: int, progress: bool) -> DemoSummary:
    """Draws what of a data set is not there yet."""
    images, seed = manifest["images"], manifest["seed"]
    _claim(out, manifest)
    biases = panel_biases(seed)
    pictures = [make_picture(seed, index, biases)[0] for index in range(images)]
    test = set(np.random.default_rng([seed, 0, 2]).permutation(images)[:held_out].tolist())
    missing = [p.index for p in pictures if not (out / "images" / p.name).exists()]
    if len(missing) < images:
        logger.info("%s: %d of %d pictures of this data set are there already", out, images - len(missing), images)
    _draw_all(out, seed, missing, workers, progress)
    for name, records in _files(pictures, test).items():
        if not (out / "meta" / name).exists():
            write_json(out / "meta" / name, records)
    said = APDD_SCALE.likeliest(soft_labels([picture.ratings.mean for picture in pictures], APDD_SCALE.values))
    words = {word: said.count(word) for word in APDD_SCALE.words}
    return DemoSummary(out, images, images - held_out, held_out, len(missing), words)


def _check_arguments(images: int, seed: int, test_fraction: float, workers: int) -> None:
    if not 2 <= images <= MOST_IMAGES:
        raise ArtQuantError(f"demo data: images must be 2 to {MOST_IMAGES}, not {images}")
    if seed < 0:
        raise ArtQuantError(f"demo data: seed must be 0 or more, not {seed}")
    if not 0.0 < test_fraction < 1.0:
        raise ArtQuantError(f"demo data: test_fraction must be above 0 and below 1, not {test_fraction}")
    if not 1 <= workers <= MOST_WORKERS:
        raise ArtQuantError(f"demo data: workers must be 1 to {MOST_WORKERS}, not {workers}")


def _claim(out: Path, manifest: dict) -> None:
    """Makes the folders and the manifest, after checking that nothing else is there."""
    path = out / MANIFEST
    if path.is_file():
        found = read_json(path)
        if found != manifest:
            raise ArtQuantError(
                f"{path}: another data set is here ({_differences(found, manifest)}); name another folder"
            )
    elif out.is_dir():
        foreign = next((p for p in sorted(out.rglob("*")) if not p.is_dir()), None)
        if foreign is not None:
            raise ArtQuantError(f"{out}: holds {foreign.relative_to(out)}, which is no demo data; name a new folder")
    elif out.exists():
        raise ArtQuantError(f"{out}: is a file; name a new folder")
    try:
        for folder in ("images", "meta"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        if not path.exists():
            write_json(path, manifest)
    except OSError as error:
        raise ArtQuantError(f"{out}: cannot be written ({error.strerror}); name another folder") from error


def _differences(found: object, wanted: dict) -> str:
    if not isinstance(found, dict):
        return "its manifest is not an object"
    return ", ".join(
        f"{key} {found.get(key)!r}, not {wanted[key]!r}" for key in wanted if found.get(key) != wanted[key]
    )


def _write_picture(path: Path, image: Image.Image) -> None:
    # One temporary name per picture: what a killed run left is overwritten, and gone once the set is completed.
    part = path.with_name(f".{path.name}.part")
    try:
        image.save(part, format="PNG", compress_level=4)
        os.replace(part, path)
    except OSError as error:
        raise ArtQuantError(f"{path}: cannot be written ({error.strerror}); check the folder and free space") from error


def _draw_some(out: Path, seed: int, indices: list[int]) -> int:
    """Draws and writes the pictures `indices`; returns how many."""
    biases = panel_biases(seed)
    for index in indices:
        picture, rng = make_picture(seed, index, biases)
        _write_picture(out / "images" / picture.name, draw(picture.plan, picture.values, rng))
    return len(indices)


def _draw_all(out: Path, seed: int, indices: list[int], workers: int, progress: bool) -> None:
    chunks = [indices[start : start + 16] for start in range(0, len(indices), 16)]
    with progress_bar("drawing", "picture", progress, len(indices)) as bar:
        if workers == 1 or len(chunks) < 2:
            for count in (_draw_some(out, seed, chunk) for chunk in chunks):
                bar.update(count)
            return
        try:
            with process_pool(min(workers, len(chunks))) as pool:
                for count in pool.map(_draw_some, [out] * len(chunks), [seed] * len(chunks), chunks):
                    bar.update(count)
        except BrokenProcessPool as error:
            advice = "run it again to complete the set, or draw with workers=1"
            raise ArtQuantError(f"{out}: a drawing process ended before its time; {advice}") from error


def _files(pictures: list[Picture], test: set[int]) -> dict[str, list[dict[str, Any]]]:
    """The records of every file under `meta/`, by file name."""
    training = [p for p in pictures if p.index not in test]
    rated = [_rated(p) for p in training]
    labelling = Labelling(APDD_SCALE)
    files = {
        "score.json": list(score_records(rated, labelling)),
        "attributes.json": list(attribute_records(rated, labelling)),
    }
    for level in (1, 2, 3):
        files[f"descriptions_level_{level}.json"] = [_description_record(p, level) for p in training]
    files["aspects.json"] = [record for p in training for record in _aspect_records(p)]
    files["captions.json"] = [
        description_record(f"{p.name}#caption", p.name, CAPTION_QUESTION, p.caption, extra={}) for p in training
    ]
    files["test.json"] = list(image_records(replace(_rated(p), kept={}) for p in pictures if p.index in test))
    files["annotations.json"] = [_annotation(p, "test" if p.index in test else "train") for p in pictures]
    return files


def _rated(picture: Picture) -> Annotation:
    """What the raters said, as an importer would have it; training asks the question that was drawn."""
    ratings = picture.ratings
    turns = [{"from": "human", "value": f"{picture.score_question}\n{IMAGE_TOKEN}"}]
    return Annotation(
        image=picture.name,
        score=ratings.mean,
        source=picture.name,
        std=ratings.std,
        attributes=ratings.attributes,
        kept={"conversations": turns, "attribute_std": ratings.attribute_std},
    )


def _head(picture: Picture) -> dict[str, Any]:
    return next(image_records([replace(_rated(picture), kept={})]))


def _description_record(picture: Picture, level: int) -> dict[str, Any]:
    head = _head(picture)
    extra = {key: head[key] for key in ("gt_score", "std", "attributes")}
    question, text = picture.questions[level - 1], picture.said.levels[level - 1]
    return description_record(f"{picture.name}#level-{level}", picture.name, question, text, extra)


def _aspect_records(picture: Picture) -> list[dict[str, Any]]:
    """Question and sentence on each attribute, as `artquant analyse` asks about it with this prompt."""
    asked = get_prompt("artquant-aspects").analysing()
    records = []
    for name, text in picture.said.attributes.items():
        phrase = attribute_phrase(name)
        records.append(
            description_record(f"{picture.name}#{phrase}", picture.name, asked[phrase].question, text, extra={})
        )
    return records


def _annotation(picture: Picture, split: str) -> dict[str, Any]:
    true = to_scale(picture.values)
    plan = picture.plan
    return _head(picture) | {
        "split": split,
        "composition": plan.composition,
        "mood": plan.mood,
        "feature": plan.feature,
        "light_from": "right" if plan.side > 0 else "left",
        "width": plan.width,
        "height": plan.height,
        "raters": picture.ratings.raters,
        "true_attributes": {name: round(float(v), 4) for name, v in zip(ATTRIBUTES, true, strict=True)},
        "true_total": round(float(total(true)), 4),
    }
