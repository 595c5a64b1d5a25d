"""Step times against figures computed by hand, and profiles as data."""

from __future__ import annotations

import pytest

from tokenswarm.base.errors import Exit, UserError
from tokenswarm.sim.hardware import EngineProfile, load_profile, profile_names

ROUND = EngineProfile(
    name="round", title="round figures", kind="roofline", context_length=1000, kv_tokens=1000,
    memory_bandwidth=1000.0, compute=10_000.0, weight_bytes=100.0, parameters=50.0, kv_bytes_per_token=2.0,
    attention_flops_per_pair=4.0, step_overhead_s=0.5,
)  # fmt: skip


def test_a_decode_step_of_one_sequence_reads_the_weights_and_its_context():
    # (100 B weights + 2 B x 10 tokens) / 1000 B/s = 0.12 s; arithmetic: (2 x 50 x 1 + 4 x 10) / 10000 = 0.014 s
    assert ROUND.step_s([], decode_contexts=10, decodes=1) == pytest.approx(0.12 + 0.5)


def test_a_long_prompt_is_bound_by_arithmetic():
    # 100 tokens behind 20: 2 x 50 x 100 + 4 x (100 x 20 + 100 x 101 / 2) = 10000 + 28200 FLOP
    assert ROUND.step_s([(20, 100)], decode_contexts=0, decodes=0) == pytest.approx(3.82 + 0.5)


def test_efficiencies_divide_the_peaks():
    slower = EngineProfile(**{**_fields(ROUND), "bandwidth_efficiency": 0.5, "compute_efficiency": 0.25})
    assert slower.step_s([], 10, 1) == pytest.approx(0.24 + 0.5)
    assert slower.step_s([(20, 100)], 0, 0) == pytest.approx(4 * 3.82 + 0.5)


def _fields(profile: EngineProfile) -> dict:
    return {name: getattr(profile, name) for name in EngineProfile.__slots__}


def test_an_h100_decodes_an_8b_model_at_the_speed_of_its_memory():
    profile = load_profile("h100-8b")
    # 16.06 GB / (3.35 TB/s x 0.8) = 5.993 ms, KV of one token is nothing beside it, 0.8 ms overhead
    assert profile.step_s([], 1, 1) == pytest.approx(6.79e-3, rel=0.01)


def test_a_decode_step_gets_slower_with_batch_and_with_context():
    profile = load_profile("h100-8b")
    one = profile.step_s([], 1000, 1)
    assert (
        one < profile.step_s([], 64_000, 64) < profile.step_s([], 256_000, 64) < profile.step_s([], 256_000, 256) + 1e-9
    )
    assert profile.step_s([], 64_000, 64) - one == pytest.approx(63_000 * 131072 / (3.35e12 * 0.8))


@pytest.mark.parametrize("name", profile_names())
def test_each_profile_that_comes_along_loads(name):
    profile = load_profile(name)
    assert profile.step_s([(0, 100)], 1000, 10) > 0 or profile.kind == "flat"
    assert min(profile.context_length, profile.kv_tokens) >= 32_768, "the longest prompt of our scenarios fits"


def test_kv_sizes_of_the_profiles_follow_from_the_memory_that_is_left():
    for name, gpus, activations in (("h100-8b", 1, 2e9), ("h100-70b-tp4", 4, 8e9), ("a100-8b", 1, 2e9)):
        profile = load_profile(name)
        left = gpus * 80e9 * 0.92 - profile.weight_bytes - activations
        assert profile.kv_tokens == pytest.approx(left / profile.kv_bytes_per_token, rel=0.01)


def test_an_unknown_profile_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match="h100-8b") as caught:
        load_profile("tpu")
    assert caught.value.code == Exit.USAGE


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("speed = 3", "unknown key 'speed'"),
        ("kv_tokens = 1.5", "kv_tokens must be a whole number"),
        ("compute = -1.0", "compute must be a number of at least 0"),
        ("compute = 0.0", "compute must be above 0"),
        ('kind = "magic"', "kind must be flat or roofline"),
        ("kind =", "not a readable profile"),
    ],
)
def test_a_bad_profile_file_is_refused_with_its_key(tmp_path, line, sentence):
    base = {
        "kind": 'kind = "flat"',
        "title": 'title = "t"',
        "context_length": "context_length = 9",
        "kv_tokens": "kv_tokens = 9",
    }
    base[line.split()[0]] = line
    path = tmp_path / "mine.toml"
    path.write_text("\n".join(base.values()))
    with pytest.raises(UserError, match=sentence):
        load_profile(str(path))


def test_a_profile_file_may_lie_anywhere_and_be_overridden(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('kind = "flat"\ntitle = "t"\ncontext_length = 9\nkv_tokens = 9\nttft_s = 1')
    assert load_profile(str(path), ttft_s=0.2, gap_s=None).ttft_s == 0.2
