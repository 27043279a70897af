"""ROC4MLLM's published code and a folder of it: tokens, logits, losses, scores (in the shared folder only)."""

import json

import numpy as np
import pytest
import torch

from artquant.cli import main
from artquant.config.schema import Loading
from artquant.models.model_folder import ModelFolder
from artquant.models.mplug_owl2 import MPLUGOwl2Processor
from artquant.models.weights import load_model
from artquant.readouts import Known, Seen

WORDS = ("[SCORE]", *(f"[IMG{index}]" for index in range(10)))


@pytest.fixture(scope="module")
def golden(shared_folder):
    folder = shared_folder / "golden" / "roc4mllm"
    return folder / "checkpoint", json.loads((folder / "tokenization.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("legacy", [False, True])
def test_tokens(golden, legacy):
    """Of conversations and scoring prompts; white space beside added words is swallowed whatever their file says."""
    folder, expected = golden
    processor = MPLUGOwl2Processor.from_pretrained(folder, legacy=legacy)
    processor.add_words(WORDS)
    assert [processor.word_id(word) for word in WORDS] == list(range(32000, 32011))
    key = f"legacy_{str(legacy).lower()}"
    for name, conversation in expected["conversations"].items():
        assert processor.tokenizer(conversation["text"]).input_ids == conversation[key]["input_ids"], name
    for name, prompt in expected["prompts"].items():
        assert processor.tokenize(prompt["text"]) == prompt[key], name


def test_no_unknown_word_after_a_score(golden):
    """Where the published release had no piece without a word mark, it wrote <unk>; here the word is cut anew."""
    processor = MPLUGOwl2Processor.from_pretrained(golden[0])
    processor.add_words(WORDS)
    for word in ("fine", "lovely", "Magnificent", ".", "...", "油画"):
        ids = processor.tokenize(f"Rate: [SCORE] {word}")
        assert processor.tokenizer.unk_token_id not in ids
        assert processor.decode(ids, skip_special_tokens=True) == f"Rate:[SCORE]{word}"


@pytest.fixture(scope="module")
def loaded(golden, one_thread):
    return load_model(ModelFolder.open(golden[0]), Loading())


@pytest.fixture(scope="module")
def arrays(shared_folder):
    with np.load(shared_folder / "golden" / "roc4mllm" / "expected.npz") as found:
        return dict(found)


def test_published_folder_says_how_it_is_read(loaded, arrays):
    """Range, ids and prompt; what it holds beside a network's weights is no fault."""
    readout, prompt = loaded.readout, loaded.prompt
    assert (readout.kind, readout.low, readout.high, readout.position_id) == ("score_tokens", 1.0, 10.0, 32000)
    assert readout.token_ids == tuple(range(32001, 32011))
    asked = loaded.processor.conversation(prompt.exchange("Please rate the aesthetics of the image."))
    assert loaded.processor.tokenize(asked) == arrays["assessment_prompt_ids"].ravel().tolist()


@pytest.mark.parametrize("name", ["single", "multi", "comment", "text", "turns"])
@torch.no_grad()
def test_logits_and_losses(loaded, arrays, name):
    batch = {key.removeprefix(f"{name}_"): value for key, value in arrays.items() if key.startswith(f"{name}_")}
    rows = [row[mask.astype(bool)] for row, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)]
    inputs = loaded.processor.pad([loaded.processor.expand(row.tolist()) for row in rows])
    logits = loaded.network.plain(**inputs, pixel_values=torch.from_numpy(batch["pixel_values"])).logits
    real, subset = inputs["attention_mask"].bool(), torch.from_numpy(arrays["vocab_subset"]).long()
    np.testing.assert_allclose(logits[real][:, subset], batch["logits"][real], rtol=0, atol=1e-4)
    np.testing.assert_allclose(logits[real].logsumexp(-1), batch["logsumexp"][real], rtol=0, atol=1e-4)
    labels = torch.from_numpy(batch["merged_labels"]).long()
    text = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
    assert text.item() == pytest.approx(float(batch["text_loss"]), rel=1e-4)
    if name == "text":
        return
    places = torch.from_numpy(batch["score_positions"]).long()
    seen = Seen(logits[places[:, 0], places[:, 1]], torch.zeros(len(places), 0))
    truth = torch.from_numpy(batch["gt_score"]).float().flatten()
    known = Known(torch.from_numpy(batch["target"]).float().reshape(len(places), -1), torch.stack([truth, truth], 1))
    scores, terms = loaded.readout.read(seen), ("score_l1", "score_ce", "score_emd")
    np.testing.assert_allclose(scores.score, batch["score"].ravel(), rtol=0, atol=2e-4)
    found = loaded.readout.losses(seen, known, terms)
    # The published distance is one root over the whole batch; ours are each sample's own.
    found["score_emd"] = found["score_emd"].square().mean().sqrt()
    for term in terms:
        expected = float(batch[f"{term.removeprefix('score_')}_loss"])
        assert found[term].mean().item() == pytest.approx(expected, rel=1e-4, abs=3e-5), term


def test_picture_files_to_scores(golden, shared_folder, capsys):
    """Through the command line, with the position given; the published code generates it."""
    expected = json.loads((golden[0].parent / "expected_pictures.json").read_text(encoding="utf-8"))
    folders = (shared_folder / "images", shared_folder / "golden" / "preprocessing")
    pictures = [next(folder / name for folder in folders if (folder / name).is_file()) for name in expected]
    assert main(["score", *map(str, pictures), "--model", str(golden[0]), "--json", "--dtype", "float32"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 12
    for line, answers in zip(lines, expected.values(), strict=True):
        assert line["score"] == pytest.approx(answers["assessment"]["scores"][0], abs=2e-4)


def test_weights_are_no_words(golden, tmp_path, capsys):
    """Rating words' values make no sense here."""
    assert main(["score", str(tmp_path / "a.png"), "--model", str(golden[0]), "--weights", "5,4,3,2,1"]) != 0
    assert "leave out --weights" in capsys.readouterr().err


def test_the_preprocessor_that_the_published_training_does_not_write(golden, shared_folder, tmp_path, capsys):
    """Is taken from the base, the words with their ids too; or its absence is said."""
    folder, base = tmp_path / "model", shared_folder / "golden" / "checkpoints" / "mplug-owl2-tiny"
    folder.mkdir()
    for file in golden[0].iterdir():
        if file.name != "preprocessor_config.json":
            (folder / file.name).symlink_to(file)
    picture = str(shared_folder / "images" / "golden_gate.jpg")
    assert main(["score", picture, "--model", str(folder)]) != 0
    assert "no preprocessor; name the base model's folder" in capsys.readouterr().err
    assert main(["score", picture, "--model", str(folder), "--base", str(base), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == pytest.approx(6.5883, abs=2e-4)
