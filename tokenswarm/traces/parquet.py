"""Rows of Parquet files, by pyarrow, which comes with the extra `parquet`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError

_MAGIC = b"PAR1"
_BATCH_ROWS = 256


def is_parquet(path: Path) -> bool:
    """Whether the file begins as Parquet does; False for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """(number from 1 on, row), a few at a time. Raises UserError: USAGE without pyarrow, DATA for a broken file."""
    try:
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UserError(
            Exit.USAGE, f"{path} is a Parquet file, which needs pyarrow: pip install 'tokenswarm[parquet]'"
        ) from None
    number = 0
    try:
        with ParquetFile(path) as file:
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in batch.to_pylist():
                    number += 1
                    yield number, {name: _plain(value) for name, value in row.items()}
    except (OSError, ValueError, ArrowException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(Exit.DATA, f"{path} cannot be read: {reason}") from None


def _plain(value: object) -> object:
    """A value as JSON would have it. Of maps Parquet gives pairs; columns that a row leaves out are None."""
    if isinstance(value, datetime):  # UTC, where it names no zone, as dates in other files are read
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return {name: _plain(each) for name, each in value.items()} if isinstance(value, dict) else value
