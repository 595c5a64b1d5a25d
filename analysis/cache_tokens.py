"""How many tokens a piece of a prompt has: from its characters, fitted to the engine's own counts. Pure.

An engine counts the tokens of whole prompts only. prompt_tokens = a * characters + b * characters of assistant's
messages + c * messages, by least squares with a, b, c >= 0; each request is then scaled to its own count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

SAMPLE = 20_000
"""Requests that the fit looks at, spread evenly over the run."""
CHARS_PER_TOKEN = 4.0
"""Of English text, where the engine counts nothing."""


@dataclass(frozen=True, slots=True)
class TokenModel:
    """Tokens per character of a user's or system's text, per character of an assistant's, and per message.

    error: mean of |fitted - counted| / counted over the requests, before scaling; None where nothing was counted.
    """

    per_char: float
    per_assistant_char: float
    per_message: float
    error: float | None = None

    def tokens(self, chars: np.ndarray, assistant: np.ndarray, messages: np.ndarray) -> np.ndarray:
        """Tokens of so many characters and so many ends of messages, an assistant's or not.

        What a chat template puts between two messages is counted to the one before it: the header of the answer, with
        which every prompt ends, so belongs to the prompt.
        """
        return np.where(assistant, self.per_assistant_char, self.per_char) * chars + self.per_message * messages


def fit(chars: np.ndarray, assistant_chars: np.ndarray, messages: np.ndarray, prompt_tokens: np.ndarray,
        answer_chars: np.ndarray, completion_tokens: np.ndarray) -> TokenModel:
    """The model of these requests (one value each; NaN = not counted).

    Where no prompt holds an assistant's message, answers tell how long one would be.
    """
    answered = (answer_chars > 0) & (completion_tokens > 0)
    per_answer = completion_tokens[answered].sum() / answer_chars[answered].sum() if answered.any() else None
    counted = np.flatnonzero((prompt_tokens > 0) & (chars + assistant_chars > 0))
    if not len(counted):
        plain = 1.0 / CHARS_PER_TOKEN
        return TokenModel(plain, per_answer or plain, 0.0)
    sample = counted[:: -(-len(counted) // SAMPLE)]
    columns = np.column_stack((chars[sample], assistant_chars[sample], messages[sample])).astype(float)
    # Relative errors count: a long prompt must not drown the short ones.
    weights = 1.0 / prompt_tokens[sample]
    found, _ = nnls(columns * weights[:, None], np.ones(len(sample)))
    if found[0] <= 0:  # nothing to tell characters from messages by: all prompts are alike, say
        total = columns[:, 0] + columns[:, 1]
        found = np.array([prompt_tokens[sample].sum() / total.sum()] * 2 + [0.0])
    error = float(np.abs(columns @ found * weights - 1.0).mean())
    in_prompts = assistant_chars[sample].any() and found[1] > 0
    per_assistant_char = found[1] if in_prompts else per_answer or found[0]
    return TokenModel(float(found[0]), float(per_assistant_char), float(found[2]), error)
