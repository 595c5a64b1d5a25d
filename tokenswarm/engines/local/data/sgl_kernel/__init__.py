"""Stands in for SGLang's compiled kernels on a CPU for which they are not built.

With `--attention-backend torch_native` SGLang computes with plain torch, but it still imports names from sgl_kernel and
registers shapes for operators of that library. This package lets the imports succeed. One function is needed while
running and is written in Python; any other one says so when it is called, instead of computing something wrong.
"""

import sys
import types

import torch

__version__ = "0.0.0"

_OPERATORS = (
    "flash_attn_varlen_func",
    "fused_dual_residual_rmsnorm_cpu",
    "fused_gdn_gating_cpu",
    "fused_moe_router_cpu",
    "fused_qk_gemma_rmsnorm_cpu",
    "fused_sigmoid_gating_delta_rule_update_cpu",
    "fused_sigmoid_mul_cpu",
    "rmsnorm_cpu",
)
_SUBMODULES = (
    "allreduce",
    "elementwise",
    "flash_attn",
    "gemm",
    "kvcacheio",
    "mamba",
    "moe",
    "quantization",
    "spatial",
    "speculative",
    "utils",
)

# Kept alive by this name: the operators vanish with the object.
_library = torch.library.Library("sgl_kernel", "DEF")
for _operator in _OPERATORS:
    _library.define(f"{_operator}(Tensor x) -> Tensor")


def assign_req_to_token_pool_cpu(req_pool_indices, req_to_token, start_offset, end_offset, out_cache_loc, *_):
    """Write the cache slots of each request's new tokens into its row: slots follow one another in out_cache_loc."""
    taken = 0
    rows = zip(req_pool_indices.tolist(), start_offset.tolist(), end_offset.tolist(), strict=True)
    for row, start, end in rows:
        count = end - start
        req_to_token[row, start:end] = out_cache_loc[taken : taken + count].to(req_to_token.dtype)
        taken += count


def _not_here(name):
    def kernel(*_, **__):
        raise NotImplementedError(f"{name} needs SGLang's compiled kernels, which this CPU installation does without")

    kernel.__name__ = name.rpartition(".")[2]
    return kernel


class _Kernels(types.ModuleType):
    """A submodule in which every public name is a kernel that is not here."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return _not_here(f"{self.__name__}.{name}")


def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return _not_here(f"{__name__}.{name}")


for _submodule in _SUBMODULES:
    sys.modules[f"{__name__}.{_submodule}"] = _Kernels(f"{__name__}.{_submodule}")
