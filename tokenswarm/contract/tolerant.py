"""Typed records from JSON of any origin: values of a wrong type count as missing."""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import TypeVar, Union, get_args, get_origin

import msgspec

Record = TypeVar("Record", bound=msgspec.Struct)


def tolerant_record(content: Mapping[str, object], kind: type[Record]) -> Record:
    """A record with all fields of `content` that have the right type. Never raises if all fields of `kind` have
    defaults."""
    try:
        return msgspec.convert(content, kind)  # the usual case
    except (msgspec.ValidationError, OverflowError):
        fields = {}
        for each in msgspec.structs.fields(kind):
            if each.encode_name in content:
                value = _tolerant(content[each.encode_name], each.type)
                if value is not _UNFIT:
                    fields[each.name] = value
        return kind(**fields)


_UNFIT = object()


def _tolerant(value: object, kind: object) -> object:
    """The value as this type, or the parts of it that fit; _UNFIT if none does."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, OverflowError):
        pass
    for choice in get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,):
        if isinstance(value, Mapping) and isinstance(choice, type) and issubclass(choice, msgspec.Struct):
            return _record_or_unfit(value, choice)
        if isinstance(value, list) and get_origin(choice) is list:
            items = [_tolerant(item, get_args(choice)[0]) for item in value]
            return [item for item in items if item is not _UNFIT]
        if isinstance(value, Mapping) and get_origin(choice) is dict:
            entries = {key: _tolerant(item, get_args(choice)[1]) for key, item in value.items() if isinstance(key, str)}
            return {key: item for key, item in entries.items() if item is not _UNFIT}
    return _UNFIT


def _record_or_unfit(value: Mapping[str, object], kind: type[msgspec.Struct]) -> object:
    try:
        return tolerant_record(value, kind)
    except TypeError:  # a field without a default is missing
        return _UNFIT
