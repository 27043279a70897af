"""ROC4MLLM's published code: tokens around `[SCORE]`, with LLaMA-2's tokenizer (in the shared folder only)."""

import json

import pytest

from artquant.models.mplug_owl2 import MPLUGOwl2Processor

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
