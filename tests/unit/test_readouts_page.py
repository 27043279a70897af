"""The page about readouts says what the code does."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from artquant.cli.runs import load_run
from artquant.config.load import convert
from artquant.config.schema import LossConfig
from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE
from artquant.readouts import DEFAULT, READOUTS, readout_of
from artquant.train.objective import Objective

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "readouts.md").read_text(encoding="utf-8")
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])


def table(text: str, heading: str) -> list[tuple[str, str]]:
    """The first two columns of the table whose first column has a heading."""
    rows = re.search(rf"^\| {heading} \|.*\n\|[ -|]*\n((?:\|.*\n?)*)", text, re.M)
    return [tuple(cell.strip() for cell in row.split(" | ")[:2]) for row in rows[1].replace("\n| ", "\n").splitlines()]


def test_every_readout_has_its_section():
    assert [name.strip("`") for name in SECTIONS if name.startswith("`")] == list(READOUTS)
    assert f"without `readout` it is `{DEFAULT}`" in PAGE


@pytest.mark.parametrize("kind", READOUTS)
def test_settings_and_terms(kind):
    section = SECTIONS[f"`{kind}`"]
    stated = {name.strip("| `"): yaml.safe_load(value.strip("`")) for name, value in table(section, "setting")}
    assert stated == {field.name: field.default for field in fields(READOUTS[kind].Settings)}
    stated = {name.strip("| `"): float(weight) for name, weight in table(section, "term")}
    assert stated == dict(readout_of({"kind": kind}, APDD_SCALE).loss_weights)


def test_example():
    example = yaml.safe_load(re.search(r"```yaml\n(.*?)```", PAGE, re.S)[1])
    readout = readout_of(example["readout"], APDD_SCALE)
    objective = Objective(readout, convert(LossConfig, example["stages"][0]["loss"], "loss"))
    assert objective.weights["score_emd"] == 0.5


@pytest.mark.parametrize(("given", "answer"), table(SECTIONS["Wrong use"], "in the configuration"))
def test_wrong_use(tmp_path, given, answer):
    given = yaml.safe_load(re.search("`(.*)`", given)[1])
    data = [{"records": "score.json", "images": "images"}]
    stage = {"name": "scores", "data": data} | {key: given.pop(key) for key in ("loss",) if key in given}
    config = {"run": "run", "base": "base", "stages": [stage], "infer": {"records": "test.json"}} | given
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    with pytest.raises(ArtQuantError) as error:
        load_run(file, ())
    assert str(error.value) == f"{file}: {re.search('`(.*)`', answer)[1]}"
