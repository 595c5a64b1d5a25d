"""How much text has so many tokens. Pure.

Characters a token differ by a tenth between the parts of one corpus, while tokenizers cut text into words, numbers and
signs before they count. So a text is sized by its characters and its pieces, as much of each as the engine's tokenizer
goes by: one that counts bytes goes by characters alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from tokenswarm.scenario.requests import Prompts
from tokenswarm.workloads.corpus import Corpus

_PIECES = re.compile(r" ?[^\W\d_]{1,8}| ?\d{1,3}| ?[^\s\w]+|_+|\s+")


def pieces_in(text: str) -> int:
    """About as many pieces as tokenizers cut a text into before they count."""
    return len(_PIECES.findall(text))


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """`chars_per_token` of a text that has `pieces_per_char`; each piece more is `tokens_per_piece` tokens more."""

    chars_per_token: float
    tokens_per_piece: float = 0.0
    pieces_per_char: float = 0.0

    @classmethod
    def of(cls, prompts: Prompts) -> TokenLengths:
        """As they were given or measured."""
        return cls(prompts.factor, prompts.tokens_per_piece, prompts.pieces_per_char)

    def excerpt(self, corpus: Corpus, rng: Random, tokens: float, least_chars: int = 1) -> str:
        """An excerpt of the corpus of about that many tokens, and no fewer characters."""
        chars = max(least_chars, round(tokens * self.chars_per_token))
        if not self.tokens_per_piece:
            return corpus.take(rng, chars)
        place = rng.getstate()
        text = corpus.take(rng, chars)
        more = pieces_in(text) / max(1, len(text)) - self.pieces_per_char
        tokens_per_char = 1 / self.chars_per_token + self.tokens_per_piece * more
        bounded = min(max(tokens_per_char, 0.5 / self.chars_per_token), 2 / self.chars_per_token)
        rng.setstate(place)
        return corpus.take(rng, max(least_chars, round(tokens / bounded)))
