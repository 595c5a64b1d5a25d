"""How many tokens each piece of a prompt has: estimated from characters, fitted to the engine's counts. Pure.

An engine counts only the tokens of whole prompts. The first step is a least-squares fit of prompt_tokens = a *
characters + b * characters of an assistant's messages + c * messages, with a, b, c >= 0. Then the size of each piece is
adjusted, by no more than its length makes plausible, until the pieces of every prompt add up to its count. Pieces that
many prompts share are thus determined by all of these prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import lsmr

SAMPLE = 20_000
"""Requests used for the fit, spread evenly over the run."""
CHARS_PER_TOKEN = 4.0
"""For English text, if the engine counts nothing."""

_COUNT_ERROR = 0.5
"""Tokens by which the pieces of a prompt may miss its count, relative to the square root of a piece's tokens, which is
about the error of a piece's estimate.
"""
_LEAST = 0.25
"""Minimum share of its estimate that a piece keeps."""


@dataclass(frozen=True, slots=True)
class TokenModel:
    """Tokens per character of user and system text, per character of assistant text, and per message.

    error: mean of |fitted - counted| / counted over the requests; None if nothing was counted. variance: mean of
    (fitted - counted)^2 / fitted, the variance of a text with an estimate of one token.
    """

    per_char: float
    per_assistant_char: float
    per_message: float
    error: float | None = None
    variance: float = 0.0

    def tokens(self, chars: np.ndarray, assistant: np.ndarray, messages: np.ndarray) -> np.ndarray:
        """Tokens of this many characters and message ends, of an assistant's messages or not.

        What a chat template puts between two messages counts towards the first. So the header of the answer, with which
        every prompt ends, belongs to the prompt.
        """
        return np.where(assistant, self.per_assistant_char, self.per_char) * chars + self.per_message * messages


def fit(
    chars: np.ndarray,
    assistant_chars: np.ndarray,
    messages: np.ndarray,
    prompt_tokens: np.ndarray,
    answer_chars: np.ndarray,
    completion_tokens: np.ndarray,
) -> TokenModel:
    """The model of these requests (one value each; NaN = not counted).

    If no prompt contains an assistant's message, the answers show how long one would be.
    """
    answered = (answer_chars > 0) & (completion_tokens > 0)
    per_answer = completion_tokens[answered].sum() / answer_chars[answered].sum() if answered.any() else None
    counted = np.flatnonzero((prompt_tokens > 0) & (chars + assistant_chars > 0))
    if not len(counted):
        plain = 1.0 / CHARS_PER_TOKEN
        return TokenModel(plain, per_answer or plain, 0.0)
    sample = counted[:: -(-len(counted) // SAMPLE)]
    columns = np.column_stack((chars[sample], assistant_chars[sample], messages[sample])).astype(float)
    # Minimise relative errors: long prompts must not outweigh short ones.
    weights = 1.0 / prompt_tokens[sample]
    per_unit, _ = nnls(columns * weights[:, None], np.ones(len(sample)))
    if per_unit[0] <= 0:  # characters and messages cannot be separated, e.g. all prompts are alike
        total = columns[:, 0] + columns[:, 1]
        per_unit = np.array([prompt_tokens[sample].sum() / total.sum()] * 2 + [0.0])
    fitted = columns @ per_unit
    error = float(np.abs(fitted * weights - 1.0).mean())
    variance = float(((fitted - prompt_tokens[sample]) ** 2 / fitted).mean())
    in_prompts = assistant_chars[sample].any() and per_unit[1] > 0
    per_assistant_char = per_unit[1] if in_prompts else per_answer or per_unit[0]
    return TokenModel(float(per_unit[0]), float(per_assistant_char), float(per_unit[2]), error, variance)


def prefix_error(model: TokenModel, shared: np.ndarray, prompt_tokens: np.ndarray) -> np.ndarray:
    """Standard error, in tokens, of the estimate for each prompt's first `shared` tokens.

    That of a random walk known at both ends: variance * shared * rest / whole.
    """
    rest = np.maximum(prompt_tokens - shared, 0.0)
    return np.sqrt(model.variance * shared * rest / np.maximum(prompt_tokens, 1.0))


def refined(estimated: np.ndarray, paths: Sequence[Sequence[int]], counts: np.ndarray) -> np.ndarray:
    """Tokens of each segment: `estimated`, corrected so that each path adds up to its count (NaN = not counted).

    Ridge regression: minimises sum((path - count)^2) + _COUNT_ERROR^2 * sum((tokens - estimated)^2 / estimated).
    """
    known = np.flatnonzero(counts > 0)
    if not len(known):
        return estimated
    chosen = [paths[i] for i in known.tolist()]
    starts = np.append(0, np.cumsum([len(path) for path in chosen]))
    columns = np.fromiter((segment for path in chosen for segment in path), dtype=np.int64, count=starts[-1])
    spread = np.sqrt(np.maximum(estimated, 1.0))
    matrix = csr_matrix((spread[columns], columns, starts), shape=(len(chosen), len(estimated)))
    lacking = counts[known] - matrix @ (estimated / spread)
    moved = lsmr(matrix, lacking, damp=_COUNT_ERROR, atol=1e-4, btol=1e-4, maxiter=100)[0]
    return np.maximum(estimated + spread * moved, _LEAST * estimated)
