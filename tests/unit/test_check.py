"""`artquant.check`: every planted defect is found, nothing else is."""

import copy
import json
import shutil
from pathlib import Path

import pytest
import yaml
from crashing import crash, crash_on_some
from PIL import Image
from planted import LEVELS, Planted, drawn, encoded
from planted_pictures import PICTURES, missing
from planted_records import RECORDS, another_word

from artquant.check import pictures as check_pictures
from artquant.check.check import Options, Report, run_check
from artquant.check.findings import KINDS
from artquant.check.report import as_dict, as_text
from artquant.check.sources import inputs_from_config, inputs_from_files
from artquant.config.load import load_config
from artquant.errors import ArtQuantError

HERE = Options(workers=0, coarse_side=56)


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """Folder of an unspoilt set."""
    folder = tmp_path_factory.mktemp("clean") / "set"
    drawn(folder)
    return folder


@pytest.fixture
def fresh(clean, tmp_path) -> Planted:
    """A set to be spoilt."""
    shutil.copytree(clean, tmp_path / "set")
    return drawn(tmp_path / "set")


def check(config: Path, options: Options = HERE, overrides=()) -> Report:
    return run_check(inputs_from_config(str(config), load_config(config, overrides)), options)


def found(report: Report) -> list[tuple]:
    """Findings as they are planted: kind, file, record, picture - of which names do without folder."""
    return [
        (
            finding.kind,
            finding.file and Path(finding.file).stem,
            finding.record,
            # Of a fault in a record the record is named, not what it may say about a picture.
            finding.picture and Path(finding.picture).name,
        )
        for finding in report.findings
    ]


def test_nothing_is_found_in_fresh_demo_data(fresh, tiny_base):
    report = check(fresh.write(), overrides=[f"base={tiny_base}"])
    assert (report.findings, report.not_checked) == ((), ())
    assert (report.pictures.named, report.pictures.read) == (150, 150)
    assert [file.records for file in report.files] == [120, 120, 120, 120, 30]


def test_every_planted_defect_is_found_and_nothing_else(fresh):
    for plant in (*PICTURES, *RECORDS):
        plant(fresh)
    assert fresh.taken < 119 and fresh.taken_test < 29, "more defects than pictures: draw more"
    report = check(fresh.write())
    assert sorted(found(report), key=str) == sorted(fresh.expected, key=str)
    assert len(PICTURES) + len(RECORDS) >= 45


@pytest.mark.parametrize("plant", [*PICTURES, *RECORDS], ids=lambda plant: plant.__name__)
def test_a_defect_alone_is_named_with_its_place_and_what_to_do(plant, fresh):
    plant(fresh)
    report = check(fresh.write(), Options(workers=0, coarse_side=56, duplicates="cop" in plant.__name__))
    assert sorted(found(report), key=str) == sorted(fresh.expected, key=str)
    text = as_text(report, examples=None)
    for finding in report.findings:
        assert "\n" not in finding.message and finding.message in text and finding.where in text
        assert any(mark in finding.message for mark in (";", ":"))
    errors = sum(KINDS[kind].severity == "error" for kind, *_ in fresh.expected)
    assert (report.errors, report.warnings) == (errors, len(fresh.expected) - errors)


def test_a_picture_is_read_once_and_counted_once(fresh, monkeypatch):
    fresh.expect_picture("picture-empty", 0).write_bytes(b"")
    read = []
    inspect = check_pictures.inspect_picture

    original = check_pictures.inspect_pictures
    monkeypatch.setattr(
        "artquant.check.check.inspect_pictures",
        lambda paths, workers: original(paths, workers, lambda path: read.append(path) or inspect(path)),
    )
    report = check(fresh.write())
    assert len(read) == len(set(read)) == 150
    [finding] = report.findings
    assert "(named by 4 records)" in finding.message


def test_a_crash_costs_one_finding(clean):
    paths = sorted((clean / "images").iterdir())
    facts = dict(check_pictures.inspect_pictures(paths, 2, crash_on_some))
    assert sorted(facts) == list(range(150))
    problems = {paths[index].stem: one.kind for index, one in facts.items() if isinstance(one, check_pictures.Remark)}
    assert problems == {"00003": "picture-crash", "00077": "picture-crash"}


def test_crashes_of_everything_are_an_error(clean):
    paths = sorted((clean / "images").iterdir())[:40]
    with pytest.raises(ArtQuantError, match="end before their time"):
        list(check_pictures.inspect_pictures(paths, 2, inspect=crash))


def test_processes_see_what_this_process_sees(clean):
    paths = sorted((clean / "images").iterdir())[:40]
    assert dict(check_pictures.inspect_pictures(paths, 2)) == dict(check_pictures.inspect_pictures(paths, 0))


def test_damage_shows_wherever_a_jpeg_is_cut(clean, tmp_path):
    """Also where it is decoded at a fraction of its size."""
    image = Image.open(clean / "images" / "00000.png").convert("RGB").resize((900, 700))
    for options in ({}, {"progressive": True}):
        data = encoded(image, "JPEG", quality=85, **options)
        for share in (0.02, 0.1, 0.5, 0.9, 0.99):
            path = tmp_path / "cut.jpg"
            path.write_bytes(data[: int(share * len(data))])
            assert check_pictures.inspect_picture(path).kind in ("picture-damaged", "not-a-picture")


def test_tokens(fresh, tiny_base):
    fresh.files[LEVELS[2]][5]["conversations"][1]["value"] += " And so on and on." * 200
    fresh.expect("too-long", LEVELS[2], 5, fresh.files[LEVELS[2]][5]["image"])
    fresh.expect("text-loop", LEVELS[2], 5, fresh.files[LEVELS[2]][5]["image"])
    report = check(fresh.write(), Options(pictures=False), [f"base={tiny_base}"])
    assert set(found(report)) == fresh.expected
    assert "max_length 400 of stage descriptions" in report.findings[0].message
    assert [file.longest is not None for file in report.files] == [True, True, True, True, False]
    assert report.not_checked == ("pictures and their copies (--no-pictures)",)


def test_what_is_left_out_is_said(fresh, tmp_path):
    config = fresh.write()
    assert check(config).not_checked == ("lengths in tokens (no base model in nowhere; see ModelZoo/README.md)",)
    (tmp_path / "rubbish").mkdir()
    [reason] = check(config, Options(pictures=False), [f"base={tmp_path / 'rubbish'}"]).not_checked[:1]
    assert reason.startswith("lengths in tokens (") and "rubbish" in reason
    report = check(config, Options(workers=0, duplicates=False))
    assert report.not_checked[-1] == "copies of pictures (--no-duplicates)"


def test_files_that_a_configuration_names(fresh, tmp_path):
    config = fresh.write()
    (fresh.folder / "meta" / "score.json").unlink()
    settings = ["stages.0.deepspeed=nowhere.json", "stages.1.start=other/run/model"]
    report = check(config, Options(pictures=False), settings)
    assert sorted((f.kind, Path(str(f.file)).name) for f in report.findings) == [
        ("file", "nowhere.json"),
        ("file", "score.json"),
        ("start", "model"),
    ]


def test_a_folder_of_pictures_to_score(fresh, tmp_path):
    fresh.picture("00001.png").write_bytes(b"")
    fresh.write()
    config = fresh.configuration(LEVELS[:1], ["score"], infer={"records": str(fresh.folder / "images")})
    kinds = check(config).counts
    assert kinds["picture-empty"] == 1 and kinds["leak-same-picture"] == 120
    truth = f"evaluate.truth={fresh.folder / 'meta' / 'test.json'}"
    report = check(config, overrides=[truth])
    assert list(report.counts) == ["picture-empty"], "what is only scored is no leak"


def test_lists_of_every_form(tmp_path, fresh):
    records = fresh.files["test"][:3]
    lines = tmp_path / "list.jsonl"
    lines.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    inputs = inputs_from_files([], [lines], fresh.folder / "images")
    assert run_check(inputs, HERE).findings == ()
    lines.write_text(
        lines.read_text(encoding="utf-8") + '{"image": \n' + json.dumps(records[0] | {"id": 5, "gt_score": 11})
    )
    assert [finding.kind for finding in run_check(inputs, HERE).findings] == ["json", "score-off-scale"]


def test_training_records_in_lines(fresh):
    """As training takes them; what is wrong in one line hides nothing in the next."""
    records = fresh.files["score"][:4]
    records[1]["gt_score"] = 11
    lines = fresh.folder / "meta" / "lines.jsonl"
    lines.write_text("".join(json.dumps(record) + "\n" for record in records[:3]), encoding="utf-8")
    inputs = inputs_from_files([lines], [], fresh.folder / "images")
    assert [(finding.kind, finding.record) for finding in run_check(inputs, HERE).findings] == [("score-off-scale", 2)]
    lines.write_text('{"image": \n' + lines.read_text(encoding="utf-8") + json.dumps(records[3])[:-9], encoding="utf-8")
    findings = run_check(inputs, HERE).findings
    assert sorted((finding.kind, finding.record) for finding in findings) == [
        *(("json", 1), ("json", 5), ("score-off-scale", 3))
    ]


def test_records_before_the_fault_of_a_list_are_checked(fresh):
    records = fresh.files["score"][:3]
    records[1]["gt_score"] = 11
    file = fresh.folder / "meta" / "cut.json"
    file.write_text(json.dumps(records)[:-9], encoding="utf-8")
    inputs = inputs_from_files([file], [], fresh.folder / "images")
    assert {finding.kind for finding in run_check(inputs, HERE).findings} == {"score-off-scale", "json"}


def test_validation_is_held_out(fresh):
    """Its list is checked as the test's; it must not be trained on, but may be the test list."""
    fresh.write()
    meta = fresh.folder / "meta"
    config = yaml.safe_load(fresh.configuration([*LEVELS], ["score"]).read_text(encoding="utf-8"))
    images = str(fresh.folder / "images")
    config["stages"][1]["validation"] = {"records": str(meta / "test.json"), "images": images}
    path = fresh.folder / "run.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert check(path).findings == ()
    held_out = fresh.files["score"][4]
    picked = [{"id": "a", "image": held_out["image"], "gt_score": held_out["gt_score"]}]
    (meta / "held_out.json").write_text(json.dumps(picked), encoding="utf-8")
    config["stages"][1]["validation"]["records"] = str(meta / "held_out.json")
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert found(check(path)) == [("leak-same-picture", "held_out", 1, held_out["image"])]


def test_levels_that_records_declare(fresh):
    """One file with all levels; few of the texts build on each other."""
    records = []
    for level, file in enumerate(LEVELS, start=1):
        records += [
            record | {"level": level, "id": f"{level} {number}"} for number, record in enumerate(fresh.files[file])
        ]
    for record in records[120:200]:  # of level 2
        record["conversations"][1]["value"] = f"Anew, {record['id']}. " + record["conversations"][1]["value"]
    fresh.files = {"all": records, "test": fresh.files["test"]}
    fresh.write()
    report = check(fresh.configuration(["all"], ["all"]), Options(pictures=False))
    numbers = [finding.record for finding in report.findings]
    assert report.counts == {"not-cumulative": 160} and numbers == [*range(121, 201), *range(241, 321)]


@pytest.mark.parametrize("declared", [(None, None, None), (1, 2, 3), (2, 1, 3)])
def test_a_level_file_in_the_place_of_another(fresh, declared):
    """A download under two names; or one file's records under each other's level."""
    if declared != (2, 1, 3):
        fresh.files[LEVELS[1]] = [record | {"id": f"2 {record['id']}"} for record in fresh.files[LEVELS[0]]]
    for level, file in zip(declared, LEVELS, strict=True):
        fresh.files[file] = [record | {"level": level} for record in copy.deepcopy(fresh.files[file])]
    [finding] = check(fresh.write(), Options(pictures=False)).findings[:1]
    assert finding.kind == "level-repeated" and Path(str(finding.file)).stem == LEVELS[1]
    assert finding.severity == "error" and f"{LEVELS[0]}.json; give each level its own file" in finding.message


def test_a_level_in_two_files(fresh):
    """A few records to begin with, and all of them, are the same level's."""
    fresh.files[LEVELS[1]] = [record | {"id": f"2 {record['id']}"} for record in fresh.files[LEVELS[0]][:50]]
    for level, file in zip((1, 1, 3), LEVELS, strict=True):
        fresh.files[file] = [record | {"level": level} for record in copy.deepcopy(fresh.files[file])]
    assert "level-repeated" not in check(fresh.write(), Options(pictures=False)).counts


@pytest.mark.parametrize(("step", "where"), [(-1, "before"), (1, "after")])
def test_a_level_file_one_record_off(fresh, step, where):
    records = fresh.files[LEVELS[1]]
    texts = [record["conversations"][1]["value"] for record in records]
    for number, record in enumerate(records):
        record["conversations"][1]["value"] = texts[(number + step) % len(texts)]
    findings = [f for f in check(fresh.write(), Options(pictures=False)).findings if f.severity == "error"]
    assert {(f.kind, Path(str(f.file)).stem) for f in findings} <= {("level-shifted", name) for name in LEVELS[1:]}
    assert f"pictures one record {where}" in findings[0].message


def test_descriptions_that_are_no_levels_are_not_compared(fresh):
    """Comments on some of the same pictures stand beside the levels."""
    comments = [record | {"id": f"c{i}"} for i, record in enumerate(fresh.files[LEVELS[0]][:40])]
    fresh.files["comments"] = copy.deepcopy(comments)
    for number, record in enumerate(fresh.files["comments"]):
        record["conversations"][1]["value"] = f"Remark {number}: I like the boat."
    assert check(fresh.write(), Options(pictures=False)).findings == ()


@pytest.mark.parametrize("name", ["00004.PNG", "00004.jpg"])
def test_a_missing_picture_that_is_called_otherwise(fresh, name):
    fresh.picture(fresh.files["score"][0]["image"]).rename(fresh.picture(name))
    fresh.files["score"] = fresh.files["score"][:1]
    original = fresh.files["score"][0]["image"]
    fresh.files["score"][0]["image"] = "00004.png"
    fresh.write()
    if original != "00004.png":
        fresh.picture("00004.png").unlink(missing_ok=True)
    inputs = inputs_from_files([fresh.folder / "meta" / "score.json"], [], fresh.folder / "images")
    [finding] = run_check(inputs, HERE).findings
    assert finding.kind == "picture-missing" and finding.message.endswith(f"there is {name!r}")


ODD = (
    *("[1]", "5", "null", '"text"', "{}", '{"id": [1], "image": 5}', '{"id": true, "image": "a\\u0000"}'),
    *('{"id": "\\ud800", "image": "\\ud800.png", "gt_score": 5}', '{"image": "a.png", "gt_score": 1e999}'),
    *('{"image": "a.png", "gt_score": 5, "id": "x", "std": []}', '{"image": "/", "id": {}, "conversations": {}}'),
)
RUBBISH = (
    b"",
    b" ",
    b"\xff\xfe",
    b"[",
    b"[" * 100_000,
    b"{}",
    b"5",
    b'[{"id": NaN}]',
    b'[{"id": 1, "id": 2}]',
    b"[]",
    b"\0",
)


@pytest.mark.parametrize("form", ["training", "test"])
@pytest.mark.parametrize(
    "rubbish", [*RUBBISH, *(f"[{item}]".encode() for item in ODD)], ids=lambda text: repr(text[:40])
)
def test_rubbish_is_an_error_and_no_more(tmp_path, form, rubbish):
    file = tmp_path / "records.json"
    file.write_bytes(rubbish)
    inputs = inputs_from_files(*(([file], []) if form == "training" else ([], [file])), tmp_path)
    report = run_check(inputs, HERE)
    assert report.errors
    assert all(finding.file == str(file) for finding in report.findings)
    json.dumps(as_dict(report))
    as_text(report)


def test_one_hot_labels_are_a_choice(fresh):
    for record in fresh.files["score"]:
        word = record["conversations"][1]["value"].rsplit(" ", 1)[1].rstrip(".")
        record["level_probs"] = [float(word == other) for other in ("excellent", "good", "fair", "poor", "bad")]
    assert check(fresh.write(), Options(pictures=False)).findings == ()


def test_the_report_as_values(fresh):
    missing(fresh)
    another_word(fresh)
    report = check(fresh.write())
    values = json.loads(json.dumps(as_dict(report)))
    assert (values["verdict"], values["errors"], values["warnings"]) == ("faulty", 1, 1)
    assert values["counts"] == {"picture-missing": 1, "answer-word": 1}
    first = values["findings"][0]
    assert first["severity"] == "error" and first["record"] == 1 and first["picture"].endswith(".png")


def test_examples_are_capped_and_counted(fresh):
    for _ in range(9):
        missing(fresh)
    report = check(fresh.write())
    text, everything = as_text(report), as_text(report, examples=None)
    assert text.count("no such file") == 5 and "... and 4 more" in text
    assert everything.count("no such file") == 9 and "more" not in everything
    assert "missing pictures (9)" in text and text.splitlines()[-1].startswith("9 errors, 0 warnings")
