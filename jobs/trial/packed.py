"""Converts the state of a checkpoint to JSON, numpy arrays and torch tensors, and back.

What comes back must compute the same: types, dtypes, memory layout and alignment of a tensor are kept, because sums in
another order differ in their last bits. What cannot come back as it was is refused.
"""

from __future__ import annotations

import base64
import errno
import importlib
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from fts.installing import installing
from fts.state.files import replacing

if TYPE_CHECKING:
    from pathlib import Path

MARK = "$"  # key of a value that JSON cannot express
PLAIN = (type(None), bool, int, float, str)
DEEPEST = 100  # levels: Python's own limit of recursion is about four times this
ALIGNMENT = 64  # bytes, at which torch allocates
LARGEST_INT = 10_000  # bits; Python writes no more than 4300 digits of a number as JSON
LARGEST_GAPS = 64 << 20  # bytes; a view that skips more, such as one column of a large matrix, comes back without gaps
DICTS = (OrderedDict, Counter, defaultdict)
FACTORIES: dict[str, Any] = {
    one.__name__: one for one in (bool, int, float, str, list, dict, set, tuple)
}  # of a defaultdict


class BadState(TypeError):
    """The state holds a value that a checkpoint cannot hold."""


def packable(values: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those values that a checkpoint can hold."""
    found = {}
    for name, value in values.items():
        with suppress(BadState):
            Packed().pack(value, name)
            found[name] = value
    return found


class Packed:
    """Converts a tree of values to JSON and back. Collects its arrays and tensors, which are written to other files."""

    def __init__(self) -> None:
        self.arrays: dict[str, Any] = {}
        self.tensors: dict[str, Any] = {}

    def pack(self, value: Any, where: str, depth: int = 0) -> Any:
        """Converts a value to JSON. Raises BadState with the position of a value that cannot be converted."""
        kind = type(value)
        if kind is int and value.bit_length() > LARGEST_INT:
            return {MARK: "int", "hex": hex(value)}
        if kind in PLAIN:
            return value
        if depth > DEEPEST:
            raise BadState(f"{where:.80}... has more than {DEEPEST} levels, or holds itself; save a flat state")
        inner = depth + 1
        if kind is list:
            return [self.pack(one, f"{where}[{n}]", inner) for n, one in enumerate(value)]
        if isinstance(value, Mapping):
            return self._pack_mapping(value, where, inner)
        if kind is tuple or _is_torch(value, "Size"):
            return {MARK: "tuple", "items": [self.pack(one, f"{where}[{n}]", inner) for n, one in enumerate(value)]}
        if kind in (set, frozenset):
            return {MARK: kind.__name__, "items": [self.pack(one, where, inner) for one in value]}
        if kind is bytes:
            return {MARK: "bytes", "base64": base64.b64encode(value).decode()}
        return self._pack_array(value, where)

    def _pack_mapping(self, value: Mapping[Any, Any], where: str, depth: int) -> Any:
        of = _dict_kind(value)
        if not of and all(type(key) is str for key in value) and MARK not in value:
            return {key: self.pack(one, f"{where}[{key!r}]", depth) for key, one in value.items()}
        items = [
            [self.pack(key, where, depth), self.pack(one, f"{where}[{key!r}]", depth)] for key, one in value.items()
        ]
        return {MARK: "dict", "items": items, **of}

    def _pack_array(self, value: Any, where: str) -> Any:
        numpy = sys.modules.get("numpy")
        if _is_torch(value, "Tensor"):
            return self._pack_tensor(value, where)
        arrays = () if numpy is None else (numpy.ndarray, numpy.memmap)  # a masked array would lose its mask
        is_scalar = numpy is not None and isinstance(value, numpy.generic)
        if (is_scalar or type(value) in arrays) and not value.dtype.hasobject:
            if not _comes_back(value):
                raise BadState(
                    f"{where} is a numpy.{type(value).__name__} of {value.dtype!r}, which a file of numpy does not "
                    "keep as it is: save its fields, or its bytes"
                )
            self.arrays[name := f"a{len(self.arrays)}"] = value
            if is_scalar:
                return {MARK: "scalar", "name": name}
            return {MARK: "array", "name": name, **_gaps_of_array(value)}
        raise BadState(
            f"{where} is a {type(value).__module__}.{type(value).__name__}; a checkpoint holds numbers, strings, "
            "lists, dicts, arrays and tensors: save its state_dict() or its numbers"
        )

    def _pack_tensor(self, value: Any, where: str) -> Any:
        if (wrong := _not_plain(value)) is not None:
            raise BadState(f"{where} is {wrong}, expected a dense torch.Tensor: save its parts")
        self.tensors[name := f"t{len(self.tensors)}"] = value
        grad = {"grad": True} if value.requires_grad and value.is_leaf else {}
        numbers = {"complex": True} if _in_two_parts(value) else {}
        parameter = {"parameter": True} if _is_torch(value, "nn.Parameter") else {}
        return {MARK: "tensor", "name": name, **_layout_of_tensor(value), **numbers, **grad, **parameter}

    def unpack(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.unpack(one) for one in value]
        if not isinstance(value, dict):
            return value
        kind = value.get(MARK)
        if kind is None:
            return {key: self.unpack(one) for key, one in value.items()}
        if kind == "tuple":
            return tuple(self.unpack(one) for one in value["items"])
        if kind == "set":
            return {self.unpack(one) for one in value["items"]}
        if kind == "frozenset":
            return frozenset(self.unpack(one) for one in value["items"])
        if kind == "dict":
            return self._unpack_dict(value)
        if kind == "int":
            return int(value["hex"], 16)
        if kind == "bytes":
            return base64.b64decode(value["base64"])
        if kind == "tensor":
            return _placed_tensor(self.tensors[value["name"]], value)
        array = self.arrays[value["name"]]
        if kind == "scalar":
            return array[()]
        array = _with_gaps(array, value["strides"]) if "strides" in value else array
        array.flags.writeable = not value.get("readonly", False)
        return array

    def _unpack_dict(self, value: dict[str, Any]) -> dict[Any, Any]:
        items: dict[Any, Any] = {self.unpack(key): self.unpack(one) for key, one in value["items"]}
        of = value.get("of")
        if of is None:
            return items
        if of == "defaultdict":
            return defaultdict(FACTORIES.get(value["factory"]), items)
        return OrderedDict(items) if of == "OrderedDict" else Counter(items)

    def write(self, folder: Path) -> None:
        if self.arrays:
            import numpy as np  # here: the environment of the trial may not have it

            with replacing(folder / "arrays.npz") as draft, draft.open("wb") as file:
                np.savez(file, **self.arrays)
        if self.tensors:
            save_file = safetensors_torch().save_file
            dense = {name: _dense(tensor).clone() for name, tensor in self.tensors.items()}
            with replacing(folder / "tensors.safetensors") as draft:
                try:
                    save_file(dense, draft)
                except Exception as error:  # safetensors has its own exception for a full disk
                    if any(word in str(error) for word in ("No space left", "os error 28", "quota")):
                        raise OSError(errno.ENOSPC, "No space left on device", str(draft)) from error
                    raise

    @classmethod
    def read(cls, folder: Path) -> Packed:
        packed = cls()
        if (folder / "arrays.npz").exists():
            import numpy as np

            with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
                packed.arrays = {name: arrays[name] for name in arrays.files}
        if (folder / "tensors.safetensors").exists():
            loaded = safetensors_torch().load_file(folder / "tensors.safetensors")
            # cloned: a memory-mapped tensor may start at any address, and sums depend on alignment
            packed.tensors = {name: tensor.clone() for name, tensor in loaded.items()}
        return packed


def safetensors_torch() -> Any:
    try:
        return importlib.import_module("safetensors.torch")
    except ModuleNotFoundError as missing:
        raise BadState(f"tensors need {missing.name}, which is not installed: {installing('safetensors')}") from None


def _is_torch(value: Any, name: str) -> bool:
    """Whether the value is an instance of this class of torch, if torch is in use."""
    found: Any = sys.modules.get("torch")
    for part in name.split(".") if found is not None else ():
        found = getattr(found, part)
    return found is not None and isinstance(value, found)


def _dict_kind(value: Mapping[Any, Any]) -> dict[str, Any]:
    """What makes another kind of dict of it, as JSON. Other kinds come back as plain dicts."""
    kind = type(value)
    if kind not in DICTS:
        return {}
    if not isinstance(value, defaultdict):
        return {"of": kind.__name__}
    factory = value.default_factory
    if factory is None or factory in FACTORIES.values():
        return {"of": kind.__name__, "factory": factory and factory.__name__}
    return {}


# -- memory layout


def _not_plain(tensor: Any) -> str | None:
    """Says what a tensor is that a file cannot keep; None: it can."""
    torch, kind = sys.modules["torch"], type(tensor)
    if kind not in (torch.Tensor, torch.nn.Parameter):  # others hold more than numbers, or none at all
        return f"a {kind.__module__}.{kind.__name__}"
    layout = str(tensor.layout).removeprefix("torch.")
    kinds = {"quantized": tensor.is_quantized, "nested": tensor.is_nested, "meta": tensor.is_meta}
    kinds[f"{layout}"] = layout != "strided"
    for name, holds in kinds.items():
        if holds:
            return f"a tensor of the kind {name}"
    return None if _is_kept(tensor.dtype) else f"a tensor of {tensor.dtype}"


@cache
def _is_kept(dtype: Any) -> bool:
    """Whether files of safetensors keep numbers of this dtype."""
    torch = sys.modules["torch"]
    try:
        safetensors_torch().save({"x": _dense(torch.empty(1, dtype=dtype)).clone()})
    except (KeyError, RuntimeError, TypeError, NotImplementedError):
        return False
    return True


def _dense(tensor: Any) -> Any:
    """The numbers of a tensor without gaps, complex ones as two real ones: safetensors keeps them only of 64 bits."""
    dense = tensor.detach().cpu().contiguous()
    return sys.modules["torch"].view_as_real(dense.resolve_conj()) if _in_two_parts(dense) else dense


def _in_two_parts(tensor: Any) -> bool:
    return bool(tensor.is_complex()) and str(tensor.dtype) != "torch.complex64"


def _layout_of_tensor(tensor: Any) -> dict[str, Any]:
    """The strides of a tensor with gaps or in another order, and where it begins between two aligned addresses."""
    if not tensor.numel():
        return {}
    found: dict[str, Any] = {}
    strides = list(tensor.stride())
    span = 1 + sum((n - 1) * by for n, by in zip(tensor.shape, strides, strict=True))
    if strides != _usual_strides(tensor.shape) and (span - tensor.numel()) * tensor.element_size() <= LARGEST_GAPS:
        found["strides"] = strides
    if tensor.device.type == "cpu" and (at := tensor.data_ptr() % ALIGNMENT):
        found["at"] = at // tensor.element_size()
    return found


def _usual_strides(shape: Sequence[int]) -> list[int]:
    """Those of a tensor without gaps. A tensor may have others and no gap, but torch computes in another order then."""
    strides, by = list[int](), 1
    for n in reversed(shape):
        strides.insert(0, by)
        by *= n
    return strides


def _placed_tensor(tensor: Any, like: Mapping[str, Any]) -> Any:
    """Returns the tensor with the layout, and with the kind, that it had when it was saved."""
    import torch  # here: only with tensors

    tensor = torch.view_as_complex(tensor) if like.get("complex") else tensor
    if "strides" in like or "at" in like:
        strides, at = like.get("strides", list(tensor.stride())), like.get("at", 0)
        once = tensor[tuple(slice(0, 1) if by == 0 else slice(None) for by in strides)]  # of what is repeated
        span = at + 1 + sum((n - 1) * by for n, by in zip(once.shape, strides, strict=True))
        place = torch.empty(span, dtype=tensor.dtype).as_strided(once.shape, strides, at)
        tensor = place.copy_(once).expand(tensor.shape)
    if like.get("parameter"):
        return torch.nn.Parameter(tensor, requires_grad=bool(like.get("grad")))
    return tensor.requires_grad_() if like.get("grad") else tensor


def _gaps_of_array(array: Any) -> dict[str, Any]:
    """What a file of numpy does not keep: strides, and that nobody may write to the array."""
    fixed = {} if array.flags.writeable else {"readonly": True}
    contiguous = array.flags.c_contiguous or array.flags.f_contiguous
    if contiguous or _ends(array.shape, array.strides)[1] - array.nbytes > LARGEST_GAPS:
        return fixed
    return {"strides": list(array.strides), **fixed}


def _comes_back(value: Any) -> bool:
    """Whether a file of numpy keeps this array or scalar as it is."""
    from numpy.lib.format import descr_to_dtype, dtype_to_descr

    if value.dtype.kind == "V":
        try:
            again = descr_to_dtype(dtype_to_descr(value.dtype))
        except ValueError:  # fields that overlap
            return False
        if again.type is not value.dtype.type:
            return False
    if value.ndim or type(value) in (sys.modules["numpy"].ndarray, sys.modules["numpy"].memmap):
        return True
    again = sys.modules["numpy"].asarray(value)[()]  # without the zeros at the end of a text
    return type(again) is type(value) and again.tobytes() == value.tobytes()


def _with_gaps(array: Any, strides: list[int]) -> Any:
    import numpy as np

    before, after = _ends(array.shape, strides)
    place = np.empty(before + after + array.itemsize, np.uint8)
    placed: Any = np.ndarray(array.shape, array.dtype, place.data, before, tuple(strides))
    placed[...] = array
    return placed


def _ends(shape: tuple[int, ...], strides: Any) -> tuple[int, int]:
    """How many bytes the elements of an array begin before and after its first one."""
    steps = [(n - 1) * by for n, by in zip(shape, strides, strict=True)]
    return -sum(min(0, one) for one in steps), sum(max(0, one) for one in steps)
