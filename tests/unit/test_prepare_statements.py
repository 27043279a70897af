"""What annotation files say of splits, ranges, deviations, votes is used, or refused with the command to type."""

import json
from pathlib import Path

import pytest

from artquant.cli import main

# KonIQ-10k's official file: MOS on 1-100, SD on 1-5 as the votes' shares are.
KONIQ = """image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set
10004473376.jpg,0.0,0.0,0.238095238095,0.695238095238,0.0666666666667,105,77.3836206897,0.527277894494,training
10007357496.jpg,0.0,0.03125,0.46875,0.489583333333,0.0104166666667,96,68.7285714286,0.580003024795,test
10007903636.jpg,0.0104166666667,0.0,0.208333333333,0.760416666667,0.0208333333333,96,78.6285714286,0.527219618675,training
"""
APDD = "filename,Artistic Categories,Score,Theme and logic,Creativity,Layout and composition,Space and perspective,"
APDD += "The sense of order,Light and shadow,Color,Details and texture,The overall,Mood\n"
ROW = "{},oil painting*classicism*landscapes,{},5,,4,4,5,4,3.5,4,4,\n"
VOTES = ["--vote-columns", "c1,c2,c3,c4,c5"]


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Writes files, runs `artquant prepare` among them; returns what it says and, if it went well, the card."""
    monkeypatch.chdir(tmp_path)

    def prepare(*options, **texts):
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/").replace("_csv", ".csv").replace("_json", ".json")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        failed = main(["--quiet", "prepare", *options, "--out", "out", "--overwrite"])
        said = "".join(capsys.readouterr())
        return said, None if failed else json.loads((tmp_path / "out" / "dataset.json").read_text())

    return prepare


def pictures(card):
    return [said["pictures"] for said in card["splits"].values()]


class TestUnits:
    @pytest.mark.parametrize("scale", ["1,100", "1,5"])
    def test_deviations_in_another_unit(self, run, scale):
        said, card = run("koniq", "k.csv", "--range", scale, k_csv=KONIQ)
        assert card is None and said.count("\n") == 1
        assert "'SD' is 0.52722 to 0.580003" in said and "--range 1,5 --vote-columns c1,c2,c3,c4,c5" in said
        _, card = run("koniq", "k.csv", "--range", "1,5", *VOTES, "--method", "votes")
        assert pictures(card) == [2, 0, 1] and card["splits"]["test"]["scores"]["mean"] == pytest.approx(3.479167)
        assert "--ignore-std" not in said  # the right command is another
        said, card = run("koniq", "k.csv", "--range", "1,100", "--ignore-std")
        assert pictures(card) == [2, 0, 1] and "std" not in json.loads(Path("out/test.json").read_text())[0]

    @pytest.mark.parametrize(
        ("deviation", "why"), [("60", "above half the range"), ("0.5", "most deviations under 1.25%")]
    )
    def test_deviations_without_votes(self, run, deviation, why):
        text = f"image,gt_score,std\na.jpg,20,{deviation}\nb.jpg,90,{deviation}\n"
        said, card = run("generic", "a.csv", "--range", "0,100", "--std-column", "std", a_csv=text)
        assert card is None and why in said and "--ignore-std" in said
        said, card = run("generic", "a.csv", "--range", "0,100", "--ignore-std")
        assert pictures(card) == [2, 0, 0]
        assert "leave one of them out" in run("generic", "a.csv", "--ignore-std", "--std-column", "std")[0]

    def test_votes_that_are_not_those_of_the_deviation(self, run):
        said, card = run("koniq", "k.csv", "--range", "1,5", *VOTES, k_csv=KONIQ.replace("0.580003024795", "0.68"))
        assert card is None and "record 2: standard deviation 0.68, but that of the votes is 0.57" in said
        record = {"image": "a.jpg", "gt_score": 4, "votes": [0, 1, 1, 2, 0]}  # in records too; evenly over the range
        said, card = run("generic", "r.json", "--range", "1,5", r_json=json.dumps([record]))
        assert card is None and "score 4, but the mean of the votes is 3.25" in said and "--vote-values" in said

    def test_scores_that_fill_little_of_the_range(self, run):
        text = "image,gt_score\na.jpg,0.2\nb.jpg,0.55\nc.jpg,1\n"  # FLICKR-AES
        said, card = run("generic", "a.csv", "--range", "0,10", a_csv=text)
        [note] = [note for note in card["notes"] if "0.2 to 1, 8% of the range 0 to 10, all of them 'bad'" in note]
        assert "--range 0.2,1" in note and note in said and card["scale"]["found"] == [0.2, 1]
        assert run("generic", "a.csv", "--range", "0.2,1")[1]["notes"] == []


class TestWords:
    def test_the_rule_is_named_and_in_the_card(self, run):
        text = "image,score\na.jpg,7.6\nb.jpg,3\n"
        said, card = run("baid", "a.csv", a_csv=text)
        assert card["distributions"]["word"] == "likeliest" and "readout:" not in said
        assert "is good." in Path("out/score.json").read_text()
        said, card = run("baid", "a.csv", "--word", "published")
        assert (
            card["distributions"]["word"] == "published" and "readout: {kind: rating_levels, word: published}" in said
        )
        assert "is excellent." in Path("out/score.json").read_text()
        assert card["splits"]["train"]["words"]["excellent"] == 1
        assert "leave out --word" in run("baid", "a.csv", "--word", "published", "--readout", "score_tokens")[0]


class TestSplits:
    def test_a_clone_of_apddv2(self, run):
        master = (
            APDD.replace("Score", "Total aesthetic score") + ROW.format("a.png", 71.43) + ROW.format("b.png", 30),
        )
        master = master[0].replace("Mood\n", "Mood,Language Comment\n").replace("4,4,\n", "4,4,,Calm\n")
        splits = {
            "clone__csvfiles__train_csv": APDD + ROW.format("a.png", 7.143),
            "clone__csvfiles__test_csv": APDD + ROW.format("b.png", 3),
        }
        _, card = run("apdd", "clone", **{"clone__APDDv2-10023_csv": master}, **splits)
        assert pictures(card) == [1, 0, 1] and card["splits"]["train"]["comments"] == 1
        for given in (["clone/APDDv2-10023.csv"], ["--train", "clone/APDDv2-10023.csv"]):
            said, card = run("apdd", *given)
            assert card is None and "--train clone/csvfiles/train.csv --test clone/csvfiles/test.csv" in said
            assert pictures(run("apdd", *given, "--ignore-split")[1]) == [2, 0, 0]
        said, card = run("apdd", "clone/csvfiles/test.csv")
        assert card is None and "published as the test pictures; give it with --test FILE" in said
        assert pictures(run("apdd", "clone", "--ignore-split")[1]) == [2, 0, 0]

    def test_the_first_version_of_apdd(self, run):
        text = APDD + ROW.format("a.png", 6.5) + ROW.format("b.png", 7.083)
        assert pictures(run("apdd", "v1/APDD_v1.csv", v1__APDD_v1_csv=text)[1]) == [2, 0, 0]
        assert pictures(run("apdd", "v1", "--test-fraction", "0.5")[1]) == [1, 0, 1]

    def test_columns_that_a_split_overrides_or_that_are_not_used(self, run):
        said, card = run("koniq", "--train", "k.csv", "--range", "1,5", *VOTES, k_csv=KONIQ)
        assert card is None and "record 2: is given for the split 'train', but column 'set' says 'test' (1 of 3" in said
        assert pictures(run("koniq", "--train", "k.csv", "--range", "1,5", *VOTES, "--ignore-split")[1]) == [3, 0, 0]
        generic = ["generic", "k.csv", "--image-column", "image_name", "--range", "1,5", *VOTES]
        said, card = run(*generic)
        assert card is None and "column 'set' says splits and is not used" in said and "--split-column set" in said
        assert pictures(run(*generic, "--split-column", "set")[1]) == [2, 0, 1]
        codes = "image,score,split\na.jpg,5,0\nb.jpg,6,2\n"
        assert "column 'split' says splits" in run("baid", "c.csv", c_csv=codes)[0]

    @pytest.mark.parametrize("split", ["test", "validation"])
    @pytest.mark.parametrize("method", ["votes", "known-std", "gaussian"])
    def test_held_out_pictures_alone(self, run, split, method):
        text = "image_id,score2,score3,score4,tag\n687050,1,5,6,12\n167329,0,3,1,25\n"  # TANet's AVA, shortened
        votes = ["--vote-columns", "score2,score3,score4", "--vote-values", "1,5,10", "--method", method]
        _, card = run("ava", f"--{split}", "a.csv", *votes, a_csv=text)
        assert list(card["files"]) == [f"{split}.json"] and card["splits"][split]["scores"]["mean"] == 6.708333

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("is_test", "010"),
            ("isTrain", ["True", "False", "True"]),
            ("fold", "012"),
            ("data_split", "201"),
            ("mode", ["train", "dev", "train"]),
            ("which", ["train_set", "test_set", ""]),
            ("test", ["yes", "no", "no"]),
        ],
    )
    def test_columns_that_say_splits_under_other_names(self, run, name, values):
        text = f"image,score,{name}\n" + "".join(f"{row}.jpg,{row + 3},{value}\n" for row, value in enumerate(values))
        said, card = run("baid", "c.csv", c_csv=text)
        assert card is None and f"column '{name}' says splits and is not used" in said
        assert pictures(run("baid", "c.csv", "--ignore-split")[1]) == [3, 0, 0]

    @pytest.mark.parametrize("name", ["settings", "blindfold", "contest", "dataset"])
    def test_columns_that_say_no_splits(self, run, name):
        text = f"image,score,{name}\na.jpg,2,0\nb.jpg,8,1\n"
        assert pictures(run("baid", "c.csv", c_csv=text)[1]) == [2, 0, 0]

    @pytest.mark.parametrize(
        "lines",
        [
            ",image\n0,2.jpg\n1,3.jpg\n",
            "0,2.jpg\n1,3.jpg\n",
            "number;name\n0;2\n1;3\n",
            "x\\2.JPG\nx\\3.JPG\n",
            '{"image": "2.jpg"}\n{"image": "3.jpg"}\n',
        ],
    )
    def test_lists_whose_first_column_is_no_name(self, run, tmp_path, lines):
        (tmp_path / "list.txt").write_text(lines)
        text = "image,score\n" + "".join(f"{row}.jpg,{row + 2}\n" for row in range(4))
        _, card = run("baid", "c.csv", "--test-names", "list.txt", c_csv=text)
        assert pictures(card) == [2, 0, 2] and card["splits"]["test"]["scores"]["lowest"] == 4

    def test_a_list_of_running_numbers_and_ids_is_not_guessed(self, run, tmp_path):
        (tmp_path / "list.txt").write_text("0 2\n1 3\n")
        said, card = run("baid", "c.csv", "--test-names", "list.txt", c_csv="image,score\n0.jpg,1\n1.jpg,9\n")
        assert card is None and "the first is a running number" in said


ROWS = "image,score,sd,c1,c2,c3,c4,c5\n" + "".join(f"{row}.jpg,{20 * row},1.4142136,1,1,1,1,1\n" for row in range(6))


class TestWhatIsNoted:
    def test_votes_whose_mean_is_not_the_score_beside_their_deviation(self, run):
        said, card = run("baid", "c.csv", "--std-column", "sd", "--range", "0,100", c_csv=ROWS)
        assert card is None and "--range 1,5 --vote-columns c1,c2,c3,c4,c5" in said

    def test_deviations_of_means_and_dmos(self, run):
        text = "image,DMOS,sd\na.jpg,10,2\nb.jpg,90,3\n"
        options = ["--score-column", "DMOS", "--std-column", "sd", "--range", "0,100"]
        said = run("baid", "c.csv", *options, c_csv=text)[0]
        assert "standard errors" in said and "--lower-is-better" in said

    @pytest.mark.parametrize(("ends", "noted"), [("0,10", True), ("1,10", True), ("1,5", False), ("0,5", False)])
    def test_scores_in_one_half_of_the_range(self, run, ends, noted):
        text = "image,score\n" + "".join(f"{row}.jpg,{1 + row / 3}\n" for row in range(13))
        assert ("data set's own range" in run("baid", "c.csv", "--range", ends, c_csv=text)[0]) is noted

    def test_names_of_other_machines_and_an_ending_that_is_there(self, run):
        text = "image,score\nC:\\x\\a.jpg,2\n/data/b.jpg,8\n"
        assert "absolute path" in run("baid", "c.csv", c_csv=text)[0]
        run("baid", "c.csv", "--clean-names", "--image-suffix", ".jpg")
        assert [record["image"] for record in json.loads(Path("out/score.json").read_text())] == ["a.jpg", "b.jpg"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('image,score\na.jpg,"1,234"\n', "take them out if they mark thousands"),
            ("image,score;\na.jpg,5;\n", "each line ends in a semicolon"),
            ('[{"image": "a.jpg", "score": 5},]', "a comma before the bracket"),
            ('[{"image": "a.jpg", "score": 5}][{"image": "b.jpg", "score": 5}]', "jq -s add"),
            ('{"image": ["a.jpg", "b.jpg"], "score": [5, 6]}', "one JSON object of columns"),
            ("sep=;\nimage;score\na.jpg;5\n", "tail -n +2"),
        ],
    )
    def test_advice_that_helps(self, run, text, said):
        assert said in run("baid", "c.csv", c_csv=text)[0]

    def test_a_row_that_sums_up_is_no_picture(self, run):
        said = run("baid", "c.csv", "--image-suffix", ".jpg", c_csv="image,score\n7,2\n8,8\nAverage,5\n")[0]
        assert "record 3: 'Average' sums up the rows above" in said


def test_a_link_that_leads_to_itself_is_one_line(run, tmp_path):
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    for importer in ("baid", "apdd", "generic"):
        said, card = run(importer, "loop.csv", "--range", "1,10")
        assert card is None and said.count("\n") == 1 and "loop.csv" in said
