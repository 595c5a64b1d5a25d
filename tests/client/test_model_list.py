"""Model names from whatever an endpoint lists."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenswarm.client.model_list import is_pattern, model_names

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"object": "list", "data": [{"id": "a"}, {"id": "b", "owned_by": "x"}]}, ["a", "b"]),
        ([{"id": "a", "object": "model"}], ["a"]),
        (["a", "b"], ["a", "b"]),
        ({"models": [{"name": "llama3:latest", "size": 1}]}, ["llama3:latest"]),
        ({"object": "list", "data": None}, []),
        ({"data": []}, []),
        (
            {
                "data": [
                    {"id": None},
                    {"id": 7},
                    3,
                    None,
                    {"id": ""},
                    {"id": "a\u001b[31m"},
                    {"id": "x" * 999},
                    {"id": "a"},
                ]
            },
            ["a"],
        ),
        ({"error": {"message": "no route"}}, None),
        ({"data": "soon"}, None),
        (None, None),
        ("models", None),
    ],
)
def test_names_of_each_shape(content: object, names: list[str] | None) -> None:
    assert model_names(content) == names


@given(JSON)
def test_any_json_gives_printable_names_or_none(content: object) -> None:
    names = model_names(content)
    assert names is None or all(name and name.isprintable() for name in names)


def test_a_route_is_no_name_of_one_model() -> None:
    assert is_pattern("openai/*") and not is_pattern("openai/gpt-4o")
