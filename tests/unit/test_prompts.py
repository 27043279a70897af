"""The prompt's sentences."""

import json
from dataclasses import replace

import pytest

from artquant.errors import ArtQuantError
from artquant.texts.attributes import attribute_phrase
from artquant.texts.prompt import PROMPTS, PUBLISHED_SYSTEM, SCORE_QUESTIONS, Prompt, get_prompt


class TestText:
    def test_scoring(self, tiny_processor):
        """In mPLUG-Owl2's chat form, as the published code writes it."""
        question = "How would you rate the quality of this painting?"
        prefix = "The quality of the painting is"
        expected = {
            "artquant": f"USER: <|image|>\n{question} ASSISTANT: {prefix}",
            "artquant-aspects": f"USER: <|image|>\n{question} ASSISTANT: {prefix}",
            "published-train": f"{PUBLISHED_SYSTEM} USER: <|image|>\n{question} ASSISTANT: {prefix}",
            "published-score": f"USER: {question}\n<|image|> ASSISTANT: {prefix}",
            "roc4mllm": f"{PUBLISHED_SYSTEM} USER: <|image|>\nPlease rate the aesthetics of the image. ASSISTANT: The "
            "aesthetic rate of the image is",
        }
        prompts = {name: prompt for name, prompt in PROMPTS.items() if prompt.answer_prefix}
        assert {name: tiny_processor.conversation(prompt.scoring()) for name, prompt in prompts.items()} == expected

    def test_scoring_without_an_answer_prefix(self, tiny_processor):
        """The word is the whole answer; in UniPercept's question it follows the picture at once."""
        for name in ("artimuse", "unipercept-iaa", "unipercept-iqa", "unipercept-ista"):
            prompt = PROMPTS[name]
            asked = prompt.scoring()
            between = "" if prompt.adjoining else "\n"
            text = f"{prompt.system} USER: <|image|>{between}{asked.question} ASSISTANT:"
            assert tiny_processor.conversation(asked) == text and prompt.rating_answer("ea") == "ea"

    def test_system_text(self):
        assert PUBLISHED_SYSTEM == (
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the user's questions."
        )

    def test_describing(self, tiny_processor):
        prompt = get_prompt("artquant", "photograph")
        contexts = [tiny_processor.conversation(prompt.describing(level)) for level in (1, 2, 3)]
        assert contexts[0] == "USER: <|image|>\nDescribe what you perceive in this photograph. ASSISTANT:"
        assert len(set(contexts)) == 3 and all("this photograph" in context for context in contexts)
        for level in (0, 4):
            with pytest.raises(ArtQuantError, match=f"levels are 1 to 3, got {level}"):
                prompt.describing(level)

    def test_subject(self):
        prompt = get_prompt("published-score", "image")
        assert prompt.rating_answer("fair") == "The quality of the image is fair."
        asked = prompt.scoring()
        assert asked.question.endswith("this image?") and "{" not in f"{asked.question}{asked.answer}"

    def test_ten_questions(self):
        assert len(set(SCORE_QUESTIONS)) == 10 and all("{subject}" in question for question in SCORE_QUESTIONS)

    def test_attributes_share_the_question(self):
        prompt = get_prompt("artquant", "image")
        assert prompt.scoring("Color") == replace(prompt.scoring(), answer="The color of the image is")
        assert prompt.rating_answer("fair", "The overall") == "The overall impression of the image is fair."
        assert prompt.rating_answer("fair", "Rule  of Thirds") == "The rule of thirds of the image is fair."

    def test_several_in_one_answer(self):
        """As ROC4MLLM's figure 3 words it."""
        prompt, names = get_prompt("roc4mllm", "image"), ["composition", "DoF", "light", "content"]
        assert prompt.rating_several(names) == "Rate the aesthetics, composition, DoF, light and content of the image."
        assert prompt.rating_several(names[:1]) == "Rate the aesthetics and composition of the image."
        assert prompt.several_rating_answer("[SCORE]", names) == (
            "The aesthetic rate of the image is [SCORE], the composition rate of the image is [SCORE], the DoF rate of "
            "the image is [SCORE], the light rate of the image is [SCORE], the content rate of the image is [SCORE]."
        )
        painting = get_prompt("artquant")
        assert painting.rating_several(["Color"]) == "How would you rate the quality and color of this painting?"

    @pytest.mark.parametrize(
        ("name", "before", "said"),
        [
            ("roc4mllm", "The aesthetic rate of the image is", "aesthetics"),
            ("roc4mllm", ", the composition rate of the image is", "composition"),
            ("roc4mllm", " and the DoF rate of the image is ", "DoF"),
            ("roc4mllm", ". The light is", "light"),
            ("roc4mllm", "", ""),
            ("roc4mllm", "Light:", "Light"),
            ("roc4mllm", "aesthetic rate of the image is", "aesthetics"),
            ("roc4mllm", "The aesthetic rate of the image is:", "aesthetics"),
            ("roc4mllm", ", and Composition -", "Composition"),
            ("roc4mllm", "Its light is", "light"),
            ("roc4mllm", "Vol.2 is fine. The Vol.2 rate of the image is", "Vol.2"),
            ("roc4mllm", "I give it a", "I give it a"),
            ("artquant", "The quality of the painting is", "quality"),
            ("artquant", ", the light and shadow of the painting is", "light and shadow"),
            ("artquant", ", and the mood is", "mood"),
        ],
    )
    def test_what_a_score_is_of(self, name, before, said):
        prompt = get_prompt(name, "image" if name == "roc4mllm" else "painting")
        assert prompt.score_name(before) == said

    def test_attributes_in_words(self):
        names = {
            "RuleOfThirds": "rule of thirds",
            "DoF": "DoF",
            "ColorHarmony": "color harmony",
            "HDR": "HDR",
            "Light/Shadow": "light/shadow",
        }
        assert {name: attribute_phrase(name) for name in names} == names

    def test_unknown_name(self):
        with pytest.raises(
            ArtQuantError, match="unknown prompt 'v1'; known are artquant, artquant-aspects, published-train"
        ):
            get_prompt("v1")

    @pytest.mark.parametrize(
        "field", [{"system": "<|image|>"}, {"subject": "<|image|>"}, {"description_questions": ("a", "b <|image|>")}]
    )
    def test_image_token_in_the_wording(self, field):
        with pytest.raises(ArtQuantError, match=f"{next(iter(field))} must not hold"):
            Prompt("mine", **field)


class TestStored:
    @pytest.mark.parametrize("name", PROMPTS)
    def test_round_trip_through_json(self, name):
        prompt = get_prompt(name, "image")
        assert Prompt.from_dict(json.loads(json.dumps(prompt.to_dict()))) == prompt

    @pytest.mark.parametrize("change", [{"colour": "red"}, {"name": None}])
    def test_other_keys(self, change):
        values = PROMPTS["artquant"].to_dict() | change
        values = {key: value for key, value in values.items() if value is not None}
        with pytest.raises(ArtQuantError, match="stored prompt: expected the keys"):
            Prompt.from_dict(values)
