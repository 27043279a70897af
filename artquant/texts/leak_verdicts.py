"""The regular expression of verdicts: a rating word on the picture as a whole; English.

"The quality is good", "overall, good", "it is a good painting", "considered an excellent work", "the overall effect is
good", "all aspects are good"; but not "the quality of the light is good" or "a poor quality lens".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

MARKUP = r"[*_\"'`\s]*"
STOP = r"$|[.,;:!?)\]}\"'*|\n]"
_ONE_PICTURE = (  # what is always a picture, whatever word stands before it; "brush work" is none
    r"(?:paintings?|pictures?|images?|drawings?|photos?|photographs?|sketch(?:es)?|portraits?|stud(?:y|ies)|shots?|"
    r"captures?)"
)
PICTURE = (
    rf"(?:{_ONE_PICTURE}|art ?works?|works?(?: of art)?|pieces?(?: of (?:art|work|ink))?|illustrations?|watercolou?r|"
    r"creation|landscapes?)"
)
_HOW = (
    r"(?:(?:a|an|as|both|only|just|quite|very|rather|fairly|pretty|really|truly|not|so|too|also|of|still|already|"
    r"merely|relatively|extremely|generally|overall|obviously|certainly|definitely|actually) )"
)
_IS = (
    r"(?:is|was|are|were|seems|appears|remains|looks|feels|becomes|is considered|"
    r"can be (?:called|considered|rated(?: as)?))"
)
_SENTENCE = r"(?:^|(?<=[.!?;:\n*]))\s*"
_CLAUSE = r"(?:^|(?<=[.!?,;:)*\"\n])|(?<=\band)|(?<=\bbut)|(?<= [-\u2013]))\s*"

# What follows a word that rates; else it may go on ("a good painting technique").
_ENDS = rf"(?=\s*(?:{STOP}|(?:overall|and|but|in general|as a whole|with|that|which|because|though|although|by)\b))"
_ENDS_PICTURE = (  # "a good picture of rural life" says what of, "a good portrait of the king" judges; or a name comes
    rf"(?=\s*(?:{STOP}|-|(?:overall|and|but|in general|as a whole|in (?:its|every|all)|with|that|which|who|because|"
    r"since|if|as|so|i|though|although|by|from|on your|for (?:a|an|your|this|that|me)|"
    r"of (?:a|an|the|your|this|these|our)|show(?:s|ing)|again|indeed|too|enough|here)\b|(?-i:[A-Z][a-z]+)))"
)
_ENDS_SUBJECT = (
    r"(?=\s*(?:$|[.,;!?\n]|(?:overall|as a whole|in general|in all|in every|in my|as it (?:is|stands)|enough|but|"
    r"although|though|and it|with)\b))"
)


def verdict(words: Sequence[str]) -> str:
    """The pattern for these rating words, for a search that ignores case."""
    word = rf"\b(?:{'|'.join(re.escape(word) for word in sorted(words, key=len, reverse=True))})\b"
    means = rf"(?:{MARKUP}[:=\u2013-]{MARKUP}| {_IS} ){_HOW}{{0,3}}{MARKUP}{word}"
    return "|".join((*_quality(word, means), *_whole(word, means), *_good_picture(word), *_picture_is_good(word)))


def _quality(word: str, means: str) -> tuple[str, ...]:
    """Verdicts that say quality, rating, evaluation."""
    of_this = rf" of (?:the|this) (?:whole |entire |overall )?{PICTURE}\b"
    of_picture = f"(?:{of_this})?"
    named = (
        r"(?:overall|general|total|aesthetic|artistic|visual|final|its|the|this|image|picture|painting|art|artwork|"
        r"technical)"
    )
    quality = rf"(?:\b{named} |{_SENTENCE})quality(?: and \w+)?{of_picture}{means}"
    judgement = r"(?:ratings?|evaluation|assessment|verdict|grade|judge?ment|impression|presentation)"
    evaluation = rf"\b(?:(?:overall|aesthetic|final|general|total|quality|artistic) )*{judgement}{of_picture}{means}"
    # "A lens of poor quality" and "poor quality paper" are about the lens and the paper.
    of_it = rf"(?:(?:^|(?<=[.,;:!?\n])\s*|\b(?:{PICTURE}|is|are|was|were|seems) )of {_HOW}{{0,2}}"
    tools = "".join(f"(?<!{tool} has )" for tool in ("lens", "camera", "sensor", "paper", "print", "scan", "frame"))
    of_it += rf"|(?<!\bof )(?<!\bof very ){tools})"
    kind = r"(?:overall|aesthetic|artistic|image|visual|technical)"
    goes_on = rf"(?= {PICTURE}\b|{of_this}|\s*(?:{STOP}|(?:overall|and|but|in|with)\b))"
    of_quality = rf"{of_it}{word}[ -](?:{kind} ){{0,2}}quality\b{goes_on}"
    this = rf"(?:(?:it|this|that|the|a|an|one|whole|entire|overall|{PICTURE}) )"
    rated = rf"\b(?:rated|graded|judged|rating of|rated? {this}{{1,3}})\s*(?:as |to be |of )?{_HOW}{{0,2}}"
    return quality, evaluation, of_quality, rf"{rated}{MARKUP}{word}{_ENDS}"


def _whole(word: str, means: str) -> tuple[str, ...]:
    """Verdicts on the overall effect, on all aspects, or overall."""
    shown = rf"(?:{PICTURE}|screen|visuals?|design)"
    of_picture = rf"(?: of (?:the|this) (?:whole |entire |overall )?{shown})?"
    in_picture = rf"(?: (?:of|in) (?:the|this) {shown})?"
    kind = rf"(?:(?:visual|aesthetic|artistic|{shown}) )?"
    effect = (
        r"(?:effects?|feeling|feel|impression|performance|presentation|sense|result|level|standard|appearance|look)"
    )
    whole_effect = rf"(?:overall|whole|general|total) {kind}{effect}(?: and \w+)?{of_picture}"
    effects = rf"\b(?:{whole_effect}|{PICTURE} effect|overall expression of (?:the|this) {shown}){means}{_ENDS}"
    good_effect = rf"(?:{word} (?:overall|general)|overall {word}) {kind}{effect}{_ENDS}"
    aspects = r"(?:all|every|each|the other|most) (?:the )?(?:aspects?|sides?|parts?|respects?)"
    all_aspects = rf"\b(?:{aspects}|(?<!not )everything){in_picture}{means}"
    in_aspects = rf"{word} (?:\w+ )?in (?:all|every|most) (?:aspects?|respects?|ways?)\b"
    # Not "the focus overall is good", "overall, the light is good".
    means_overall = rf"(?:{means}|,? it {_IS} {_HOW}{{0,3}}{word}|,? {_HOW}{{0,2}}{word})"
    overall = rf"(?:{_CLAUSE}|\b(?:{PICTURE}|that) )overall{means_overall}{_ENDS}"
    return effects, good_effect, all_aspects, in_aspects, overall


def _good_picture(word: str) -> tuple[str, ...]:
    """ "It is a good painting", "an excellent work"."""
    linked = (
        r"(?:is|was|are|were|it'?s|that'?s|makes|made|making|remains|became|becomes|considered|called|deemed|regarded|"
        r"judged)"
    )
    turned = rf"\b{linked} (?:(?:it|this|for|them|as|to be|obviously|clearly|overall|really|said to be) ){{0,2}}"
    given = rf"(?:\b(?:your|such an?|this|these) |{_CLAUSE}(?:just |once again |overall,? |simply )?)"
    # "To get a good shot", "it could be a good shot" judge none.
    wished = ("of", "for", "in", "get", "take", "taking", "shoot", "produce", "make", "into", "improve", "achieve")
    no_wish = "".join(rf"(?<!\b{name} )" for name in (*wished, "not", "be", "been"))
    often = r"(?:(?:really|quite|truly|just|overall|not|still|also|already|indeed) ){0,2}"
    context = rf"(?:(?:{turned}|{given}){often}(?:an? )?|{no_wish}\ban? |\bto be an? )"
    very = r"(?:(?:very|really|truly|rather|quite|generally|overall|pretty|rare and|mature and|\w+ (?:and|but|yet)) )?"
    kind = (
        r"(?:and \w+|figure|characters?|ink|oil|freehand|chinese|traditional|landscape|still[- ]life|street|reportage|"
        r"documentary|painting|portrait|art|solid|strong|looking)"
    )
    pictures = rf"(?:(?:{kind} ){{0,2}}{PICTURE}|\w+ {_ONE_PICTURE}|result)"
    return (rf"{context}{very}{word},? {pictures}{_ENDS_PICTURE}",)


def _picture_is_good(word: str) -> tuple[str, ...]:
    """ "The painting is good"; not "the colours of the picture are good"."""
    names = ("of", "in", "on", "to", "from", "for", "with", "within", "across")
    no_part = "".join(rf"(?<!{name} )" for name in names)
    good = rf"{_HOW}{{0,3}}{word}"
    subject = rf"{no_part}\b(?:this|the|your)(?: whole| entire)? {PICTURE}(?: itself)? {_IS} {good}{_ENDS_SUBJECT}"
    whole = rf"{no_part}\b(?:(?:this|the) )?(?:overall|whole) {PICTURE} {_IS} {good}(?:{_ENDS}|(?= enough\b))"
    whole = rf"(?<!of the )(?<!in the )(?<!of this )(?<!in this ){whole}"
    makes = rf"\bmakes? this {PICTURE} {_HOW}{{0,2}}{word}(?=\s*(?:{STOP}|in my\b|because\b))"
    return subject, whole, makes
