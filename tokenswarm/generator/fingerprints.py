"""Records what was sent as keyed hashes: the rows of prompts.csv. They show how much of a prompt earlier ones shared.

A message is hashed from its role on; the hash is also taken where each piece of it ends (`contract.pieces`). So two
messages that begin alike have the same first pieces, and without the key a guessed text cannot be tested.
"""

from __future__ import annotations

import binascii
import json
import secrets
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

from tokenswarm.client.answer import Answer
from tokenswarm.contract.pieces import MAX_MESSAGE_CHARS, piece_ends
from tokenswarm.workloads.base import Message, content_text

HASH_BYTES, PIECE_BYTES, SIZE_BYTES = 6, 3, 3
REMEMBERED = 2048
"""Number of messages whose hashes are cached and not written again; a few hundred kilobytes."""

_ASSISTANT_BIT = 1 << 23
_ALPHABET = bytes.maketrans(b"+/", b"_.")  # no cell may begin with a character that a spreadsheet reads as a formula


def fresh_key() -> bytes:
    """A random key; all processes of a run share one, and it ends with them."""
    return secrets.token_bytes(16)


class Fingerprints:
    """Makes rows of prompts.csv. Costs about 1 us per recent message and 1 us per piece of a new one."""

    def __init__(self, key: bytes, remembered: int = REMEMBERED) -> None:
        self._key = key
        self._remembered = remembered
        # By Python's own hash of role and text, which a str keeps once computed: no text is kept alive here.
        self._known: OrderedDict[int, bytes] = OrderedDict()

    def row(self, worker: int, request: int, messages: Iterable[Message], answer: Answer) -> str:
        """The line of one request, with its line end; see `schema.PROMPT_COLUMNS`."""
        new: list[bytes] = []
        sizes: list[bytes] = []
        pieces: list[bytes] = []
        prompt = [self._message(message, new, sizes, pieces) for message in messages]
        answer_hash = b""
        # Reasoning stands before the answer in the engine's cache and not in the next prompt: no prompt goes on there.
        if answer.ok and answer.text and not answer.reasoning:
            answer_hash = self._message({"role": "assistant", "content": answer.text}, new, sizes, pieces)
        cells = (_base64(b"".join(part)) for part in (prompt, (answer_hash,), new, sizes, pieces))
        return f"{worker},{request},{','.join(cells)}\n"

    def _message(self, message: Message, new: list[bytes], sizes: list[bytes], pieces: list[bytes]) -> bytes:
        text, head = content_text(message), _head(message)
        remembered = hash((head, text))
        known = self._known.get(remembered)
        if known is not None:
            self._known.move_to_end(remembered)
            return known
        digest = self._hash(head, text, pieces)
        role = _ASSISTANT_BIT if message.get("role") == "assistant" else 0
        new.append(digest)
        sizes.append((role | min(len(text), MAX_MESSAGE_CHARS)).to_bytes(SIZE_BYTES, "big"))
        self._known[remembered] = digest
        if len(self._known) > self._remembered:
            self._known.popitem(last=False)
        return digest

    def _hash(self, head: str, text: str, pieces: list[bytes]) -> bytes:
        """The hash of a message; hashes of its pieces are appended to `pieces`."""
        state = blake2b(_bytes(head), digest_size=HASH_BYTES, key=self._key)
        begin = 0
        for end in piece_ends(min(len(text), MAX_MESSAGE_CHARS)):
            state.update(_bytes(text[begin:end]))
            begin = end
            pieces.append(state.digest()[:PIECE_BYTES])
        if begin < len(text):
            state.update(_bytes(text[begin:]))
        return state.digest()


def _head(message: Message) -> str:
    """What precedes a message's text in its hash: its role and other fields (a name, tool calls)."""
    role = message.get("role")
    if len(message) <= 2 and isinstance(role, str):
        return f"{role}\0"
    rest = {key: value for key, value in message.items() if key != "content"}
    return json.dumps(rest, sort_keys=True, default=str) + "\0"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _base64(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).translate(_ALPHABET).decode("ascii")
