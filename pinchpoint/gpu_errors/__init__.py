"""Errors of GPUs, and of what is around them, as the kernel tells them."""

from pinchpoint.gpu_errors.xids import Xid, meaning_of

__all__ = ["Xid", "meaning_of"]
