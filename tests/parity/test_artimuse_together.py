"""Several questions about one picture: read once, and the same answers as one by one (in the shared folder only)."""

import json

import pytest

from artquant.batches.samples import encode_row
from artquant.cli import main
from artquant.data.images import load_image
from artquant.infer.answers import generate_each, generate_together
from artquant.infer.rewards import rewards
from artquant.infer.scorer import Scorer


@pytest.fixture(scope="module")
def folder(shared_folder):
    return shared_folder / "golden" / "artimuse"


@pytest.fixture(scope="module")
def pictures(shared_folder):
    return sorted((shared_folder / "images").glob("*.jpg"))[:3]


@pytest.fixture(scope="module")
def scorer(folder, one_thread):
    return Scorer.from_pretrained(folder / "artimuse-tiny", device="cpu")


@pytest.fixture
def encoded(scorer):
    """How many pictures each call of the vision encoder got."""
    counts = []
    hook = scorer.network.plain.model.vision_tower.register_forward_hook(
        lambda module, inputs, output: counts.append(len(output[0]))
    )
    yield counts
    hook.remove()


def test_aspects(scorer, pictures, encoded):
    """Eight questions, with prompts of different lengths, about three pictures."""
    prepared = [scorer.processor.picture(load_image(path)) for path in pictures]
    rows = [encode_row(scorer.processor, asked) for asked in scorer.loaded.prompt.analysing().values()]
    assert len({len(row.token_ids) for row in rows}) > 1
    together = generate_together(scorer.loaded, scorer.device, rows, prepared, 12)
    assert encoded == [3]
    one_by_one = generate_each(scorer.loaded, scorer.device, rows, prepared, 12)
    ends = {scorer.processor.pad_token_id, scorer.processor.tokenizer.eos_token_id}
    for some, others in zip(together, one_by_one, strict=True):
        assert [_cut(line, ends) for line in some] == [_cut(line, ends) for line in others]


def test_rewards(scorer, pictures, encoded, monkeypatch):
    together = rewards(scorer, pictures)
    assert encoded == [3]
    monkeypatch.setattr("artquant.infer.asked.MASKING_ATTENTIONS", ())
    one_by_one = rewards(scorer, pictures, batch_size=2)
    assert encoded[1:] == [2, 2, 2, 1, 1, 1]
    for some, others in zip(together, one_by_one, strict=True):
        assert some.scores == pytest.approx(others.scores, abs=1e-4)


def test_published_file_of_a_list(folder, shared_folder, tmp_path, monkeypatch, capsys):
    """In the list's order under the list's names, missing pictures left out; what `eval` reads."""
    listed = folder / "published_outputs" / "TINY_test.json"
    images = tmp_path / "images"
    images.mkdir()
    places = (shared_folder / "images", shared_folder / "golden" / "preprocessing")
    for record in json.loads(listed.read_text())[:6]:
        source = next((place / record["image"] for place in places if (place / record["image"]).is_file()), None)
        if source is not None:
            (images / record["image"]).symlink_to(source)
    out, published = tmp_path / "predictions.jsonl", tmp_path / "TINY_ArtiMuse.json"
    options = ["--images", str(images), "--out", str(out), "--skip-unreadable", "--published", str(published)]
    assert main(["--quiet", "infer", "--model", str(folder / "artimuse-tiny"), "--records", str(listed), *options]) == 1
    found = json.loads(published.read_text())
    wanted = json.loads((folder / "published_outputs" / published.name).read_text())[: len(found)]
    assert [list(one) for one in found] == [list(one) for one in wanted]
    assert [one["image"] for one in found] == [one["image"] for one in wanted] and len(found) == 5
    # The published scores were computed in bfloat16.
    assert [one["score"] for one in found] == pytest.approx([one["score"] for one in wanted], abs=0.5)
    capsys.readouterr()
    for taken in (listed, out):
        options[-1] = str(taken)
        assert main(["infer", "--model", str(folder / "artimuse-tiny"), "--records", str(listed), *options]) == 2
        assert "is the list or the predictions file" in capsys.readouterr().err
    judged = ["eval", "--predictions", str(published), "--truth", str(listed), "--bootstrap", "0"]
    assert main([*judged, "--json", "--allow-missing"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["n"] == 5


def _cut(ids, ends):
    return ids[: next((place for place, token in enumerate(ids) if token in ends), len(ids))]
