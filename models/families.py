"""Put operators and kernels of a trace into families."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

#: The first that fits counts. Names of kernels are those of cuBLAS, cuDNN, CUTLASS, FlashAttention, Triton, NCCL and their kin for
#: other devices; names of operators those of PyTorch's dispatcher.
_FAMILIES = (
    ("communication", r"nccl|rccl|all_?reduce|all_?gather|reduce_?scatter|all_?to_?all|broadcast_?kernel|c10d::|gloo:|sendrecv"),
    ("copies", r"memcpy|memset|copy_|::to$|_to_copy|DtoH|HtoD|dma"),
    ("attention", r"flash|fmha|attention|attn|sdpa|softmax"),
    ("convolution", r"conv|wgrad|dgrad|implicit_gemm|winograd|im2col"),
    ("matrix products", r"gemm|gemv|matmul|::mm$|addmm|bmm|::linear|cublas|cutlass|nvjet|hipblas|tensile|Cijk_|splitK|wgmma|xmma"),
    ("normalisation", r"norm"),
    ("optimizer", r"adam|sgd|optimizer|multi_tensor_apply|foreach|lamb"),
    ("embedding and indexing", r"embedding|index|gather|scatter|sort|topk|nonzero|cat(?:_|$|array)"),
    ("loss", r"cross_?entropy|nll|loss|log_softmax"),
    ("reductions", r"reduce|::sum|::mean|argmax|::max"),
    ("data loading", r"dataloader|collate|pin_memory"),
    ("elementwise", r"elementwise|vectorized|pointwise|triton|::add|::mul|::div|gelu|relu|silu|dropout|sigmoid|tanh|fill"),
)
#: Kinds of what runs on a device, with their family where the kind alone says it.
_ON_DEVICE = {"kernel": None, "h2d": "copies", "memcpy": "copies", "memset": "copies"}
_PATTERNS = tuple((family, re.compile(pattern, re.I)) for family, pattern in _FAMILIES)


def family_of(name: str) -> str:
    """The family of an operator or kernel.

    >>> family_of("ncclDevKernel_AllReduce_Sum_bf16_RING"), family_of("aten::mm"), family_of("mine")
    ('communication', 'matrix products', 'others')
    """
    return next((family for family, pattern in _PATTERNS if pattern.search(name[:500])), "others")


def by_family(operations: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds of each family: of what ran on the device, else of operators of the host, which nest and may count twice.

    Args:
        operations: `kind name total_s`, as readers of traces sum them up.
    """
    some = list(operations)
    on_device = [one for one in some if one["kind"] in _ON_DEVICE]
    found: dict[str, float] = {}
    for one in on_device or some:
        family = _ON_DEVICE.get(one["kind"]) or family_of(str(one["name"]))
        found[family] = found.get(family, 0.0) + float(one["total_s"])
    return found
