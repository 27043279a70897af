"""`artquant check` as its user runs it."""

import json
import shutil

import pytest
import yaml


@pytest.fixture
def spoilt(lab, tmp_path):
    """A configuration over a copy of the laboratory's data with one faulty record and one lost picture."""
    data = tmp_path / "data"
    shutil.copytree(lab.data, data)
    scores = data / "meta" / "score.json"
    records = json.loads(scores.read_text(encoding="utf-8"))
    records[2]["gt_score"] = 70
    scores.write_text(json.dumps(records), encoding="utf-8")
    (data / "images" / records[5]["image"]).unlink()
    stage = lab.stage("scores", {scores: 1})
    stage["data"][0]["images"] = str(data / "images")
    infer = {"records": str(data / "meta" / "test.json"), "images": str(data / "images")}
    return lab.write(tmp_path, stage, infer=infer), scores, records


def test_a_clean_run_passes(lab, tmp_path, capsys):
    config = lab.write(tmp_path, lab.descriptions(), lab.scores())
    assert lab.artquant("check", config, "--strict", "--workers", 1) == 0
    shown = capsys.readouterr()
    assert shown.out.rstrip().endswith("No errors, no warnings")
    assert "Pictures: 40 named, 40 read (40 PNG" in shown.out and "Not checked" not in shown.out
    assert "pictures" in shown.err  # the progress bar
    assert lab.artquant("--quiet", "check", config, "--workers", 0) == 0
    assert capsys.readouterr().err == ""


def test_faults_are_named_and_are_status_1(lab, spoilt, capsys):
    config, scores, records = spoilt
    assert lab.artquant("--quiet", "check", config, "--workers", 0) == 1
    out = capsys.readouterr().out
    assert f"{scores} record 3 (id {records[2]['id']!r})" in out and '"gt_score" 70 is outside 1 to 10' in out
    assert f"{scores} record 6" in out and records[5]["image"] in out and "no such file" in out
    assert out.splitlines()[-1] == "2 errors, 0 warnings: correct the errors before training or scoring"


def test_json_holds_everything(lab, spoilt, capsys):
    config, scores, _ = spoilt
    assert lab.artquant("--quiet", "check", config, "--json", "--no-pictures") == 1
    values = json.loads(capsys.readouterr().out)
    [finding] = values["findings"]
    assert (finding["kind"], finding["file"], finding["record"]) == ("score-off-scale", str(scores), 3)
    assert values["not_checked"] == ["pictures and their copies (--no-pictures)"]


def test_warnings_count_only_if_asked(lab, spoilt, capsys):
    config, scores, records = spoilt
    records[2]["gt_score"], records[2]["level_probs"] = 9.9, None  # the answer's word is another
    records[2]["conversations"][1]["value"] = "The quality of the painting is poor."
    scores.write_text(json.dumps(records), encoding="utf-8")
    options = ("--quiet", "check", config, "--no-pictures")
    assert lab.artquant(*options) == 0
    assert "0 errors, 1 warning: usable; read the warnings" in capsys.readouterr().out
    assert lab.artquant(*options, "--strict") == 1


def test_without_a_configuration(lab, capsys):
    options = ("--test", lab.records("test"), "--images", lab.images, "--workers", 0)
    assert lab.artquant("--quiet", "check", "--records", lab.records("score"), *options) == 0
    assert "lengths in tokens (they need a configuration)" in capsys.readouterr().out
    scale = ("--weights", "5,4,3,2,1")
    assert lab.artquant("--quiet", "check", "--records", lab.records("score"), *options, *scale) == 1
    assert "is outside 1 to 5" in capsys.readouterr().out


def test_levels_are_those_of_the_card(lab, tmp_path, capsys):
    """Of files that `artquant prepare` made no setting is said again; other levels are a finding."""
    table = tmp_path / "scores.csv"
    table.write_text("file,rating\n" + "".join(f"{n}.png,{n % 5 + 1}\n" for n in range(10)), encoding="utf-8")
    made = (
        "--image-column",
        "file",
        "--score-column",
        "rating",
        "--range",
        "1,5",
        "--subject",
        "image",
        "--out",
        tmp_path,
    )
    assert lab.artquant("--quiet", "prepare", "generic", table, *made) == 0
    options = ("--quiet", "check", "--records", tmp_path / "score.json", "--no-pictures")
    capsys.readouterr()
    assert lab.artquant(*options) == 0
    assert "No errors, no warnings" in capsys.readouterr().out
    assert lab.artquant(*options, "--weights", "10,7.5,5,3.5,1") == 1
    assert "was prepared for other levels" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a configuration, or --records"),
        (("a.yaml", "--records", "b.json"), "not both"),
        (("a.yaml", "--images", "b"), "--images goes with --records"),
        (("nowhere.yaml",), "nowhere.yaml: cannot be read"),
        (("--records", "a.json", "--weights", "1,2"), "weights"),
    ],
)
def test_what_cannot_be_checked_is_status_2(lab, arguments, message, capsys):
    assert lab.artquant("check", *arguments) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("artquant check: error: ") and message in line


def test_overrides_and_a_process_of_its_own(lab, tmp_path):
    """Through `python -m`, with processes that read; settings may stand between the options."""
    config = lab.write(tmp_path, lab.scores())
    done = lab.run("-m", "artquant", "check", config, "--workers", 2, "stages.scores.max_length=20", "--json")
    values = json.loads(done.stdout)
    assert (done.returncode, values["counts"]) == (1, {"too-long": 32})
    assert yaml.safe_load(config.read_text(encoding="utf-8"))["stages"][0]["max_length"] == 512


def test_an_untested_network_is_looked_at_only_where_training_would_take_it(lab, tmp_path, capsys):
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"model_type": "vipllava"}), encoding="utf-8")
    config = lab.write(tmp_path, lab.scores(), base=str(base))
    for setting, said in (("false", "vipllava is none of the tested"), ("true", "cannot be read")):
        lab.artquant("--quiet", "check", config, "--no-pictures", f"model.untested={setting}")
        assert said in " ".join(capsys.readouterr().out.split())
