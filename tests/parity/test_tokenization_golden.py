"""Prompts and labels against the published code's, with LLaMA-2's tokenizer (in the shared folder only)."""

import json

import numpy as np
import pytest
from golden import WEIGHTS, WORDS

from artquant.batches.samples import encode_rounds, encode_row, encode_scores
from artquant.labels.rating_scale import RatingScale
from artquant.models.mplug_owl2 import IMAGE_TOKEN_ID, MPLUGOwl2Processor
from artquant.readouts import readout_of
from artquant.readouts.rating_levels import RatingLevels
from artquant.texts.prompt import PROMPTS, get_prompt

LEVEL_IDS = (15129, 1781, 6534, 6460, 4319)
SCORE_QUESTIONS = ("How would you judge the quality of this painting?", "Rate the quality of this painting.")
DESCRIPTION_QUESTIONS = (
    "Give a comprehensive aesthetic analysis of this painting.",
    "Describe this painting from perception to emotion.",
)


@pytest.fixture(scope="module")
def base(shared_folder):
    return shared_folder / "golden" / "checkpoints" / "mplug-owl2-tiny"


@pytest.fixture(scope="module")
def processor(base):
    return MPLUGOwl2Processor.from_pretrained(base)


@pytest.mark.parametrize("legacy", [False, True])
def test_prompts_with_image_tokens(shared_folder, base, tmp_path, legacy):
    """Under both settings of the tokenizer's `legacy` flag, as the folder's own tokenizer_config.json says."""
    for file in ("config.json", "preprocessor_config.json", "tokenizer.model", "special_tokens_map.json"):
        (tmp_path / file).write_bytes((base / file).read_bytes())
    settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings | {"legacy": legacy}), encoding="utf-8")
    processor = MPLUGOwl2Processor.from_pretrained(tmp_path)
    golden = json.loads((shared_folder / "golden" / "tokenization.json").read_text(encoding="utf-8"))
    rows = golden[f"legacy_{str(legacy).lower()}"]
    assert len(rows) == 5
    for row in rows:
        assert processor.tokenize(row["text"]) == row["ids"], row["text"]


def test_saved_processor_gives_the_same_ids(shared_folder, base, processor, tmp_path):
    (tmp_path / "config.json").write_bytes((base / "config.json").read_bytes())
    processor.save_pretrained(tmp_path)
    again = MPLUGOwl2Processor.from_pretrained(tmp_path)
    golden = json.loads((shared_folder / "golden" / "tokenization.json").read_text(encoding="utf-8"))
    assert [again.tokenize(row["text"]) for row in golden["legacy_false"]] == [
        row["ids"] for row in golden["legacy_false"]
    ]
    assert (tmp_path / "tokenizer.model").read_bytes() == (base / "tokenizer.model").read_bytes()


@pytest.mark.parametrize("scale", ["single_scale", "multi_scale"])
@pytest.mark.parametrize(("prompt", "template"), [("published-train", "v1"), ("artquant", "mplug_owl2")])
def test_conversations_and_labels(shared_folder, processor, scale, prompt, template):
    """Ids and learned positions of two scores and two descriptions, from their texts.

    In training, the published code puts the picture first under both of its templates, so `mplug_owl2` is our prompt.
    """
    prompt, readout = get_prompt(prompt), RatingLevels(WORDS, WEIGHTS, LEVEL_IDS)
    with np.load(shared_folder / "golden" / f"model_{scale}.npz") as golden:
        for kind, questions in (("score", SCORE_QUESTIONS), ("desc", DESCRIPTION_QUESTIONS)):
            rows = zip(
                golden[f"{kind}_{template}_input_ids"].tolist(),
                golden[f"{kind}_{template}_labels"].tolist(),
                questions,
                strict=True,
            )
            for ids, labels, question in rows:
                length = len(ids) - ids[::-1].index(2)  # up to the end token; padding follows
                learned = [token for token in labels if token != -100]
                answer = processor.decode(learned).removesuffix("</s>")
                if kind == "score":
                    word = answer.removesuffix(".").split()[-1]
                    begin = len(prompt.rating_prefix())
                    encoded = encode_scores(processor, prompt, readout, [(question, answer)], [word], begin)
                    [place] = encoded.places
                    assert encoded.row.token_ids[place] == LEVEL_IDS[WORDS.index(word)]
                else:
                    encoded = encode_rounds(processor, prompt, [(question, answer)])
                    assert encoded.places == ()
                token_ids = list(encoded.row.token_ids)
                assert token_ids == ids[:length]
                [(start, end)] = encoded.answers
                assert token_ids[start:] == learned and end == len(token_ids)
                assert labels[:start] == [-100] * start


def test_scoring_prompt(shared_folder, processor):
    with np.load(shared_folder / "golden" / "model_single_scale.npz") as golden:
        prompt = get_prompt("published-score")
        row = encode_row(processor, prompt.scoring())
        assert row.text == str(golden["score_prompt_text"])
        assert list(row.token_ids) == golden["score_prompt_ids"].tolist()
        assert processor.tokenizer.sp_model.encode(prompt.rating_prefix()) == golden["level_prefix"].tolist()


@pytest.mark.parametrize("subject", ["painting", "image"])
@pytest.mark.parametrize("name", PROMPTS)
def test_rating_words_are_single_tokens(processor, name, subject):
    prompt = get_prompt(name, subject)
    readout = readout_of({}, RatingScale(WORDS, WEIGHTS)).bound(processor, prompt)
    assert readout.token_ids == LEVEL_IDS
    assert encode_row(processor, prompt.scoring()).token_ids.count(IMAGE_TOKEN_ID) == 1
