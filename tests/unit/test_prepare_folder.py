"""The prepared folder: scales, splits, pictures, and which files are replaced."""

import hashlib
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from artquant.errors import ArtQuantError
from artquant.labels.rating_scale import APDD_SCALE, RatingScale
from artquant.prepare.annotation import Annotation
from artquant.prepare.prepare import Settings, prepare
from artquant.prepare.scale import Fit, choose_fit
from artquant.prepare.split import assign_splits
from artquant.prepare.table_form import TableForm

BAID = "image,score\na.jpg,7.5\nb.jpg,3\nsub/c.jpg,10\n"


class TestScale:
    @given(st.floats(0, 100), st.floats(0, 20))
    def test_rescaling_is_linear(self, score, std):
        fit = Fit((0.0, 100.0), APDD_SCALE, "rescale")
        annotation = fit.apply(Annotation("a.jpg", score, "x record 1", std=std, attributes={"Color": score}))
        assert annotation.score == pytest.approx(1 + score * 0.09, abs=1e-9)
        assert annotation.std == pytest.approx(std * 0.09, abs=1e-9)
        assert annotation.attributes == {"Color": annotation.score}
        assert 1 <= annotation.score <= 10

    def test_rescaled_ends_are_exact(self):
        fit = Fit((-0.3, 0.7), RatingScale.even(0.1, 0.7), "rescale")
        assert (fit.value(-0.3), fit.value(0.7)) == (0.1, 0.7)

    def test_clamping_moves_only_what_is_outside(self):
        fit = Fit((0.0, 10.0), APDD_SCALE, "clamp")
        assert [fit.value(score) for score in (0.0, 0.99, 1.0, 7.3, 10.0)] == [1.0, 1.0, 1.0, 7.3, 10.0]

    def test_ranges_that_differ_are_refused(self, prepared):
        with pytest.raises(ArtQuantError, match="0 to 10 do not fit rating values of 1 to 10; --rescale"):
            prepared("baid", levels=APDD_SCALE.values)

    def test_votes_are_mapped_with_the_scores(self, prepared, prepared_file):
        text = "1 9 5 0 0 0 0 0 0 0 0 5 1 22 1396\n2 8 0 0 0 0 0 0 0 0 0 5 1 22 1396\n"
        prepared("ava", text, levels=(5.0, 4.0, 3.0, 2.0, 1.0), fit="rescale")
        first, second = prepared_file("score")
        assert (first["gt_score"], first["level_probs"]) == (3.0, [0.5, 0, 0, 0, 0.5])
        assert (second["gt_score"], second["std"], second["level_probs"]) == (5.0, 0.0, [1, 0, 0, 0, 0])

    def test_published_levels_belong_to_the_published_range(self):
        usual = ((1.0, 10.0), APDD_SCALE.values)
        assert choose_fit(None, *usual, None, APDD_SCALE.words, "same").levels == APDD_SCALE
        assert choose_fit((0.0, 10.0), *usual, None, APDD_SCALE.words, "same").levels == RatingScale.even(0, 10)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({}, "name it with --range"),
            ({"range": (5.0, 1.0)}, "rising numbers LO,HI, got 5,1"),
            ({"range": (1.0, math.inf)}, "rising numbers"),
            ({"range": (math.nan, 5.0)}, "rising numbers"),
            ({"range": (1.0, 5.0), "seed": -1}, "seed must be 0 or more"),
            ({"range": (1.0, 5.0), "subject": " "}, "subject must be a noun"),
            ({"levels": (1.0, 2.0, 3.0, 4.0, 5.0)}, "must fall"),
            ({"levels": (5.0, 1.0)}, "5 words, 2 values"),
            ({"range": (1.0, 5.0), "sigma": 0.0}, "sigma must be"),
            ({"range": (1.0, 5.0), "sigma": 1.0, "method": "one-hot"}, "takes no sigma"),
            ({"range": (1.0, 5.0), "method": "exact"}, "method 'exact' is unknown"),
            ({"range": (1.0, 5.0), "form": TableForm("klingon")}, "encoding 'klingon' is unknown"),
            ({"range": (1.0, 5.0), "form": TableForm("ascii")}, "not ascii text"),
        ],
    )
    def test_settings_that_do_not_fit(self, prepared, settings, message):
        with pytest.raises(ArtQuantError, match=message):
            prepared("generic", "image,gt_score\né.jpg,2\n", **settings)


class TestSplit:
    @given(st.integers(2, 60), st.floats(0.01, 0.99), st.integers(0, 5))
    def test_fraction(self, count, fraction, seed):
        annotations = [Annotation(f"{number}.jpg", 5.0, f"x record {number}") for number in range(count)]
        divided = assign_splits(annotations, fraction, seed)
        held_out = {annotation.image for annotation in divided if annotation.split == "test"}
        assert len(held_out) == min(count - 1, max(1, round(count * fraction)))
        turned = assign_splits(annotations[::-1], fraction, seed)
        assert {annotation.image for annotation in turned if annotation.split == "test"} == held_out

    def test_seeds_draw_differently(self):
        annotations = [Annotation(f"{number}.jpg", 5.0, "x record 1") for number in range(40)]
        assert assign_splits(annotations, 0.5, 0) != assign_splits(annotations, 0.5, 1)

    @pytest.mark.parametrize(("fraction", "seed"), [(0.0, 0), (1.0, 0), (math.nan, 0), (0.5, -1)])
    def test_numbers_out_of_range(self, fraction, seed):
        with pytest.raises(ArtQuantError):
            assign_splits([Annotation("a.jpg", 5.0, "x"), Annotation("b.jpg", 5.0, "x")], fraction, seed)

    def test_published_splits_are_not_drawn_again(self, prepared):
        with pytest.raises(ArtQuantError, match="of the split 'test'; leave out --test-fraction"):
            prepared("baid", split="test", test_fraction=0.5)


class TestFolder:
    def test_same_input_same_bytes(self, tmp_path, prepared):
        prepared("baid", test_fraction=0.4)
        before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
        prepared("baid", test_fraction=0.4)
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
        assert set(before) == {"score.json", "test.json", "dataset.json"}

    def test_own_files_are_replaced_and_others_left(self, tmp_path, prepared, prepared_file):
        prepared("baid")
        (tmp_path / "out" / "descriptions_level_1.json").write_text("[]", encoding="utf-8")
        prepared("baid", method="one-hot")
        assert prepared_file("score")[0]["level_probs"] == [0, 1, 0, 0, 0]
        assert prepared_file("descriptions_level_1") == []

    @pytest.mark.parametrize("name", ["score.json", "test.json", "dataset.json"])
    def test_foreign_files_are_refused(self, tmp_path, prepared, name):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / name).write_text("[]", encoding="utf-8")
        with pytest.raises(ArtQuantError, match=f"{name}: is .*--overwrite"):
            prepared("baid")
        assert [path.name for path in (tmp_path / "out").iterdir()] == [name]
        prepared("baid", overwrite=True)
        assert {path.name for path in (tmp_path / "out").iterdir()} == {"score.json", "dataset.json"}

    def test_changed_files_are_refused(self, tmp_path, prepared):
        prepared("baid")
        (tmp_path / "out" / "score.json").write_text("[]", encoding="utf-8")
        with pytest.raises(ArtQuantError, match=r"score.json: is there, and not as"):
            prepared("baid", method="one-hot")
        prepared("baid", overwrite=True)

    def test_splits_of_an_earlier_run_are_not_lost(self, prepared):
        prepared("baid")
        with pytest.raises(ArtQuantError, match="all splits in one command"):
            prepared("baid", split="test")

    def test_another_data_set_is_not_replaced(self, prepared):
        prepared("baid")
        with pytest.raises(ArtQuantError, match="holds the data set 'baid'"):
            prepared("generic", BAID.replace("score", "gt_score"), range=(0.0, 10.0))

    def test_source_is_not_replaced(self, tmp_path, prepared):
        prepared("baid")
        files = [(tmp_path / "out" / "score.json", None)]
        with pytest.raises(ArtQuantError, match="would be replaced by what is made of it"):
            prepare("generic", files, tmp_path / "out", Settings(range=(0.0, 10.0), overwrite=True), "")

    def test_card_lists_sources_and_files(self, tmp_path, prepared):
        card = prepared("baid")
        assert card == json.loads((tmp_path / "out" / "dataset.json").read_text(encoding="utf-8"))
        [source] = card["sources"]
        assert source["sha256"] == hashlib.sha256(BAID.encode()).hexdigest() and source["records"] == 3
        written = (tmp_path / "out" / "score.json").read_bytes()
        assert card["files"] == {"score.json": {"records": 3, "sha256": hashlib.sha256(written).hexdigest()}}
        assert sum(card["splits"]["train"]["scores"]["histogram"]["counts"]) == 3
        assert sum(card["splits"]["train"]["words"].values()) == 3


class TestPictures:
    def test_missing_ones_are_counted(self, tmp_path, prepared):
        (tmp_path / "a.jpg").touch()
        with pytest.raises(ArtQuantError, match=r"record 2: no picture '.*b.jpg'; missing for 2 of 3 records"):
            prepared("baid", images=tmp_path)
        card = prepared("baid", images=tmp_path, skip_missing=True)
        assert card["splits"]["train"]["pictures"] == 1 and "left out" in card["notes"][0]

    def test_all_there(self, tmp_path, prepared):
        (tmp_path / "sub").mkdir()
        for name in ("a.jpg", "b.jpg", "sub/c.jpg"):
            (tmp_path / name).touch()
        assert "all 3 pictures are there" in prepared("baid", images=tmp_path)["notes"][0]

    def test_names_that_no_file_can_have(self, tmp_path, prepared):
        with pytest.raises(ArtQuantError, match="missing for 1 of 1 records"):
            prepared("baid", f"image,score\n{'a' * 5000}.jpg,5\n", images=tmp_path)

    def test_no_folder(self, tmp_path, prepared):
        with pytest.raises(ArtQuantError, match="is no folder"):
            prepared("baid", images=tmp_path / "nowhere")
