"""A device that is not the CPU, for machines that have no other: its tensors hold real numbers and go by CUDA's rules.

Autograd knows it as the device "meta"; below autograd every operation is first put to PyTorch's fake tensors, as one on
"cuda", which raises where tensors of two devices meet, and then done on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = "meta"
FAKES = FakeTensorMode()
READS = (torch.ops.aten._local_scalar_dense.default,)  # one number to the host: no device can refuse, fakes have none


class Far(torch.Tensor):
    """A tensor on that device; `held` are its numbers."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Far:
        far = torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )
        far.held = held
        return far

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _done(func, args, kwargs or {})


class _Factories(TorchDispatchMode):
    """Catches what no far tensor takes part in: new tensors on the device, and moves to it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _done(func, args, kwargs or {})


@contextmanager
def far_device() -> Iterator[str]:
    """Inside, the device of this name is there."""
    with _Factories():
        yield DEVICE


def _done(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    if func in READS or not any(map(_is_far, tree_leaves((args, kwargs)))):
        return func(*tree_map(_held, args), **kwargs)
    fake_args, fake_kwargs = tree_map(_fake, (args, kwargs))
    with FAKES:
        said = func(*fake_args, **fake_kwargs)
    real = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if func._schema.is_mutable:
        return args[0]
    if isinstance(real, list | tuple):
        return type(real)(map(_placed, real, said))
    return _placed(real, said)


def _is_far(part: Any) -> bool:
    return isinstance(part, Far) or (isinstance(part, torch.device) and part.type == DEVICE)


def _held(part: Any) -> Any:
    if isinstance(part, Far):
        return part.held
    return torch.device("cpu") if _is_far(part) else part


def _fake(part: Any) -> Any:
    if isinstance(part, Far):
        return FakeTensor(FAKES, torch.empty_like(part.held, device="meta"), torch.device("cuda:0"))
    if isinstance(part, torch.Tensor):
        return FAKES.from_tensor(part)
    return torch.device("cuda:0") if _is_far(part) else part


def _placed(real: Any, said: Any) -> Any:
    """A result, on the device that CUDA would have left it on."""
    return Far(real) if isinstance(said, torch.Tensor) and said.device.type == "cuda" else real
