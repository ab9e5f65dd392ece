"""How a tensor lies in memory: the same values, other strides."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def _channels_last(data: Tensor) -> Tensor:
    order = (0, *range(2, data.dim()), 1)
    back = (0, data.dim() - 1, *range(1, data.dim() - 1))
    return data.permute(order).contiguous().permute(back) if data.dim() > 2 else data


def _transposed(data: Tensor) -> Tensor:
    """The last two axes lie in the other order."""
    return data.mT.contiguous().mT if data.dim() > 1 else data


def _batch_last(data: Tensor) -> Tensor:
    """The first two axes lie in the other order."""
    return data.transpose(0, 1).contiguous().transpose(0, 1) if data.dim() > 1 else data


def _sliced(data: Tensor) -> Tensor:
    """Every other element of a larger tensor, from an offset on."""
    wide = torch.full(tuple(2 * size + 1 for size in data.shape), _filler(data), dtype=data.dtype, device=data.device)
    view = wide[tuple(slice(1, None, 2) for _ in data.shape)]
    view.copy_(data)
    return view


def _every_other(data: Tensor, axis: int) -> Tensor:
    """Every other element along one axis of a larger tensor; dense along the others."""
    if data.dim() <= axis:
        return data
    shape = [size * (1 + (dim == axis)) for dim, size in enumerate(data.shape)]
    wide = torch.full(shape, _filler(data), dtype=data.dtype, device=data.device)
    view = wide[(*[slice(None)] * axis, slice(None, None, 2))]
    view.copy_(data)
    return view


def _cropped(data: Tensor) -> Tensor:
    """A window of a larger image, as cropping gives."""
    shape = [size + 2 * (dim > 1) for dim, size in enumerate(data.shape)]
    wide = torch.full(shape, _filler(data), dtype=data.dtype, device=data.device)
    view = wide[tuple(slice(1, -1) if dim > 1 else slice(None) for dim in range(data.dim()))]
    view.copy_(data)
    return view


def _filler(data: Tensor) -> float:
    """What lies between the elements: NaN, or a marker in integers."""
    return float("nan") if data.dtype.is_floating_point or data.dtype.is_complex else 77


def _offset(data: Tensor) -> Tensor:
    """Contiguous, but not at the start of its storage."""
    storage = torch.full((data.numel() + 7,), _filler(data), dtype=data.dtype, device=data.device)
    storage[5 : 5 + data.numel()] = data.reshape(-1)
    return storage[5 : 5 + data.numel()].view(data.shape)


def _channels_last_offset(data: Tensor) -> Tensor:
    """Channels last, and not at the start of its storage."""
    dense = _channels_last(data)
    storage = torch.full((data.numel() + 5,), _filler(data), dtype=data.dtype, device=data.device)
    view = storage[5:].as_strided(dense.shape, dense.stride())
    view.copy_(data)
    return view


def _channels_last_cropped(data: Tensor) -> Tensor:
    """The first channels of a wider tensor with channels last: its positions are further apart than its channels."""
    if data.dim() < 2:
        return data
    wider = torch.cat((data, torch.full_like(data[:, :1], _filler(data))), 1)
    return _channels_last(wider)[:, : data.shape[1]]


def _channels_last_transposed(data: Tensor) -> Tensor:
    """Channels last, and the two axes before them in the other order."""
    return _channels_last(data.mT).mT if data.dim() > 1 else data


def _channels_cropped(data: Tensor) -> Tensor:
    """The first channels of a wider tensor; a single sample is contiguous, with the wider one's batch stride."""
    if data.dim() < 2:
        return data
    shape = (data.shape[0], data.shape[1] + 1, *data.shape[2:])
    wide = torch.full(shape, _filler(data), dtype=data.dtype, device=data.device)
    view = wide[:, :-1]
    view.copy_(data)
    return view


def _repeated(data: Tensor, *axes: int) -> Tensor:
    """The first entry of some axes seen in all others, as the gradient of a sum over these is."""
    if len(axes) == data.dim() and data.numel():  # from no axis at all, so that all strides are zero
        return data[(0,) * data.dim()].clone().expand(data.shape)
    first = tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(data.dim()))
    return data[first].clone().expand(data.shape)


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": lambda data: data,
    "channels_last": _channels_last,
    "transposed": _transposed,
    "batch_last": _batch_last,
    "sliced": _sliced,
    "cropped": _cropped,
    "samples_sliced": lambda data: _every_other(data, 0),
    "channels_sliced": lambda data: _every_other(data, 1),
    "columns_sliced": lambda data: _every_other(data, 3),
    "channels_cropped": _channels_cropped,
    "offset": _offset,
    "channels_last_offset": _channels_last_offset,
    "channels_last_cropped": _channels_last_cropped,
    "channels_last_transposed": _channels_last_transposed,
    "expanded": lambda data: _repeated(data, *range(data.dim())),
    "rows_expanded": lambda data: _repeated(data, data.dim() - 1),
    "planes_expanded": lambda data: _repeated(data, *range(2, data.dim())),
    "channels_expanded": lambda data: _repeated(data, 1),
    "batch_expanded": lambda data: _repeated(data, 0),
}


def lay_out(data: Tensor, layout: str) -> Tensor:
    """`data` in another layout; the expanded ones repeat its first elements."""
    return LAYOUTS[layout](data)
