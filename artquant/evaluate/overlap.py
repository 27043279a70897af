"""Overlap of descriptions with reference texts: BLEU, chrF, ROUGE-L, as other tools compute them.

They are reported because papers do; they are weak: they reward the references' words and do not separate models.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass

from artquant.errors import ArtQuantError

_PACKAGES = {"sacrebleu": "sacrebleu", "rouge_score": "rouge-score"}
WEAK = (
    "BLEU, chrF, ROUGE-L: words shared with the references. Weak: they reward those words, not what is true of the "
    "picture, and do not separate models; decide nothing by them"
)


@dataclass(frozen=True)
class Overlap:
    """Of n descriptions that have a reference, 0 to 100 each."""

    n: int
    BLEU: float  # of the corpus, sacrebleu's defaults
    chrF: float  # of the corpus, chrF2
    ROUGE_L: float  # mean F1 over pictures, without stemming; of words in Latin letters and figures


def require_overlap() -> None:
    """Raise an ArtQuantError where the packages are not installed."""
    missing = [name for module, name in _PACKAGES.items() if importlib.util.find_spec(module) is None]
    if missing:
        raise ArtQuantError(
            f"{' and '.join(missing)} missing; pip install 'artquant[texts]', or leave out --references"
        )


def text_overlap(texts: Sequence[str], references: Sequence[str]) -> Overlap:
    """Overlap of texts [N] with their references [N]."""
    import sacrebleu
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"])
    rouge = [
        scorer.score(reference, text)["rougeL"].fmeasure for text, reference in zip(texts, references, strict=True)
    ]
    return Overlap(
        n=len(texts),
        BLEU=float(sacrebleu.corpus_bleu(list(texts), [list(references)], force=True).score),
        chrF=float(sacrebleu.corpus_chrf(list(texts), [list(references)]).score),
        ROUGE_L=100 * sum(rouge) / len(rouge),
    )
