"""`artquant.check`: what texts and votes say, and faults that all records share."""

import json
import shutil
from pathlib import Path

import pytest
from planted import LEVELS, Planted, drawn

from artquant.check.check import Options, Report, run_check
from artquant.check.sources import inputs_from_config, inputs_from_files
from artquant.config.load import load_config

HERE = Options(workers=0)


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """Folder of an unspoilt set."""
    folder = tmp_path_factory.mktemp("clean") / "set"
    drawn(folder, 100)
    return folder


@pytest.fixture
def fresh(clean, tmp_path) -> Planted:
    """A set of 80 training and 20 test pictures to be spoilt."""
    shutil.copytree(clean, tmp_path / "set")
    names = (*LEVELS, "score", "test")
    meta = tmp_path / "set" / "meta"
    files = {name: json.loads((meta / f"{name}.json").read_text(encoding="utf-8")) for name in names}
    return Planted(tmp_path / "set", files)


def check(config: Path, options: Options) -> Report:
    return run_check(inputs_from_config(str(config), load_config(config)), options)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("refusal", "I'm sorry, but I can't help with describing this image."),
        ("refusal", "As a large language model I do not see pictures."),
        (
            "language",
            "Das Bild zeigt ein Haus und einen Baum, das Licht ist warm und die Farben sind mit Liebe gemalt.",
        ),
        ("language", "Un tableau avec des arbres dans la lumi\u00e8re et une maison sur la colline."),
        ("language", "\u8fd9\u5e45\u753b\u5f88\u7f8e\uff0c\u8272\u5f69\u9c9c\u8273\u3002"),
        ("cut", "A boat lies on the lake and the lig"),
        ("loop", "The sky is blue and the sky is blue and the sky is blue and the sky is blue and."),
        ("loop", "Soft soft soft soft soft light."),
        ("markup", '{"description": "A boat on the lake."}'),
        ("markup", "### The lake\n\nA **boat** lies there."),
        ("markup", "Trees &amp; a boat lie by the lake&#39;s shore."),
        ("encoding", "The caf\u00c3\u00a9 is full of light."),
        ("encoding", "It is the painter\u00e2\u20ac\u2122s garden."),
        ("placeholder", "...."),
        ("placeholder", "[Insert description here]"),
        ("placeholder", "N/A"),
        ("dots", "A boat lies on the lake ...."),
        ("file-name", "The picture painting_0042.jpeg shows a boat."),
        ("refusal", "I won't be able to help with that."),
        ("refusal", "Sure! Here is a description of the image: a boat."),
        ("refusal", "I'm unable to view images directly, but a boat may lie there."),
        ("language", "Bu resim sakin bir koyu g\u00f6steriyor, uzakta tekne var ve renkler \u00e7ok yumu\u015fak."),
        ("language", "Lukisan ini menggambarkan teluk yang tenang dengan beberapa perahu dan warna lembut."),
        ("markup", "ASSISTANT: A boat lies there."),
        ("encoding", "The painter\u201a\u00c4\u00f4s boat."),
        ("placeholder", "Lorem ipsum dolor sit amet."),
        ("placeholder", "Same as above."),
    ],
)
def test_a_text_that_is_no_description(fresh, kind, text):
    fresh.files = {name: records[:40] for name, records in fresh.files.items()}
    record = fresh.files[LEVELS[2]][5]
    record["conversations"][1]["value"] = text
    findings = check(fresh.write(), Options(pictures=False)).findings
    assert [(f.kind, f.record) for f in findings if f.kind.startswith("text-")] == [(f"text-{kind}", 6)]


def test_texts_that_are_no_faults(fresh):
    texts = (
        "Calm sea, boats",
        "It resembles 'Der Wanderer \u00fcber dem Nebelmeer' by Friedrich.",
        "Rembrandt van Rijn's De Nachtwacht comes to mind.",
        "The na\u00efve fa\u00e7ade of the ch\u00e2teau, the se\u00f1orita and the pi\u00f1ata.",
        "Red, blue, red, blue, red, blue stripes cover the wall.",
        "I cannot describe how moving this is, and the sitter served as a model.",
    )
    for record, text in zip(fresh.files[LEVELS[2]], texts, strict=False):
        record["conversations"][1]["value"] = text
    findings = check(fresh.write(), Options(pictures=False)).findings
    assert not [(finding.kind, finding.record) for finding in findings if finding.kind.startswith("text-")]


def test_texts_that_people_wrote_have_their_own_ways(fresh):
    """Without marks at their ends, with dots, in another language: what all have is no fault of one."""
    fresh.files = {name: records[:40] for name, records in fresh.files.items()}
    for number, record in enumerate(fresh.files[LEVELS[2]]):
        record["conversations"][1]["value"] = (
            f"Das Bild {number}... ein Haus mit dem Garten und ein Boot auf dem See ...."
        )
    fresh.files[LEVELS[2]][0]["conversations"][1]["value"] = "Das ist ein Bild von dem Haus, mit einem Review"
    kinds = check(fresh.write(), Options(pictures=False)).counts
    assert not any(kind.startswith("text-") and kind != "text-cut" for kind in kinds)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"votes": [0, 0, 0, 0, 9, 1, 0, 0, 0, 0]}, None),
        ({"votes": [0, 0, 0, 0, 9, 1, 0, 0, 0, 0], "std": 0.31}, None),
        ({"votes": [1, 0, 0, 0, 0, 0, 0, 0, 0, 9]}, '"votes" on 1 to 10 give 9.100, "gt_score" is 5.1'),
        ({"votes": [0, 0, 0, 0, 9, 1, 0, 0, 0, 0], "std": 1.5}, '"votes" spread by 0.300, "std" is 1.5'),
        ({"votes": [0, -1, 0, 0, 9, 1]}, "none negative"),
    ],
)
def test_votes_beside_score_and_deviation(fresh, changes, said):
    record = fresh.files["test"][3]
    record |= {"gt_score": 5.1, "std": None} | changes
    path = fresh.folder / "list.json"
    path.write_text(json.dumps([record]), encoding="utf-8")
    findings = run_check(inputs_from_files([], [path], fresh.folder / "images"), HERE).findings
    assert [finding.kind for finding in findings] == ["votes"] * (said is not None)
    assert said is None or said in findings[0].message


def test_a_picture_under_two_ids(fresh):
    fresh.files["score"].append(fresh.files["score"][7] | {"id": "another"})
    [finding] = check(fresh.write(), Options(pictures=False)).findings
    assert (finding.kind, finding.record) == ("picture-twice", 81) and "record 8" in finding.message


def test_one_finding_for_a_folder_a_table_or_a_fault_of_all(fresh, tmp_path):
    fresh.write()
    meta = fresh.folder / "meta"
    [finding] = run_check(inputs_from_files([meta / "score.json"], [], tmp_path / "a" / "b"), HERE).findings
    assert finding.kind == "picture-folder" and "80 pictures" in finding.message
    assert f"--images {fresh.folder / 'images'}" in finding.message
    [finding] = run_check(inputs_from_files([meta / "score.json"], [], meta), HERE).findings
    assert finding.kind == "picture-folder" and "none of its 80 pictures" in finding.message
    table = tmp_path / "table.csv"
    table.write_text("image,score\n" + "a.png,5\n" * 500, encoding="utf-8")
    [finding] = run_check(inputs_from_files([], [table], None), HERE).findings
    assert finding.kind == "file" and f"artquant prepare generic {table}" in finding.message
    findings = run_check(inputs_from_files([meta / "test.json"], [], fresh.folder / "images"), HERE).findings
    assert [finding.message.endswith("(so in all 20 records)") for finding in findings] == [True]


def test_nan_in_a_list_of_one_line_names_its_record(fresh):
    fresh.files["score"][4]["gt_score"] = float("nan")
    fresh.files["score"][9]["gt_score"] = 11
    findings = check(fresh.write(), Options(pictures=False)).findings
    assert [(finding.kind, finding.record) for finding in findings] == [("json", 5), ("score-off-scale", 10)]
    assert findings[0].message.startswith("NaN is not a number")
