"""Pictures and prompts to tensors, with a tokenizer trained on a few sentences."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AddedToken, LlamaTokenizer

from artquant.batches.samples import encode_row
from artquant.data.images import to_rgb
from artquant.errors import ArtQuantError
from artquant.models.mplug_owl2 import IMAGE_TOKEN_ID, MPLUGOwl2ImageProcessor, MPLUGOwl2Processor
from artquant.models.mplug_owl2.image_processing import pad_to_square
from artquant.models.mplug_owl2.tiny import TOKENIZER_CONFIG
from artquant.texts.prompt import PROMPTS

MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])
PROMPT = "USER: <|image|>\nDescribe this painting. ASSISTANT:"


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


class TestPadToSquare:
    @pytest.mark.parametrize(
        ("size", "corner"), [((7, 4), (0, 1)), ((4, 7), (1, 0)), ((5, 5), (0, 0)), ((1, 9), (4, 0))]
    )
    def test_centred_with_the_odd_pixel_right_or_below(self, size, corner):
        image = noise(*size)
        square = np.asarray(pad_to_square(image, (10, 20, 30)))
        side, (left, top) = max(size), corner
        assert square.shape == (side, side, 3)
        inside = np.zeros((side, side), bool)
        inside[top : top + size[1], left : left + size[0]] = True
        np.testing.assert_array_equal(square[inside], np.asarray(image).reshape(-1, 3))
        assert (square[~inside] == (10, 20, 30)).all()


class TestImageProcessor:
    def test_values(self):
        """The 7B model's default size; one colour stays that colour, the padding is the mean colour rounded down."""
        image = Image.new("RGB", (64, 16), (255, 0, 51))
        [pixels] = MPLUGOwl2ImageProcessor()(image, return_tensors="pt")["pixel_values"]
        assert pixels.shape == (3, 448, 448) and pixels.dtype == torch.float32
        expected = (np.array([1.0, 0.0, 0.2]) - MEAN) / STD
        np.testing.assert_allclose(pixels[:, 224, 224], expected, rtol=0, atol=1e-6)
        padding = (np.array([122, 116, 104]) / 255 - MEAN) / STD
        np.testing.assert_allclose(pixels[:, 0, 0], padding, rtol=0, atol=1e-6)

    def test_several_pictures_of_any_size(self):
        processor = MPLUGOwl2ImageProcessor(size=28)
        pictures = [noise(28, 28), noise(100, 9), noise(3, 50)]
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        assert pixels.shape == (3, 3, 28, 28)
        for picture, expected in zip(pictures, pixels, strict=True):
            assert torch.equal(processor.picture(picture), expected)
            assert torch.equal(processor(picture, return_tensors="pt")["pixel_values"][0], expected)
        assert isinstance(processor(pictures[0], return_tensors="np")["pixel_values"], np.ndarray)

    def test_views(self):
        """One view per size, coarse to fine; the last, of the full size, is the picture as without views."""
        picture = noise(60, 40)
        pixels = MPLUGOwl2ImageProcessor(size=28, view_sizes=[7, 14, 28])(picture, return_tensors="pt")["pixel_values"]
        assert pixels.shape == (1, 3, 3, 28, 28)
        roughness = [view.diff(dim=-1).abs().mean().item() for view in pixels[0]]
        assert roughness[0] < 0.6 * roughness[1] < 0.6 * roughness[2]

    def test_a_view_never_enlarges_a_small_picture_first(self):
        picture = noise(20, 20)
        pixels = MPLUGOwl2ImageProcessor(size=28, view_sizes=[7, 20, 28])(picture, return_tensors="pt")["pixel_values"][
            0
        ]
        plain = MPLUGOwl2ImageProcessor(size=28)(picture, return_tensors="pt")["pixel_values"][0]
        assert torch.equal(pixels[1], plain) and torch.equal(pixels[2], plain)

    @pytest.mark.parametrize("size", [56, {"shortest_edge": 56}, {"height": 56, "width": 56}])
    def test_published_forms_of_the_size(self, size, tmp_path):
        values = {
            "size": size,
            "crop_size": size,
            "do_center_crop": True,
            "feature_extractor_type": "CLIPFeatureExtractor",
        }
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(values), encoding="utf-8")
        processor = MPLUGOwl2ImageProcessor.from_pretrained(tmp_path)
        assert processor(noise(30, 30), return_tensors="pt")["pixel_values"].shape == (1, 3, 56, 56)
        processor.save_pretrained(tmp_path / "saved")
        again = MPLUGOwl2ImageProcessor.from_pretrained(tmp_path / "saved")
        assert torch.equal(*(one(noise(30, 40), return_tensors="pt")["pixel_values"] for one in (again, processor)))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"size": 56, "crop_size": 28}, "crop_size 28 must equal size 56"),
            ({"size": {"height": 56, "width": 28}}, "only square sizes"),
            ({"view_sizes": [56, 112]}, "must hold 3 sizes"),
        ],
    )
    def test_settings_that_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            MPLUGOwl2ImageProcessor(**options)

    @pytest.mark.parametrize("kind", ["L", "LA", "RGBA", "P", "CMYK", "1", "array", "array, first", "tensor", "0-1"])
    def test_pictures_of_every_kind(self, kind):
        """Give what the same picture gives as RGB, transparency laid on white."""
        processor, rgb = MPLUGOwl2ImageProcessor(size=28), noise(30, 20)
        values = np.asarray(rgb)
        given = {
            "array": values,
            "array, first": values.transpose(2, 0, 1),
            "tensor": torch.from_numpy(values.copy()),
            "0-1": torch.from_numpy(values / 255),
        }.get(kind)
        if given is None:
            given = rgb.convert(kind)
            rgb = to_rgb(given)
        one, other = (processor(picture, return_tensors="pt")["pixel_values"] for picture in (given, rgb))
        assert torch.equal(one, other)

    def test_settings_of_one_call(self):
        """As everywhere in transformers; arrays on the 0-1 scale keep it when they are not rescaled."""
        processor, values = MPLUGOwl2ImageProcessor(size=28), np.full((28, 28, 3), 51, np.uint8)

        def seen(picture, **settings):
            return processor(picture, return_tensors="np", **settings)["pixel_values"][0, :, 0, 0]

        np.testing.assert_allclose(seen(values, do_normalize=False), 0.2, atol=1e-6)
        np.testing.assert_allclose(seen(values, do_normalize=False, do_rescale=False), 51)
        np.testing.assert_allclose(seen(values / 255, do_normalize=False, do_rescale=False), 0.2, atol=1e-6)
        np.testing.assert_allclose(seen(values, image_mean=[0.2] * 3, image_std=[1.0] * 3), 0, atol=1e-6)
        assert processor(values, size=14, return_tensors="np")["pixel_values"].shape == (1, 3, 14, 14)
        assert processor(values[:20], do_resize=False, return_tensors="np")["pixel_values"].shape == (1, 3, 28, 28)

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            (np.full((8, 8, 3), 300), "hold 0-255"),
            (np.full((8, 8, 3), -0.5), "hold 0-255, or 0-1"),
            (np.zeros((8, 9, 5)), "channel"),
            ("no such file", "no such file"),
        ],
    )
    def test_pictures_that_are_refused(self, values, message):
        with pytest.raises(ValueError, match=message):
            MPLUGOwl2ImageProcessor(size=28)([values])


class TestTokens:
    def test_pieces_around_the_image_token(self, tiny_processor):
        encode = tiny_processor.tokenizer.sp_model.encode
        assert tiny_processor.tokenize("A quiet<|image|> harbour") == [
            *[1, *encode("A quiet"), IMAGE_TOKEN_ID],
            *encode(" harbour"),
        ]
        assert tiny_processor.tokenize("<|image|><|image|>") == [1, IMAGE_TOKEN_ID, IMAGE_TOKEN_ID]
        assert tiny_processor.tokenize("") == [1]

    def test_end_token_only_at_the_end(self, tiny_processor):
        encode = tiny_processor.tokenizer.sp_model.encode
        assert tiny_processor.tokenize("calm</s>") == [1, *encode("calm"), 2]
        inside = tiny_processor.tokenize("calm</s> evening")
        assert 2 not in inside and inside[1:] == encode("calm</s> evening")

    def test_expand_and_decode(self, tiny_processor):
        ids = tiny_processor.tokenize("light <|image|> falls</s>")
        expanded = tiny_processor.expand(ids)
        assert expanded.count(IMAGE_TOKEN_ID) == tiny_processor.image_sequence_length == 4
        assert [token for token in expanded if token != IMAGE_TOKEN_ID] == [t for t in ids if t != IMAGE_TOKEN_ID]
        [text] = tiny_processor.batch_decode([expanded], skip_special_tokens=True)
        assert text.split() == ["light", "falls"]

    @pytest.mark.parametrize("text", ["naïve café — 油画 😀", "two  spaces", "a\nb\n\nc", "1984"])
    def test_any_text_survives(self, tiny_processor, text):
        ids = tiny_processor.tokenize(text)
        assert tiny_processor.decode(ids, skip_special_tokens=True).strip() == text

    def test_padding(self, tiny_processor):
        rows = [[1, 5, 6], [1, 7]]
        right, left = tiny_processor.pad(rows), tiny_processor.pad(rows, "left")
        assert right["input_ids"].tolist() == [[1, 5, 6], [1, 7, 0]]
        assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
        assert left["input_ids"].tolist() == [[1, 5, 6], [0, 1, 7]]
        assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 1, 1]]


class TestAddedWords:
    NEW = ("[SCORE]", "[IMG0]", "[IMG1]")

    @pytest.fixture
    def processor(self, tiny_base):
        found = MPLUGOwl2Processor.from_pretrained(tiny_base)
        found.add_words(self.NEW)
        return found

    def test_are_one_token_each_at_the_end(self, processor, tiny_processor):
        size = tiny_processor.vocabulary_size
        assert [processor.word_id(word) for word in self.NEW] == [size, size + 1, size + 2]
        assert processor.vocabulary_size == size + 3 and tiny_processor.word_id("[SCORE]") is None
        processor.add_words(("[IMG1]", "[MORE]"))  # what is there stays
        assert (processor.word_id("[IMG1]"), processor.word_id("[MORE]")) == (size + 2, size + 3)

    def test_words_that_are_ordinary_ones_are_none(self, processor):
        assert processor.word_id("light") is None and processor.word_id("</s>") is None

    def test_stand_for_themselves_and_swallow_white_space(self, processor, tiny_processor):
        score, before = processor.word_id("[SCORE]"), tiny_processor.tokenize("The light is")
        assert processor.tokenize("The light is") == before
        for text in ("The light is[SCORE]", "The light is [SCORE]", "The light is \n [SCORE]  "):
            assert processor.tokenize(text) == [*before, score]
        assert processor.tokenize("[SCORE] [IMG1]</s>") == [1, score, processor.word_id("[IMG1]"), 2]

    def test_as_the_tokenizers_library_cuts_them(self, processor, tiny_base, tmp_path):
        """Ids with added words are those of transformers' own tokenizer, which cuts the text in the same way."""
        settings = {name: TOKENIZER_CONFIG[name] for name in ("add_bos_token", "bos_token", "eos_token", "legacy")}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        (tmp_path / "tokenizer.model").write_bytes((tiny_base / "tokenizer.model").read_bytes())
        library = LlamaTokenizer.from_pretrained(tmp_path)
        library.add_tokens([AddedToken(word, lstrip=True, rstrip=True, normalized=False) for word in self.NEW])
        for text in ("The light is [SCORE].", "[SCORE]", "calm [SCORE] evening [IMG0][IMG1] light", "a[SCORE] b"):
            assert processor.tokenize(text) == library(text).input_ids == processor.tokenizer(text).input_ids, text

    def test_saved_and_read_again(self, processor, tiny_base, tmp_path):
        processor.save_pretrained(tmp_path)
        (tmp_path / "config.json").write_bytes((tiny_base / "config.json").read_bytes())
        again = MPLUGOwl2Processor.from_pretrained(tmp_path)
        text = "The light is [SCORE], calm [IMG0].</s>"
        assert again.tokenize(text) == processor.tokenize(text)
        assert again.vocabulary_size == processor.vocabulary_size


class TestProcessor:
    def test_prompts_and_pictures(self, tiny_processor):
        texts = [PROMPT, "USER: Describe this painting.\n<|image|> ASSISTANT: The composition is"]
        batch = tiny_processor(
            [noise(30, 20), noise(9, 9)], texts, padding=True, padding_side="left", return_tensors="pt"
        )
        assert batch["pixel_values"].shape == (2, 3, 28, 28)
        rows = [tiny_processor.expand(tiny_processor.tokenize(text)) for text in texts]
        for ids, mask, row in zip(batch["input_ids"], batch["attention_mask"], rows, strict=True):
            assert ids[mask.bool()].tolist() == row and mask[-1] == 1  # padded on the left, for generation
        one = tiny_processor(noise(9, 9), PROMPT)
        assert one["input_ids"] == [rows[0]]

    def test_one_without_the_other(self, tiny_processor):
        assert set(tiny_processor(text="Warm light")) == {"input_ids", "attention_mask"}
        assert set(tiny_processor(images=noise(9, 9))) == {"pixel_values"}

    def test_as_many_pictures_as_image_tokens(self, tiny_processor):
        with pytest.raises(ValueError, match=r"Found total 2 <\|image\|> tokens and 1 images"):
            tiny_processor([noise(9, 9)], [PROMPT, PROMPT])

    def test_saved_and_read_again(self, tiny_base, tiny_processor, tmp_path):
        """In transformers' form and in the files that the published code reads."""
        tiny_processor.save_pretrained(tmp_path)
        (tmp_path / "config.json").write_bytes((tiny_base / "config.json").read_bytes())
        again = MPLUGOwl2Processor.from_pretrained(tmp_path)
        for prompt in PROMPTS.values():
            assert encode_row(again, prompt.scoring()) == encode_row(tiny_processor, prompt.scoring())
        assert again.image_sequence_length == 4 and again.image_processor.side == 28
        settings = json.loads((tmp_path / "preprocessor_config.json").read_text(encoding="utf-8"))
        assert (settings["size"], settings["crop_size"], settings["resample"]) == (28, 28, 3)
        assert (tmp_path / "tokenizer.model").read_bytes() == (tiny_base / "tokenizer.model").read_bytes()

    def test_another_size_and_settings_of_other_backends(self, tiny_base):
        processor = MPLUGOwl2Processor.from_pretrained(tiny_base, size=56, backend="pil")
        assert processor(images=noise(9, 9), return_tensors="pt")["pixel_values"].shape == (1, 3, 56, 56)

    def test_another_tokenizer(self, tiny_base, tiny_processor):
        with pytest.raises(TypeError, match=r"LlamaTokenizer has no pictures; MPLUGOwl2Tokenizer.from_pretrained"):
            MPLUGOwl2Processor(tiny_processor.image_processor, LlamaTokenizer.from_pretrained(tiny_base))

    def test_tokenizer_without_padding_token(self, tiny_base, tmp_path):
        for file in ("config.json", "preprocessor_config.json", "tokenizer.model"):
            (tmp_path / file).write_bytes((tiny_base / file).read_bytes())
        settings = {"tokenizer_class": "LlamaTokenizer", "legacy": False, "pad_token": None}
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
        processor = MPLUGOwl2Processor.from_pretrained(tmp_path)
        assert processor.pad_token_id == processor.tokenizer.pad_token_id == 0

    def test_without_the_sentencepiece_model(self, tiny_base, tmp_path):
        for file in ("config.json", "preprocessor_config.json", "tokenizer_config.json"):
            (tmp_path / file).write_bytes((tiny_base / file).read_bytes())
        with pytest.raises(ArtQuantError, match=r"tokenizer.model: no such file"):
            MPLUGOwl2Processor.from_pretrained(tmp_path)
