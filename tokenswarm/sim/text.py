"""Text and tokens of the simulator, deterministic and cheap: a token is four bytes of UTF-8. Pure."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Sequence
from functools import lru_cache

from tokenswarm.sim.jobs import TOKEN_BYTES

_PAD = b"\0"
_END_OF_TURN = b"<|/>"

_SUBJECTS = (
    "The scheduler", "A worker", "The cache", "Each request", "The main loop", "A shared prefix", "The second stage",
    "This method", "An open file", "The parser", "A longer context", "The client", "One thread", "The memory pool",
    "The default value", "Every iterator", "The module", "A failed call", "The first token", "The compiler",
)  # fmt: skip
_VERBS = (
    "reads", "returns", "keeps", "updates", "holds", "replaces", "measures", "shares", "waits for", "follows", "limits",
    "describes", "copies", "needs", "changes", "checks", "improves", "delays", "protects", "ignores",
)  # fmt: skip
_OBJECTS = (
    "the next block", "a small table", "its own state", "the whole answer", "an earlier result", "the input buffer",
    "every open stream", "the latest version", "a list of names", "the order of events", "two kinds of error",
    "the same document", "a clear boundary", "the remaining budget", "most of the work", "the original text",
)  # fmt: skip
_LINKS = (
    "before the batch starts", "when the queue is short", "so that nothing is lost", "and then it stops",
    "because the order matters", "as the manual says", "after a short pause", "until the limit is reached",
    "while others wait", "if the key is known", "and the rest stays the same", "without a second copy",
)  # fmt: skip
_FILLERS = {0: "", 1: " here", 2: " today", 3: " indeed"}
"""Ends of a sentence by the number of characters that it lacks to a multiple of TOKEN_BYTES."""

_SENTENCES = 1200


def encode(text: str) -> bytes:
    """The tokens of a text: its UTF-8 bytes, filled up to whole tokens."""
    data = text.encode("utf-8", "replace")
    rest = len(data) % TOKEN_BYTES
    return data + _PAD * (TOKEN_BYTES - rest) if rest else data


def count(text: str) -> int:
    """Number of tokens of a text."""
    return -(-len(text.encode("utf-8", "replace")) // TOKEN_BYTES)


@lru_cache(maxsize=64)
def _header(role: str) -> bytes:
    return encode(f"<|{role}|>")


def render_chat(messages: Sequence[tuple[str, str | bytes]]) -> bytes:
    """The tokens of a chat prompt: each message behind its role's header, then the header of the answer.

    An answer that comes back as an assistant message of the next turn has the same tokens as when it was generated.
    What is bytes already is whole tokens.
    """
    parts: list[bytes] = []
    for role, content in messages:
        parts += (_header(role), content if isinstance(content, bytes) else encode(content), _END_OF_TURN)
    parts.append(_header("assistant"))
    return b"".join(parts)


_UNESCAPED = re.compile(rb"[ !#-\[\]-~]*")
"""What JSON writes as it is."""


def slices(data: bytes) -> list[bytes]:
    """The tokens of ASCII text as pieces of a JSON string (escaped where JSON asks for it)."""
    starts = range(0, len(data), TOKEN_BYTES)
    if _UNESCAPED.fullmatch(data):  # nearly always
        return [data[start : start + TOKEN_BYTES] for start in starts]
    text = data.decode("ascii")
    return [json.dumps(text[start : start + TOKEN_BYTES])[1:-1].encode() for start in starts]


class Prose:
    """Endless English sentences, each a whole number of tokens, so that any run of them is sliced alike."""

    def __init__(self, seed: int = 0) -> None:
        rng = random.Random(f"prose/{seed}")
        sentences = [_sentence(rng) for _ in range(_SENTENCES)]
        self.data = "".join(sentences).encode("ascii")
        self.pieces = slices(self.data)
        self._starts = [0]
        for sentence in sentences:
            self._starts.append(self._starts[-1] + len(sentence) // TOKEN_BYTES)
        self._is_start = frozenset(self._starts)

    def take(self, choice: int, tokens: int) -> tuple[bytes, list[bytes]]:
        """(bytes, JSON pieces) of exactly `tokens` tokens, from the beginning of the sentence that `choice` picks."""
        start = self._starts[choice % _SENTENCES]
        data, pieces, total = self.data, self.pieces, len(self.pieces)
        if start + tokens <= total:
            return data[start * TOKEN_BYTES : (start + tokens) * TOKEN_BYTES], pieces[start : start + tokens]
        laps = (start + tokens) // total + 1
        return (
            (data * laps)[start * TOKEN_BYTES : (start + tokens) * TOKEN_BYTES],
            (pieces * laps)[start : start + tokens],
        )

    def round_to_sentence(self, choice: int, tokens: int) -> int:
        """The smallest number of tokens, at least `tokens`, at which the text from `choice` on ends with a sentence."""
        start = self._starts[choice % _SENTENCES]
        end = start + max(tokens, 1)
        while end % len(self.pieces) not in self._is_start:
            end += 1
        return end - start


def _sentence(rng: random.Random) -> str:
    words = f"{rng.choice(_SUBJECTS)} {rng.choice(_VERBS)} {rng.choice(_OBJECTS)}"
    if rng.random() < 0.6:
        words += f" {rng.choice(_LINKS)}"
    lacking = -(len(words) + len(". ")) % TOKEN_BYTES
    return f"{words}{_FILLERS[lacking]}. "
