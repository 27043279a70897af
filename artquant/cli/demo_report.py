"""Does the demo's model look at the picture?

Every held-out picture of a demo data set, and as many training pictures, are described by the model; a reader of the
closed vocabulary judges each statement by what was drawn. Says the share of right statements by kind, beside the most
frequent answer and chance, and some pictures with what is true of them; writes statements.json and contact_sheet.png.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from artquant.cli.terminal import say
from artquant.data.images import load_image
from artquant.data.predictions import read_predictions
from artquant.demo.attributes import ATTRIBUTES, panel_biases
from artquant.demo.contact_sheet import Shown, contact_sheet, statements
from artquant.demo.dataset import MANIFEST, Picture, make_picture
from artquant.demo.phrases import CAPTION_QUESTION, LEVELS
from artquant.demo.reader import SEEN, Share, judge_texts, read_level
from artquant.evaluate.report import aligned
from artquant.files.json_files import read_json, write_json
from artquant.infer.scorer import Scorer

SHOWN = 8  # pictures on the sheet
PRINTED = 2  # of them in the terminal
ASKED = 60  # pictures that are described on each level
COLUMNS = ("right", "of_said", "usual", "chance", "way")


def known_pictures(data: Path, file: str) -> list[Picture]:
    """Everything about the pictures of one of the data set's files, in its order."""
    seed = read_json(data / MANIFEST)["seed"]
    biases = panel_biases(seed)
    return [
        make_picture(seed, int(Path(record["image"]).stem), biases)[0] for record in read_json(data / "meta" / file)
    ]


def described(scorer: Scorer, data: Path, pictures: Sequence[Picture], level: int = len(LEVELS)) -> list[str]:
    """The model's description of each picture on a level; the last is the fullest."""
    images = [load_image(data / "images" / picture.name) for picture in pictures]
    return scorer.describe(images, level, max_new_tokens=200, batch_size=32)


def table(held_out: dict[str, Share], training: dict[str, Share]) -> list[str]:
    """A line for each kind of statement."""
    rows = [["statement", "pictures", "right", "of said", "most frequent", "chance", "way", "training: right"]]
    for kind, share in held_out.items():
        figures = [f"{getattr(share, name):.3f}" for name in COLUMNS]
        rows.append([kind, str(share.n), *figures, f"{training[kind].right:.3f}" if kind in training else "-"])
    for name, kinds in (("mean of what is seen", SEEN), ("mean of the grades", ATTRIBUTES)):
        each = [held_out[kind] for kind in kinds if kind in held_out]
        figures = [f"{np.mean([getattr(share, name) for share in each]):.3f}" for name in COLUMNS]
        learned = np.mean([training[kind].right for kind in kinds if kind in training])
        rows.append([name, "", *figures, f"{learned:.3f}"])
    return aligned(rows)


def report(data: Path, model: Path, predictions: Path, out: Path) -> None:
    """Describe, judge, write and print."""
    scorer, scores = Scorer.from_pretrained(model), read_predictions(predictions)
    test, training = known_pictures(data, "test.json"), known_pictures(data, "score.json")
    seen = training[: len(test)]
    said, said_seen = described(scorer, data, test), described(scorer, data, seen)
    found = judge_texts([(one.said.levels[2], text) for one, text in zip(test, said, strict=True)])
    learned = judge_texts([(one.said.levels[2], text) for one, text in zip(seen, said_seen, strict=True)])
    levels = [described(scorer, data, test[:ASKED], level) for level in range(1, len(LEVELS))] + [said[:ASKED]]
    obeyed = [float(np.mean([read_level(text) == level for text in texts])) for level, texts in enumerate(levels, 1)]
    ids = {record["image"]: record["id"] for record in read_json(data / "meta" / "test.json")}
    shown = [
        Shown(
            one.name,
            load_image(data / "images" / one.name),
            one.ratings.mean,
            scores[ids[one.name]].prediction.score,
            one.said.levels[2],
            text,
        )
        for one, text in zip(test[:SHOWN], said, strict=False)
    ]
    out.mkdir(parents=True, exist_ok=True)
    contact_sheet(shown).save(out / "contact_sheet.png")
    write_json(
        out / "statements.json",
        {
            "held_out": {kind: asdict(share) | {"way": share.way} for kind, share in found.items()},
            "training": {kind: asdict(share) for kind, share in learned.items()},
            "levels": obeyed,
            "texts": {one.name: text for one, text in zip(test, said, strict=True)},
        },
    )
    say("", f"{len(test)} held-out pictures, described:", *table(found, learned))
    shares = (f"{level}: {share:.2f}" for level, share in enumerate(obeyed, 1))
    say(f"of the level that was asked for: {' '.join(shares)}")
    for one in shown[:PRINTED]:
        say(f"\n{one.name}: score {one.score:.1f}, true {one.true_score:.1f}")
        say(*(f"  {text}" for text, _ in statements(one)))
    say(f"\n{out / 'contact_sheet.png'}: {len(shown)} held-out pictures with what is true of them and what is said")


def caption_report(data: Path, model: Path) -> None:
    """Captions by a base of the held-out pictures, and of as many training pictures, judged; printed."""
    scorer = Scorer.from_pretrained(model)
    test, training = known_pictures(data, "test.json"), known_pictures(data, "score.json")
    found = []
    for pictures in (test, training[: len(test)]):
        images = [load_image(data / "images" / picture.name) for picture in pictures]
        answers = scorer.answer(images, CAPTION_QUESTION, max_new_tokens=200, batch_size=32)
        found.append(judge_texts([(one.caption, answer.text) for one, answer in zip(pictures, answers, strict=True)]))
    rows = [["statement", "right", "of said", "most frequent", "training: right"]]
    for kind, share in found[0].items():
        figures = [f"{figure:.3f}" for figure in (share.right, share.of_said, share.usual)]
        rows.append([kind, *figures, f"{found[1][kind].right:.3f}" if kind in found[1] else "-"])
    say("", f"captions of {len(test)} held-out pictures:", *aligned(rows))
