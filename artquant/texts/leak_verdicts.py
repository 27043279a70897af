"""The regular expression of verdicts: a rating word on the picture as a whole; English.

"The quality is good", "overall, good", "it is a good painting", "considered an excellent work", "the overall effect is
good", "all aspects are good"; but not "the quality of the light is good" or "a poor quality lens".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MARKUP = r"[*_\"'`\s]*"
STOP = r"$|[.,;:!?)\]}\"'*|\n]"
PICTURE = (
    r"(?:paintings?|pictures?|images?|art ?works?|works?(?: of art)?|pieces?(?: of art)?|drawings?|illustrations?|"
    r"photos?|photographs?|sketch(?:es)?|watercolou?r|creation|portraits?|landscapes?|shots?|captures?)"
)
_HOW = (
    r"(?:(?:a|an|as|only|just|quite|very|rather|fairly|pretty|really|truly|not|so|too|also|of|still|already|merely|"
    r"relatively|extremely|generally|overall|obviously|certainly|definitely|actually) )"
)
_IS = (
    r"(?:is|was|are|were|seems|appears|remains|looks|feels|becomes|can be (?:called|considered|rated(?: as)?)|"
    r"is considered)"
)
_CLAUSE = r"(?:^|(?<=[.!?,;:)*\"\n])|(?<=\band)|(?<=\bbut)|(?<= [-\u2013]))\s*"  # where a clause begins
_SENTENCE = r"(?:^|(?<=[.!?;:\n*]))\s*"

# What follows a word that rates; else it may go on ("a good painting technique").
_ENDS = rf"(?=\s*(?:{STOP}|(?:overall|and|but|in general|as a whole|with|that|which|because|though|although|by)\b))"
_ENDS_PICTURE = (  # "a good picture of rural life" names what it is of, "a good portrait of the king" judges one
    rf"(?=\s*(?:{STOP}|-|(?:overall|and|but|in general|as a whole|in (?:its|every|all)|with|that|which|who|because|"
    r"since|if|as|so|i|though|although|by|from|on your|for (?:a|an|your|this)|of (?:a|an|the|your|this|these|our)|"
    r"show(?:s|ing)|again|indeed|too|enough|here)\b))"
)
_ENDS_SUBJECT = (
    rf"(?=\s*(?:$|[.,;!?\n]|(?:overall|as a whole|in general|in all|in every|in my|enough|but|although|though|and it|"
    r"with)\b))"
)


def verdict(words: Sequence[str]) -> str:
    """The pattern for these rating words, for a search that ignores case."""
    word = rf"\b(?:{'|'.join(re.escape(word) for word in sorted(words, key=len, reverse=True))})\b"
    means = rf"(?:{MARKUP}[:=\u2013-]{MARKUP}| {_IS} ){_HOW}{{0,3}}{MARKUP}{word}"
    return "|".join((*_quality(word, means), *_whole(word, means), *_picture(word)))


def _quality(word: str, means: str) -> tuple[str, ...]:
    """Verdicts that say quality, rating, evaluation."""
    of_picture = rf"(?: of (?:the|this) (?:whole |entire |overall )?{PICTURE})?"
    named = (
        r"(?:overall|general|total|aesthetic|artistic|visual|final|its|the|this|image|picture|painting|art|artwork|"
        r"technical)"
    )
    quality = rf"(?:\b{named} |{_SENTENCE})quality{of_picture}{means}"
    judgement = r"(?:ratings?|evaluation|assessment|verdict|grade|judge?ment|impression|presentation)"
    evaluation = rf"\b(?:(?:overall|aesthetic|final|general|total|quality|artistic) )*{judgement}{of_picture}{means}"
    # "A lens of poor quality" and "poor quality paper" are about the lens and the paper.
    its_own = rf"(?:(?:^|(?<=[.,;:!?\n])\s*|\b(?:{PICTURE}|is|are|was|were|seems) )of {_HOW}{{0,2}}|(?<!\bof )(?<!\bof very ))"
    kind = r"(?:overall|aesthetic|artistic|image|visual|technical)"
    goes_on = rf"(?= {PICTURE}\b| of (?:the|this) (?:overall |whole )?{PICTURE}\b|\s*(?:{STOP}|overall\b|and\b|but\b|in\b|with\b))"
    of_quality = rf"{its_own}{word}[ -](?:{kind} ){{0,2}}quality\b{goes_on}"
    this = rf"(?:(?:it|this|that|the|a|an|one|whole|entire|overall|{PICTURE}) )"
    rated = (
        rf"\b(?:rated|graded|judged|rating of|rated? {this}{{1,3}})\s*(?:as |to be |of )?{_HOW}{{0,2}}{MARKUP}{word}{_ENDS}"
    )
    return quality, evaluation, of_quality, rated


def _whole(word: str, means: str) -> tuple[str, ...]:
    """Verdicts on the overall effect, on all aspects, or overall."""
    shown = rf"(?:{PICTURE}|screen|visuals?|design)"
    of_picture = rf"(?: of (?:the|this) (?:whole |entire |overall )?{shown})?"
    in_picture = rf"(?: (?:of|in) (?:the|this) {shown})?"
    effect = r"(?:effects?|feeling|feel|impression|performance|presentation|sense|result|level|standard|appearance|look)"
    whole_effect = rf"(?:overall|whole|general|total) (?:(?:visual|aesthetic|artistic|{shown}) )?{effect}"
    effects = rf"\b(?:{whole_effect}{of_picture}|{PICTURE} effect|overall expression of (?:the|this) {shown}){means}{_ENDS}"
    good_effect = rf"{word} (?:overall|general) (?:(?:visual|aesthetic|artistic|{shown}) )?{effect}{_ENDS}"
    all_aspects = r"(?:all|every|each|the other|most) (?:the )?(?:aspects?|sides?|parts?|respects?)"
    aspects = rf"\b(?:{all_aspects}{in_picture}|(?<!not )everything{in_picture}){means}"
    in_aspects = rf"{word} (?:\w+ )?in (?:all|every|most) (?:aspects?|respects?|ways?)\b"
    # Not "the focus overall is good", "overall, the light is good".
    overall = rf"(?:{_CLAUSE}|\b(?:{PICTURE}|that) )overall(?:{means}|,? it {_IS} {_HOW}{{0,3}}{word}|,? {_HOW}{{0,2}}{word}){_ENDS}"
    return effects, good_effect, aspects, in_aspects, overall


def _picture(word: str) -> tuple[str, ...]:
    """Verdicts on the picture: "a good painting", "the painting is good"."""
    linked = r"(?:is|was|are|were|it'?s|that'?s|makes?|making|made|remains|became|becomes|painted|considered|called|deemed|regarded|judged)"
    turned = rf"\b{linked} (?:(?:it|this|for|them|as|to be|obviously|clearly|overall|really|said to be) ){{0,2}}"
    given = rf"(?:\b(?:your|such an?|this|these) |{_CLAUSE}(?:just |once again |overall,? |simply )?)"
    stress = (
        r"(?:(?:really|quite|truly|just|overall|not|still|also|already|indeed) ){0,2}(?:an? )?"
        r"(?:(?:very|really|truly|rather|quite|generally|overall|pretty|rare and|mature and|\w+ (?:and|but|yet)) )?"
    )
    kind = (
        r"(?:and \w+|figure|characters?|profile|portrait|landscape|still[- ]life|details?|action|candid|street|reportage|"
        r"documentary|nature|wildlife|macro|abstract|monochrome|black and white|b ?& ?w|ink|oil|watercolou?r|freehand|"
        r"chinese|traditional|stitched|travel|night|close[- ]up|art|painting|overall|looking|solid|strong)"
    )
    good_picture = rf"{stress}{word},? (?:{kind} ){{0,2}}(?:{PICTURE}|result)"
    pictures = rf"(?:{turned}|{given}){good_picture}{_ENDS_PICTURE}"
    # The picture must be what the sentence is about: not "the colours of the picture are good".
    names = ("of", "in", "on", "to", "from", "for", "with", "within", "across")
    no_part = "".join(f"(?<!{name} )" for name in names)
    subject = rf"{no_part}\b(?:this|the|your)(?: whole| entire)? {PICTURE}(?: itself)? {_IS} {_HOW}{{0,3}}{word}{_ENDS_SUBJECT}"
    overall = rf"{no_part}\b(?:(?:this|the) )?(?:overall|whole) {PICTURE} {_IS} {_HOW}{{0,3}}{word}(?:{_ENDS}|(?= enough\b))"
    overall = rf"(?<!of the )(?<!in the )(?<!of this )(?<!in this ){overall}"
    makes = rf"\bmakes? this {PICTURE} {_HOW}{{0,2}}{word}(?=\s*(?:{STOP}|in my\b|because\b))"
    return pictures, subject, overall, makes
