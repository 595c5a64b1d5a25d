"""TOML as people write it: the one place where its text becomes values.

`tomllib` raises its own error for a wrong sign, and others for tables within tables without end and for numbers of
thousands of digits; here they are one.
"""

from __future__ import annotations

import tomllib
from typing import Any


class NotToml(ValueError):
    """This is no TOML that can be read; `str()` says why."""


def decode(text: str) -> dict[str, Any]:
    """The values of a TOML text. Raises NotToml."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise NotToml(str(error)) from None
    except RecursionError:
        raise NotToml("it is nested too deeply") from None
    except ValueError:  # int() takes no more than some thousand digits
        raise NotToml("a number in it has too many digits") from None
