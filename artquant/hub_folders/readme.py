"""The README of a hub folder: how to use it, what its scores mean, how well they agree with people's, licence."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import __version__ as version

from artquant.config.run_paths import EVALUATION
from artquant.data.predictions import read_origin
from artquant.errors import ArtQuantError, visible
from artquant.evaluate.report import METRICS, interval_text
from artquant.files.json_files import read_json
from artquant.models.model_card import Card
from artquant.models.model_folder import ModelFolder
from artquant.models.weights import LoadedModel

_INSTALLED_AS = {"PIL": "pillow"}  # packages whose name is another where they are installed from
_FIGURES = ("SRCC", "PLCC", "KRCC", "MAE", "RMSE")


@dataclass(frozen=True)
class About:
    """What the model itself does not say. evaluations: records of `metrics.json`."""

    name: str
    licence: str | None
    evaluations: Sequence[dict[str, Any]]


def read_evaluations(file: Path) -> list[dict[str, Any]]:
    """What `artquant eval` wrote. Raises ArtQuantError: it is no such file."""
    found = read_json(file)
    try:
        for one in found:
            _rows(one)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise ArtQuantError(f"{file}: not what artquant eval writes ({error!r}); name its {METRICS}") from error
    return list(found)


def run_evaluations(source: ModelFolder) -> list[dict[str, Any]]:
    """Those of the run that a model lies in, as far as the predictions were made with its weights."""
    run = source.path.absolute().parent.parent
    file = run / EVALUATION / METRICS
    weights = [folder.fingerprint for folder in source.chain()]
    return [
        one
        for one in (read_evaluations(file) if file.is_file() else ())
        if read_origin(run / Path(one["predictions"]).name).get("weights") == weights
    ]


def readme(loaded: LoadedModel, card: Card, about: About, packages: Sequence[str]) -> str:
    """The text, Markdown behind the hub's header. packages: what the code imports."""
    sections = (
        _header(about),
        _use(loaded, about, packages),
        _scale(loaded, card),
        _evaluation(about),
        _origins(card, about),
    )
    return "\n\n".join("\n".join(section) for section in sections) + "\n"


def _header(about: About) -> Iterator[str]:
    yield "---"
    yield from () if about.licence is None else (f"license: {json.dumps(about.licence)}",)
    yield from ("library_name: transformers", "pipeline_tag: image-text-to-text")
    yield from ("tags:", "- image-aesthetics-assessment", "- image-quality-assessment", "- art", "---", "")
    yield f"# {visible(about.name)}"


def _use(loaded: LoadedModel, about: About, packages: Sequence[str]) -> Iterator[str]:
    low, high = loaded.readout.low, loaded.readout.high
    yield f"Scores the aesthetics of pictures, asked about as {loaded.prompt.subject}, from {low:g} to {high:g}."
    yield from ("", f"    pip install {' '.join(_INSTALLED_AS.get(name, name) for name in packages)}", "")
    yield from ("```python", "from transformers import AutoModelForCausalLM", "")
    yield f'model = AutoModelForCausalLM.from_pretrained("{visible(about.name)}", trust_remote_code=True)'
    yield 'print(model.score(["a.jpg", "b.jpg"]))  # Tensor[2]; PIL pictures, arrays and tensors too'
    if loaded.learned is None or "description" in loaded.learned:
        level = len(loaded.prompt.description_questions)
        yield f'print(model.describe(["a.jpg"], level={level}))  # a list of texts'
    yield "```"
    yield ""
    yield f"`trust_remote_code` runs the files beside the weights: read them. Tried with transformers {version}. A"
    yield "score does not depend on what else is in its batch, but for rounding. `artquant score` reads the folder too."


def _scale(loaded: LoadedModel, card: Card) -> Iterator[str]:
    readout, asked = loaded.readout, loaded.prompt.scoring()
    yield "## Scale and prompt"
    yield ""
    yield f"Range {readout.low:g} to {readout.high:g}, higher is better; read by `{readout.kind}`:"
    yield from ("", "```json", json.dumps(readout.to_dict(), ensure_ascii=False), "```", "")
    yield "Every picture is asked about in these words, and the score is read behind the answer's beginning:"
    yield from ("", "```json")
    yield json.dumps({"system": asked.system, "question": asked.question, "answer": asked.answer}, ensure_ascii=False)
    yield "```"
    if card.attributes:
        yield from (
            "",
            f"Trained on attributes, which `artquant score --attributes` reads: {', '.join(card.attributes)}.",
        )


def _evaluation(about: About) -> Iterator[str]:
    yield "## How well it agrees with people"
    yield ""
    if not about.evaluations:
        yield "Not measured."
        return
    yield "On pictures with known scores; in brackets 95 % intervals over resampled pictures."
    yield ""
    yield f"| data | pictures | {' | '.join(_FIGURES)} |"
    yield f"|---|---|{'---|' * len(_FIGURES)}"
    for one in about.evaluations:
        yield from _rows(one)


def _rows(evaluation: dict[str, Any]) -> list[str]:
    """Of the total and of each attribute."""
    rows = [(Path(evaluation["truth"]).name, evaluation)]
    rows += [(str(name), found) for name, found in evaluation.get("attributes", {}).items()]
    return [
        f"| {visible(name)} | {found['n']:d} | {' | '.join(_cell(found['metrics'][one]) for one in _FIGURES)} |"
        for name, found in rows
    ]


def _cell(estimate: dict[str, Any]) -> str:
    interval = interval_text(estimate["low"], estimate["high"])
    return f"{estimate['value']:.3f}{'' if interval == '-' else f' {interval}'}"


def _origins(card: Card, about: About) -> Iterator[str]:
    yield "## Licence and origin"
    yield ""
    said = "is not stated here: it follows from those of the base model and the data"
    yield f"Code: Apache-2.0. The weights' licence {said if about.licence is None else f'is {visible(about.licence)}'}."
    told = {name: card.history[name] for name in ("run", "stage", "base", "data", "versions") if name in card.history}
    if told:
        yield from ("", "```json", json.dumps(told, ensure_ascii=False, indent=1), "```")
    yield ""
    yield "A score is a model's opinion, learned from the people who rated its training pictures; of pictures unlike"
    yield "those it means little."
