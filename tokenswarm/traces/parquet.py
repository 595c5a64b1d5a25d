"""Reads rows of Parquet files with pyarrow, which the extra `parquet` installs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

from tokenswarm.base.errors import Exit, UserError

_MAGIC = b"PAR1"
_BATCH_ROWS = 256


def is_parquet(path: Path) -> bool:
    """Whether the file starts like Parquet; False if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False


def parquet_rows(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    """(1-based number, row), read a few at a time. Raises UserError: USAGE without pyarrow, DATA for a broken file."""
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
    """A value as in JSON. Parquet returns maps as pairs and missing columns as None."""
    if isinstance(value, datetime):  # UTC if it has no time zone, like dates in other files
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
