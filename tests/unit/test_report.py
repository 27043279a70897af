"""`artquant report`: what stands on the page, and what is refused."""

import base64
import hashlib
import json
import re

import numpy as np
import pytest
from PIL import Image
from scipy.stats import norm

from artquant.cli import main
from artquant.pages.charts import histogram_edges
from artquant.report.pictures import spread_places
from artquant.report.sheets import apart
from artquant.report.spread import covered, errors_by_score, widening


@pytest.fixture
def folder(tmp_path):
    """Forty pictures, predicted twice; true scores in a file."""
    draw = np.random.default_rng(3)
    (tmp_path / "images").mkdir()
    true = np.round(draw.uniform(2, 9, 40), 3)
    for number in range(40):
        Image.new("RGB", (90, 60), (6 * number, 80, 90)).save(tmp_path / "images" / f"{number}.jpg")
    for file, noise in (("a", 0.5), ("b", 1.5)):
        scores = true + draw.normal(0, noise, 40)
        write(tmp_path / f"{file}.jsonl", lines(scores, "Color"))
    write(
        tmp_path / "truth.json",
        [
            {"id": f"p{n}", "image": f"{n}.jpg", "gt_score": score, "attributes": {"Color": score / 2}}
            for n, score in enumerate(true)
        ],
    )
    return tmp_path


def lines(scores, *attributes, **more):
    return [
        {"id": f"p{n}", "image": f"{n}.jpg", "score": score, "std": 0.5 + n / 100, **more}
        | ({"attributes": {name: {"score": score / 2 + 1} for name in attributes}} if attributes else {})
        for n, score in enumerate(scores)
    ]


def write(path, records):
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")


def report(folder, *arguments):
    return main(["--quiet", "report", "--bootstrap", "20", "--out", str(folder / "r.html"), *map(str, arguments)])


def parts(folder):
    return re.findall("<h2>(.*?)</h2>", (folder / "r.html").read_text(encoding="utf-8"))


def listed(folder):
    text = (folder / "r.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'id="list-data">(.*?)</script>', text)[1])


def test_one_file_with_truth(folder, capsys):
    named = ["--truth", folder / "truth.json", "--images", folder / "images"]
    assert report(folder, "--predictions", folder / "a.jsonl", *named) == 0
    assert "r.html, 40 pictures" in capsys.readouterr().out
    sheets = ["Best", "Worst", "Overrated", "Underrated", "Most uncertain"]
    figures = ["What it is of", "Agreement with people", "Does the stated spread cover?", "Distribution of scores"]
    assert parts(folder) == [*figures, "Attributes", *sheets, "All pictures"]
    data = listed(folder)
    assert [title for title, *_ in data["columns"]] == [
        "Predicted",
        "True",
        "Off",
        "± Deviation",
        "Color",
        "Color, true",
    ]
    assert len(data["rows"]) == 40 and all(data["small"])
    image, identity, said, score, true, off, *_ = data["rows"][7]
    assert (image, identity, said) == ("7.jpg", "p7", "") and off == pytest.approx(score - true, abs=2e-3)


def test_the_page_runs_its_own_script_alone(folder):
    assert report(folder, "--predictions", folder / "a.jsonl", "--no-pictures") == 0
    text = (folder / "r.html").read_text(encoding="utf-8")
    [script] = re.findall(r"<script>(.*?)</script>", text, re.S)
    told = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{told}&#x27;" in text and "default-src &#x27;none&#x27;" in text
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|fetch|https?://", script)
    assert not re.search(r"https?://|url\(", text)
    assert "no folder of pictures was named" in text and listed(folder)["small"] == [""] * 40


def test_without_truth_there_are_no_figures(folder):
    assert report(folder, "--predictions", folder / "a.jsonl", "--images", folder / "images") == 0
    assert parts(folder) == [
        "What it is of",
        "Distribution of scores",
        "Best",
        "Worst",
        "Most uncertain",
        "All pictures",
    ]


def test_true_scores_of_the_lines(folder):
    write(folder / "c.jsonl", lines(np.arange(2, 9, 0.5), gt_score=4.0))
    assert report(folder, "--predictions", folder / "c.jsonl") == 2  # all the same: no correlation
    scores = np.arange(2, 9, 0.5)
    write(folder / "c.jsonl", [one | {"gt_score": one["score"] * 1.1 + 1} for one in lines(scores)])
    assert report(folder, "--predictions", folder / "c.jsonl") == 0
    assert {"Agreement with people", "Underrated"} <= set(parts(folder)) and "Overrated" not in parts(folder)


def test_two_files_beside_each_other(folder):
    files = ["--predictions", folder / "a.jsonl", folder / "b.jsonl"]
    assert report(folder, *files, "--truth", folder / "truth.json", "--no-pictures", "--examples", 3) == 0
    assert parts(folder)[5:7] == ["Where the files differ", "Best"]
    data = listed(folder)
    assert [title for title, *_ in data["columns"]][:5] == ["a", "b", "True", "Off, a", "Apart, %"]
    scores = np.array([row[3:5] for row in data["rows"]]).T
    expected = np.argsort(-apart(scores), kind="stable")[:3]
    text = (folder / "r.html").read_text(encoding="utf-8")
    sheet = text[text.index("Where the files differ</h2>") : text.index("<h2>Best")]
    assert re.findall("<h3>(.*?)</h3>", sheet) == [f"{n}.jpg" for n in expected]


def test_missing_pictures_are_counted(folder, capsys):
    (folder / "images" / "3.jpg").unlink()
    (folder / "images" / "4.jpg").write_bytes(b"no picture")
    assert report(folder, "--predictions", folder / "a.jsonl", "--images", folder / "images") == 0
    said = capsys.readouterr().err
    assert "2 pictures could not be shown" in said and "3.jpg" in said and said.count("\n") == 1
    assert [place for place, small in enumerate(listed(folder)["small"]) if not small] == [3, 4]


def test_descriptions_of_any_form(folder):
    said = [
        {"image": "/far/0.jpg", "level": 1, "description": "Blue."},
        {"image": "/far/0.jpg", "level": 3, "description": "Blue and calm."},
        {"image": "1.jpg", "descriptions": {"1": "Red.", "2": "Red, loud."}},
        {"image": "2.jpg", "perception": "A tree.", "cognition": "It is old."},
    ]
    write(folder / "said.jsonl", said)
    named = ["--predictions", folder / "a.jsonl", "--descriptions", folder / "said.jsonl"]
    assert report(folder, *named) == 0
    texts = [row[2] for row in listed(folder)["rows"]]
    assert texts[:4] == ["Blue and calm.", "Red, loud.", "A tree. It is old.", ""]
    write(folder / "said.jsonl", [{"image": "x.jpg", "description": "Of another."}])
    assert report(folder, *named) == 2


@pytest.fixture
def run_of(folder, monkeypatch):
    """A run that has scored, and its configuration."""
    monkeypatch.chdir(folder)
    (folder / "runs" / "mine").mkdir(parents=True)
    (folder / "a.jsonl").rename(folder / "runs" / "mine" / "predictions.jsonl")
    config = folder / "mine.yaml"
    config.write_text("run: mine\nbase: nowhere\ninfer: {records: truth.json, images: images}\n", encoding="utf-8")
    return config


def test_evaluating_a_run_ends_with_its_report(run_of, folder, capsys):
    page = folder / "runs" / "mine" / "evaluation" / "report.html"
    few = ["--no-plot", "--bootstrap", "20"]
    assert main(["--quiet", "eval", str(run_of), *few, "--no-report"]) == 0 and not page.exists()
    assert main(["--quiet", "eval", str(run_of), *few]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[-1] == "Report: runs/mine/evaluation/report.html, 40 pictures" and said.err == ""
    evaluated = page.read_text(encoding="utf-8")
    assert "Report: mine" in evaluated and "truth.json" in evaluated
    assert main(["--quiet", "report", str(run_of), "--bootstrap", "20"]) == 0
    assert page.read_text(encoding="utf-8") == evaluated
    assert main(["--quiet", "report", str(run_of), "--predictions", "b.jsonl"]) == 2


def test_only_a_report_is_replaced(folder, capsys):
    named = ["--predictions", folder / "a.jsonl"]
    assert report(folder, *named) == 0 and report(folder, *named) == 0
    for content in ("<html>mine</html>", ""):
        (folder / "r.html").write_text(content, encoding="utf-8")
        assert report(folder, *named) == 2 and (folder / "r.html").read_text(encoding="utf-8") == content
        assert "is there and no report of ours" in capsys.readouterr().err
    assert report(folder, *named, "--out", folder / "a.jsonl") == 2
    assert report(folder, *named, "--out", folder) == 2
    assert report(folder, *named, folder / "a.jsonl") == 2


def test_coverage_of_normal_errors():
    draw = np.random.default_rng(0)
    deviation = draw.uniform(0.5, 2, 20_000)
    off = draw.normal(0, deviation)
    for one in covered(off, deviation):
        assert one.low < one.seen < one.high and one.seen == pytest.approx(one.stated, abs=0.012)
    assert widening(off, deviation) == pytest.approx(1, abs=0.03)
    assert widening(off, deviation / 2) == pytest.approx(2, abs=0.06)
    exact = np.abs(off) <= norm.ppf(0.84) * deviation
    assert covered(off, deviation)[1].seen == exact.mean()
    assert widening(off, np.zeros(20_000)) is None


def test_errors_by_score_are_of_equal_groups():
    predicted = np.arange(100.0)
    bands = errors_by_score(predicted, predicted - 2)
    assert len(bands) == 10 and {one.y for one in bands} == {2.0} and bands[0].x == 4.5
    assert len(errors_by_score(predicted[:3], predicted[:3])) == 1


@pytest.mark.parametrize("count", [1, 2, 3, 50, 1000, 1001])
def test_places_are_spread(count):
    places = list(spread_places(count))
    assert sorted(places) == list(range(count))
    if count == 1000:
        assert np.histogram(places[:100], 10, (0, 1000))[0].tolist() == pytest.approx([10] * 10, abs=3)


@pytest.mark.parametrize(("low", "high"), [(1, 10), (0.001, 0.0042), (3, 3), (-20, 85.5), (2, 2.0000001)])
def test_edges_hold_everything(low, high):
    edges, said = histogram_edges(low, high, 24)
    assert edges[0] <= low and edges[-1] >= high and len(edges) <= 25 and len(set(said)) == len(edges) - 1
