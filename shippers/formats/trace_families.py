"""Families of operations, by the names of the kernels that do them."""

import functools
import re

#: In the order in which they are tried.
_FAMILIES = tuple((family, re.compile(pattern, re.IGNORECASE)) for family, pattern in (
    ("communication", r"nccl|rccl|hccl|(?<!fused_)(?:all_?reduce|all_?gather|reduce_?scatter|all_?to_?all)"),
    ("attention", r"flash|fmha|attention|attn|sdpa"),
    ("convolution", r"conv|winograd|[dw]grad|miopen|nchw|nhwc"),
    ("matrix multiplication", r"gemm|gemv|matmul|cutlass|cublas|nvjet|xmma|\bmma|wmma|s16816|s1688|Cijk_|\bbmm"),
    ("optimizer", r"multi_?tensor|adam|sgd|lamb|foreach"),
    ("normalisation", r"norm"),
    ("softmax and loss", r"softmax|nll_?loss|cross_?entropy"),
    ("indexing", r"embedding|index|gather|scatter|sort|topk|scan"),
    ("reduction", r"reduce|triton_(?:red|per)"),
    ("elementwise", r"elementwise|pointwise|triton_poi|unrolled|CatArray|copy|fill|dropout|triton_"),
))
_OTHER = "other kernels"


@functools.lru_cache(100_000)
def family_of(kernel: str) -> str:
    """The family of a kernel.

    >>> [family_of(name) for name in ("ampere_bf16_s16816gemm_128x256", "ncclDevKernel_AllReduce_Sum_f32", "my_kernel")]
    ['matrix multiplication', 'communication', 'other kernels']
    """
    return next((family for family, pattern in _FAMILIES if pattern.search(kernel)), _OTHER)
