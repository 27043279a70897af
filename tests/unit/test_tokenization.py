"""mPLUG-Owl2's tokenizer as clients of transformers use it; the house's own way of cutting is in test_processing."""

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from artquant.models.mplug_owl2 import IMAGE_TOKEN_ID, MPLUGOwl2Tokenizer

TEXT = "USER: <|image|>\nWarm light. ASSISTANT: Café</s>USER: 油画 😀"


@pytest.fixture(scope="module")
def tokenizer(tiny_base):
    return MPLUGOwl2Tokenizer.from_pretrained(tiny_base)


class TestRoundTrip:
    @given(text=st.text(st.characters(codec="utf-8", exclude_characters="\x00\u2581"), max_size=40))
    @settings(max_examples=150, deadline=None)
    def test_any_text(self, tokenizer, text):
        """Decoding gives the text; spans lie in it in order and leave out nothing but what is no character of it."""
        encoded = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        if "<s>" not in text:
            assert tokenizer.decode(encoded.input_ids) == text
        starts = [start for start, _ in encoded.offset_mapping]
        covered = {place for start, end in encoded.offset_mapping for place in range(start, end)}
        assert starts == sorted(starts) and covered == set(range(len(text)))

    def test_pictures_and_turns(self, tokenizer):
        ids = tokenizer(TEXT).input_ids
        assert ids.count(IMAGE_TOKEN_ID) == 1 and ids.count(tokenizer.eos_token_id) == 1
        assert tokenizer.decode(ids) == f"<s>{TEXT}"
        assert tokenizer.decode(ids, skip_special_tokens=True) == TEXT.replace("<|image|>", "").replace("</s>", "")
        assert tokenizer.convert_tokens_to_ids(tokenizer.tokenize(TEXT)) == ids[1:]

    def test_rows_that_a_network_has_to_spare(self, tokenizer):
        assert tokenizer.decode([1, 300, len(tokenizer) + 5, 300]) == tokenizer.decode([1, 300, 300])


class TestSpans:
    @pytest.mark.parametrize("side", ["left", "right"])
    @pytest.mark.parametrize("truncation", ["left", "right"])
    def test_padding_and_truncation(self, tiny_base, side, truncation):
        tokenizer = MPLUGOwl2Tokenizer.from_pretrained(tiny_base, truncation_side=truncation, padding_side=side)
        texts = [TEXT, "Warm light."]
        made = tokenizer(texts, padding=True, truncation=True, max_length=12, return_offsets_mapping=True)
        for index, (text, ids, spans) in enumerate(zip(texts, made.input_ids, made.offset_mapping, strict=True)):
            assert len(ids) == len(spans) == 12
            for place, (token, (start, end)) in enumerate(zip(ids, spans, strict=True)):
                if token == tokenizer.convert_tokens_to_ids("▁light"):
                    assert text[start:end] == " light" and made.char_to_token(index, start) == place
                elif token in (tokenizer.pad_token_id, tokenizer.bos_token_id):
                    assert (start, end) == (0, 0)

    def test_without_a_mask(self, tokenizer):
        made = tokenizer([TEXT, "a"], padding=True, return_attention_mask=False, return_offsets_mapping=True)
        assert "attention_mask" not in made and len({len(row) for row in made.offset_mapping}) == 1

    def test_of_plain_texts_only(self, tokenizer):
        with pytest.raises(ValueError, match="plain texts only"):
            tokenizer(["Warm", "light"], is_split_into_words=True, return_offsets_mapping=True)

    def test_go_to_other_processes_without_the_tokenizer(self, tokenizer):
        encoded = pickle.loads(written := pickle.dumps(tokenizer(TEXT)))
        assert encoded.char_to_token(0, 0) == 1 and len(written) < 2_000


class TestCalls:
    def test_words(self, tokenizer):
        assert tokenizer(["Warm", "light"], is_split_into_words=True).input_ids == [
            *tokenizer("Warm").input_ids,
            *tokenizer("light", add_special_tokens=False).input_ids,
        ]

    def test_marks_of_special_tokens(self, tokenizer):
        ids = tokenizer("a<|image|>").input_ids
        assert tokenizer.get_special_tokens_mask(ids, already_has_special_tokens=True)[-1] == 1
        assert IMAGE_TOKEN_ID in tokenizer.all_special_ids and "<|image|>" not in tokenizer.get_vocab()
        assert tokenizer.convert_ids_to_tokens(ids, skip_special_tokens=True) == tokenizer.tokenize("a")

    def test_special_tokens_as_text(self, tokenizer):
        ids = tokenizer("a</s>b<|image|>", split_special_tokens=True).input_ids
        assert tokenizer.eos_token_id not in ids and IMAGE_TOKEN_ID not in ids

    @pytest.mark.parametrize(("begin", "end"), [(True, True), (False, True), (False, False)])
    def test_what_stands_around_a_text_is_saved(self, tiny_base, tmp_path, begin, end):
        changed = MPLUGOwl2Tokenizer.from_pretrained(tiny_base, add_bos_token=begin, add_eos_token=end)
        changed.save_pretrained(tmp_path)
        again = MPLUGOwl2Tokenizer.from_pretrained(tmp_path)
        plain = changed("Warm", add_special_tokens=False).input_ids
        assert again("Warm").input_ids == changed("Warm").input_ids == [1] * begin + plain + [2] * end
        assert len(again) == len(changed) and again.all_special_tokens == changed.all_special_tokens
