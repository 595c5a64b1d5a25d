"""Spaces of settings as data, and the candidates they hold."""

from __future__ import annotations

import pytest

from tokenswarm.base.config_text import with_overrides
from tokenswarm.base.errors import Exit, UserError
from tokenswarm.series.space import DEFAULT, SPACES, Limits, load_space, space_of

ANY = Limits({})


def test_a_grid_holds_every_combination_and_the_default_first() -> None:
    space = space_of({"settings": {"max_num_seqs": [1, 2], "sim": {"block_size": [16, 32]}}}, ANY)
    assert [each.name for each in space.candidates] == [
        DEFAULT,
        "max_num_seqs=1 sim.block_size=16",
        "max_num_seqs=1 sim.block_size=32",
        "max_num_seqs=2 sim.block_size=16",
        "max_num_seqs=2 sim.block_size=32",
    ]


def test_a_candidate_becomes_overrides_that_a_scenario_reads() -> None:
    space = space_of(
        {
            "settings": {
                "speculation": [{"method": "ngram", "tokens": 3}, "unset"],
                "chunked_prefill": [False],
                "kv_cache_dtype": ["fp8"],
            }
        },
        ANY,
    )
    with_it, without = space.candidates[1:]
    assert with_overrides({}, with_it.overrides)["engine"] == {
        "speculation": {"method": "ngram", "tokens": 3},
        "chunked_prefill": False,
        "kv_cache_dtype": "fp8",
    }
    assert with_overrides({}, without.overrides)["engine"]["speculation"] is None


def test_what_the_device_ignores_and_gpus_that_are_not_there_are_left_out_and_said() -> None:
    limits = Limits({"memory_fraction": "there is none"}, gpus=2)
    data = {"settings": {"memory_fraction": [0.8, 0.9], "tensor_parallel": [1, 2, 4], "data_parallel": [1, 2]}}
    space = space_of(data, limits)
    pairs = [(each.settings["tensor_parallel"], each.settings["data_parallel"]) for each in space.candidates[1:]]
    assert pairs == [(1, 1), (1, 2), (2, 1)]
    assert space.notes == (
        "memory_fraction is left out: there is none",
        "tensor_parallel is tried up to the 2 GPUs that there are",
    )


def test_a_random_sample_is_the_same_each_time_and_a_list_is_itself() -> None:
    data = {"sample": "random", "size": 4, "settings": {"max_num_seqs": list(range(1, 50))}}
    assert space_of(data, ANY) == space_of(data, ANY)
    assert len(space_of(data, ANY).candidates) == 5
    listed = space_of({"sample": "list", "candidates": [{"max_num_seqs": 3}, {"prefill_budget": 9}]}, ANY)
    assert [each.name for each in listed.candidates] == [DEFAULT, "max_num_seqs=3", "prefill_budget=9"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"settings": {"max_num_seqs": 3}}, "list of values"),
        ({"setings": {}}, "unknown key"),
        ({}, "no candidate"),
        ({"settings": {"max_num_seqs": list(range(1, 99))}}, "at most 64"),
        ({"sample": "some", "settings": {}}, "grid"),
    ],
)
def test_what_is_no_space_is_refused(data: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        space_of(data, ANY)


def test_every_space_that_comes_along_is_one() -> None:
    assert {"vllm", "sglang", "sim"} <= set(SPACES.files())
    for name in SPACES.files():
        assert 2 < len(load_space(name, Limits({}, gpus=8)).candidates) <= 65
    with pytest.raises(UserError, match="unknown space of settings") as refused:
        load_space("nowhere", ANY)
    assert refused.value.code is Exit.USAGE


def test_a_candidate_that_the_scenario_has_already_is_the_default_and_not_raced_twice() -> None:
    limits = Limits({}, own={"max_num_seqs": 2, "prefill_budget": 512, "sim.block_size": 16})
    grid = {"max_num_seqs": [2, 4], "prefill_budget": [512], "speculation": ["unset"], "sim": {"block_size": [16]}}
    names = [each.name for each in space_of({"settings": grid}, limits).candidates]
    assert names == [DEFAULT, "max_num_seqs=4 prefill_budget=512 speculation=unset sim.block_size=16"]
    with pytest.raises(ValueError, match="holds no candidate"):
        space_of({"sample": "list", "candidates": [{"max_num_seqs": 2}]}, limits)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"settings": 5}, "settings should be a table"),
        ({"settings": {"tensor_parallel": ["a"]}}, "whole numbers above 0"),
        ({"settings": {"tensor_parallel": [True]}}, "whole numbers above 0"),
        ({"sample": "list", "candidates": 5}, "list of tables"),
        ({"sample": "list", "candidates": [5]}, "list of tables"),
        ({"sample": "random", "size": "many", "settings": {"a": [1]}}, "size is .many., but should be a whole number"),
        ({"sample": "random", "seed": 1.5, "settings": {"a": [1]}}, "seed is 1.5, but should be a whole number"),
        ({"sample": "random", "settings": {f"s{n}": list(range(100)) for n in range(9)}}, "combinations, at most"),
    ],
)
def test_what_is_no_space_is_refused_with_what_it_should_be(data: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        space_of(data, Limits({}, gpus=2))
