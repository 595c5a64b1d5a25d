"""Reads prompts.csv: the prefixes of each request, as hashes of its messages and of their pieces.

Any part may be missing or damaged. Unreadable lines, and requests with an undescribed message, are left out and
counted.
"""

from __future__ import annotations

import binascii
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tokenswarm.contract.pieces import MAX_MESSAGE_CHARS, piece_ends
from tokenswarm.contract.tables import PROMPT_COLUMNS, names, table_parts

REQUESTS_LIMIT = 100_000
"""Maximum number of requests analysed, the first of the file. More would take seconds and add little."""
MESSAGES_LIMIT = 1_000_000
"""Maximum number of messages analysed, for the same reason."""

REQUEST_BITS = 40
_CHUNK_BYTES = 1 << 22
_HEADER = ",".join(names(PROMPT_COLUMNS)).encode()
_CELLS = len(PROMPT_COLUMNS)
_HASH, _SIZE, _PIECE = 6, 3, 3
_ASSISTANT_BIT = 1 << 23
_FROM_ALPHABET = bytes.maketrans(b"_.", b"+/")
_ENDS = np.array(piece_ends(MAX_MESSAGE_CHARS), dtype=np.int64)


@dataclass(frozen=True)
class Messages:
    """The distinct messages of a run: characters, whether an assistant's, and hashes of their pieces.

    `pieces[piece_starts[m] : piece_starts[m + 1]]` belong to message m; each covers the message from its beginning.
    """

    chars: np.ndarray
    assistant: np.ndarray
    piece_starts: np.ndarray
    pieces: np.ndarray

    def piece_end(self, message: np.ndarray, piece: np.ndarray | int) -> np.ndarray:
        """Where piece number `piece` of each of these messages ends, in characters."""
        last = self.piece_starts[message + 1] - self.piece_starts[message] - 1
        return np.where(piece < last, _ENDS[np.minimum(piece, len(_ENDS) - 1)], self.chars[message])


@dataclass(frozen=True)
class RecordedPrompts:
    """The requests of a prompts.csv, in file order.

    - keys: worker and number combined (see `key_of`)
    - sequence[starts[i] : starts[i + 1]]: positions in `messages` of what request i sent, in order
    - answers[i]: that of its answer, -1 if it has none
    - damaged: lines left out
    - more: the file continues beyond what was read
    """

    keys: np.ndarray
    starts: np.ndarray
    sequence: np.ndarray
    answers: np.ndarray
    messages: Messages
    damaged: int = 0
    more: bool = False

    def __len__(self) -> int:
        return len(self.keys)


def key_of(worker: np.ndarray, request: np.ndarray) -> np.ndarray:
    """One number per request: its load-generating process and its number in that process."""
    return worker << REQUEST_BITS | request


@dataclass(slots=True)
class _Role:
    """Decoded lines."""

    keys: np.ndarray
    lengths: np.ndarray
    prompt: np.ndarray
    answer: np.ndarray
    new: np.ndarray
    sizes: np.ndarray
    pieces: np.ndarray


def read_prompts(path: Path, requests_limit: int = REQUESTS_LIMIT) -> RecordedPrompts | None:
    """The prompts of a run, at most `requests_limit`, from the table and its further parts. None if the file is missing
    or not such a table.

    Raises OSError if it cannot be read.
    """
    paths = table_parts(path.parent, path.name) if path.parent.is_dir() else []
    if not paths or not _is_table(paths[0]):
        return None
    parts: list[_Role] = []
    damaged = requests = messages = 0
    more = False
    for lines, torn in (chunk for each in paths for chunk in _chunks(each)):
        damaged += torn
        room = requests_limit - requests
        if lines and (room <= 0 or messages >= MESSAGES_LIMIT):
            more = True
            break
        more = len(lines) > room
        decoded, bad = _decode(lines[:room])
        damaged += bad
        parts += decoded
        requests += sum(len(part.keys) for part in decoded)
        messages += sum(len(part.prompt) for part in decoded)
        if more:
            break
    return _assemble(parts, damaged, more)


def _is_table(path: Path) -> bool:
    with path.open("rb") as file:
        return file.readline().rstrip(b"\r\n") == _HEADER


def _chunks(path: Path) -> Iterator[tuple[list[bytes], int]]:
    """Whole lines after the header, a few megabytes at a time, and whether a torn line followed at the end."""
    with path.open("rb") as file:
        head = file.readline()
        if head.rstrip(b"\r\n") != _HEADER:
            yield [], 1  # a part with a torn header, or another kind of file
            return
        rest = b""
        while data := file.read(_CHUNK_BYTES):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            if lines:
                yield lines, 0
        if rest:
            yield [], 1


def _decode(lines: Sequence[bytes]) -> tuple[list[_Role], int]:
    """These lines decoded, and how many could not be. Tries all at once; if that fails, recurses into halves."""
    if not lines:
        return [], 0
    try:
        return [_decode_all(lines)], 0
    except (ValueError, IndexError, OverflowError):
        if len(lines) == 1:
            return [], 1
    middle = len(lines) // 2
    (left, bad_left), (right, bad_right) = _decode(lines[:middle]), _decode(lines[middle:])
    return left + right, bad_left + bad_right


def _decode_all(lines: Sequence[bytes]) -> _Role:
    """Raises ValueError if any of the lines is not what it should be."""
    columns = list(zip(*(line.rstrip(b"\r").split(b",") for line in lines), strict=True))
    if len(columns) != _CELLS:
        raise ValueError("cells")
    worker, number = (np.array([int(cell) for cell in column], dtype=np.int64) for column in columns[:2])
    if worker.min() < 0 or number.min() < 0 or number.max() >= 1 << REQUEST_BITS or worker.max() >= 1 << 20:
        raise ValueError("number")
    prompt, answer, new, sizes, pieces = columns[2:]
    part = _Role(
        key_of(worker, number),
        _counts(prompt, _HASH),
        _numbers(prompt, _HASH),
        np.zeros(len(lines), dtype=np.int64),
        _numbers(new, _HASH),
        _numbers(sizes, _SIZE),
        _numbers(pieces, _PIECE),
    )
    answers = _counts(answer, _HASH)
    if answers.max() > 1 or (_counts(new, _HASH) != _counts(sizes, _SIZE)).any():
        raise ValueError("counts")
    part.answer = np.full(len(lines), -1, dtype=np.int64)
    part.answer[answers == 1] = _numbers(answer, _HASH)
    due = _piece_counts(part.sizes & ~_ASSISTANT_BIT)
    of_line = np.add.reduceat(np.append(due, 0), np.append(0, np.cumsum(_counts(new, _HASH)))[:-1]) * (
        _counts(new, _HASH) > 0
    )
    if (of_line != _counts(pieces, _PIECE)).any():
        raise ValueError("pieces")
    return part


def _counts(cells: Sequence[bytes], size: int) -> np.ndarray:
    """How many values of `size` bytes each cell holds."""
    lengths = np.array([len(cell) for cell in cells], dtype=np.int64)
    if (lengths % (size * 4 // 3)).any():
        raise ValueError("length")
    return lengths // (size * 4 // 3)


def _numbers(cells: Sequence[bytes], size: int) -> np.ndarray:
    """The values of all cells, concatenated. Raises ValueError (binascii.Error is one) on an invalid character."""
    data = binascii.a2b_base64(b"".join(cells).translate(_FROM_ALPHABET), strict_mode=True)
    values = np.frombuffer(data, dtype=np.uint8).reshape(-1, size).astype(np.int64)
    return values @ (256 ** np.arange(size - 1, -1, -1, dtype=np.int64))


def _piece_counts(chars: np.ndarray) -> np.ndarray:
    return np.minimum(np.searchsorted(_ENDS[:-1], chars, side="left") + 1, len(_ENDS))


def _joined(parts: list[_Role], name: str) -> np.ndarray:
    return np.concatenate([getattr(part, name) for part in parts]) if parts else np.zeros(0, dtype=np.int64)


def _assemble(parts: list[_Role], damaged: int, more: bool) -> RecordedPrompts:
    keys, lengths, prompt, answer, new, sizes, pieces = (
        _joined(parts, name) for name in ("keys", "lengths", "prompt", "answer", "new", "sizes", "pieces")
    )
    hashes, first = np.unique(new, return_index=True)
    counts = _piece_counts(sizes & ~_ASSISTANT_BIT)
    begins = np.cumsum(counts) - counts
    piece_starts = np.append(0, np.cumsum(counts[first]))
    take = np.repeat(begins[first] - piece_starts[:-1], counts[first]) + np.arange(piece_starts[-1])
    messages = Messages(sizes[first] & ~_ASSISTANT_BIT, (sizes[first] & _ASSISTANT_BIT) > 0, piece_starts, pieces[take])
    sequence, known = _positions(hashes, prompt)
    answers, answer_known = _positions(hashes, answer)
    # The prefix of a request is unknown if the description of one of its messages was lost.
    request = np.repeat(np.arange(len(keys)), lengths)
    whole = np.bincount(request[~known], minlength=len(keys)) == 0
    # A request that is in the file twice (someone joined two files) counts once.
    whole[np.setdiff1d(np.arange(len(keys)), np.unique(keys, return_index=True)[1])] = False
    kept = lengths[whole]
    return RecordedPrompts(
        keys[whole],
        np.append(0, np.cumsum(kept)),
        sequence[whole[request]],
        np.where(answer_known, answers, -1)[whole],
        messages,
        damaged + int((~whole).sum()),
        more,
    )


def _positions(hashes: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The position of each wanted hash in the sorted `hashes`, and whether it is there."""
    if not len(hashes):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
    at = np.minimum(np.searchsorted(hashes, wanted), len(hashes) - 1)
    return at, hashes[at] == wanted
