"""A strict stand-in for CuPy on top of NumPy, to test the GPU's code paths on machines without one.

It is no emulator: it refuses. An array of its own class hides a NumPy array, and whatever CuPy
refuses (mixing with NumPy arrays, converting to them unasked) or does not have (functions,
arguments) is an error here too. The signatures and wordings follow CuPy 14. Where CuPy is the more
lenient (an integer index out of bounds wraps around there), this stays with NumPy's error.

`counts` tells how many kernels CuPy would have launched, and how often Python waited for the GPU. Kernels of our own
run as the CUDA text that they are (strict_kernels.py), products through cuBLAS's interface (strict_cublas.py), and what
is recorded into a graph is not done before the graph is launched.

Each array takes a block from a pool of memory, as in CuPy (strict_memory.py). `driver.limit` makes memory scarce. The
launch of a graph whose memory was freed is an error.
"""

from __future__ import annotations

import operator
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import strict_cublas
import strict_kernels
import strict_memory
from numpy.lib.mixins import NDArrayOperatorsMixin

from scratchae import random
from scratchae.gpu import cublas

DTYPES = """bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64
    complex128 generic number integer floating dtype finfo iinfo result_type promote_types can_cast newaxis
    pi e inf nan""".split()
UFUNCS = """exp exp2 expm1 log log2 log10 log1p sqrt cbrt square reciprocal sin cos tan arcsin arccos arctan
    arctan2 sinh cosh tanh abs absolute sign negative positive floor ceil trunc rint maximum minimum fmax fmin
    add subtract multiply divide true_divide floor_divide power float_power remainder mod fmod hypot logaddexp
    copysign isfinite isnan isinf signbit equal not_equal less less_equal greater greater_equal logical_and
    logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_xor invert left_shift right_shift""".split()
FUNCTIONS = """sum mean var std max min amax amin argmax argmin prod cumsum cumprod all any median percentile
    count_nonzero clip matmul dot vdot inner outer tensordot einsum trace concatenate stack vstack hstack split
    pad broadcast_to expand_dims squeeze reshape ravel transpose swapaxes moveaxis take take_along_axis tile
    repeat roll sort argsort unique diag tril triu searchsorted bincount nan_to_num isclose copy
    zeros_like ones_like empty_like full_like ascontiguousarray""".split()
METHODS = """sum mean var std max min argmax argmin prod cumsum cumprod all any clip dot trace argsort sort take
    repeat round reshape ravel flatten transpose swapaxes squeeze diagonal astype copy view nonzero""".split()
CREATORS = "zeros ones empty full arange linspace eye identity tri".split()
SCATTERING = ("add", "subtract", "maximum", "minimum")  # the ufuncs whose `.at` CuPy has
WAITING = ("unique", "bincount", "nonzero")  # the result's shape is known on the GPU only
NO_LAUNCH = ("empty", "empty_like")
BY_CUBLAS = "matmul dot vdot inner tensordot einsum".split()


class Counts:
    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.launches = self.synchronisations = self.graphs = self.released = 0


counts = Counts()


# --- what CUDA is asked to do, now or when a graph is launched --------------------------------------


class Graph:
    """cupy.cuda.Graph: work that was recorded and not done, to be done at each `launch`."""

    def __init__(self) -> None:
        self.work: list = []
        self.memory: list = []  # what was allocated meanwhile, which a pool of the graph's own would hold
        self.blocks: list[strict_memory.Block] = []
        self._before: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def add(self, action, written: tuple) -> None:
        """The stand-in has to compute the work to know its shapes; what that changes is put back in `end`."""
        for array in written:
            root = array
            while isinstance(root.base, np.ndarray):
                root = root.base
            self._before.setdefault(id(root), (root, root.copy("K")))
        self.work.append(action)

    def end(self) -> None:
        for root, before in self._before.values():
            root[...] = before
        self._before.clear()

    def launch(self, stream=None) -> None:
        if any(block.freed for block in self.blocks):
            raise RuntimeError("cudaErrorIllegalAddress: the graph reads and writes memory that was freed")
        counts.graphs += 1
        with np.errstate(all="ignore"):
            for action in self.work:
                action()


_recording: list[Graph] = []  # the graph that is being recorded, if any


def perform(action, *written: np.ndarray) -> None:
    """Launch a kernel that writes to those arrays."""
    counts.launches += 1
    if _recording:
        _recording[0].add(action, written)
    with np.errstate(all="ignore"):  # CuPy never warns
        action()


def _wait() -> None:
    if _recording:
        raise RuntimeError("the current stream is capturing, so synchronous API calls are disallowed")
    counts.synchronisations += 1


# --- between the two worlds -----------------------------------------------------------------------


def _refuse(x: object) -> None:
    raise TypeError(f"Unsupported type {type(x)}")


def _operand(x):
    """What a ufunc takes: an array of the GPU, a number of Python's or of NumPy's."""
    if isinstance(x, ndarray):
        return x._host
    return x if isinstance(x, (bool, int, float, complex, np.generic)) else _refuse(x)


def _argument(x):
    """What other functions take: also shapes, names, None, and lists of arrays."""
    if isinstance(x, (list, tuple)):
        return type(x)(_argument(e) for e in x)
    return _refuse(x) if isinstance(x, np.ndarray) else x._host if isinstance(x, ndarray) else x


def _index(index):
    """An index; CuPy uploads NumPy arrays here. It waits to learn how many elements a mask selects."""
    parts = index if isinstance(index, tuple) else (index,)
    masks = [p for p in parts if isinstance(p, (ndarray, np.ndarray)) and p.dtype.kind == "b"]
    if len(masks) > 1:
        raise ValueError("Currently, CuPy only supports slices that consist of one boolean array.")
    for _ in masks:
        _wait()
    plain = tuple(p._host if isinstance(p, ndarray) else p for p in parts)
    if all(p is None or isinstance(p, (int, np.integer, slice)) for p in plain):
        return (*plain, ...)  # a single element is a view too
    return plain if isinstance(index, tuple) else plain[0]


def _wrap(host, source: ndarray | None = None) -> ndarray:
    """A new array around `host`; as a view it keeps `source`, or what that is a view of, alive."""
    host = np.asarray(host)  # NumPy's reductions give scalars, CuPy's arrays of no dimension
    if host.dtype.kind not in "biufc":
        raise ValueError(f"Unsupported dtype {host.dtype}")
    array = object.__new__(ndarray)
    array._host, array.base = host, source if source is None or source.base is None else source.base
    array._memory = None if source is not None else strict_memory.alloc(host.nbytes)
    if _recording:
        _recording[0].memory.append(host)
        if array._memory is not None:
            _recording[0].blocks.append(array._memory.mem.block)
    return array


def _run(function, args: tuple, kwargs: dict, unwrap=_argument):
    """Call NumPy's function on the hidden arrays and hide the result."""
    if odd := {"where", "initial", "subok", "like"} & set(kwargs):
        raise TypeError(f"{function.__name__}() got unexpected keyword arguments {sorted(odd)}")
    out = kwargs.get("out")
    out = out[0] if isinstance(out, tuple) else out
    if out is not None and not isinstance(out, ndarray):
        raise TypeError("return arrays must be of cupy.ndarray")
    kwargs = {k: _argument(v) for k, v in kwargs.items()}
    known = [a for a in (out, *args) if isinstance(a, ndarray)]
    if function.__name__ in WAITING:
        _wait()
    if function.__name__ in BY_CUBLAS and _recording:
        raise NotImplementedError("calling cuBLAS API during stream capture is currently unsupported")
    if function.__name__ == "concatenate" and len(args[0]) > 8 and _recording:  # their addresses travel
        raise RuntimeError("the current stream is capturing, so H2D transfers are disallowed")
    args = tuple(unwrap(a) for a in args)

    def compute():
        return function(*args, **kwargs)

    if out is not None:
        perform(compute, kwargs["out"][0] if isinstance(kwargs["out"], tuple) else kwargs["out"])
        return out
    with np.errstate(all="ignore"):
        result = compute()
    if result is None:
        return None
    view = known and isinstance(result, np.ndarray) and np.may_share_memory(result, known[0]._host)
    several = isinstance(result, (tuple, list))
    wrapped = [_wrap(r, known[0] if view else None) for r in (result if several else [result])]
    if (isinstance(function, np.ufunc) or not view) and function.__name__ not in NO_LAUNCH:
        _computed(wrapped, lambda: compute() if several else [compute()])
    return (list(wrapped) if isinstance(result, list) else tuple(wrapped)) if several else wrapped[0]


def _computed(results: list, compute) -> None:
    """A kernel has made new arrays; where a graph records, it will make them again, in the same memory."""

    hosts = [array._host for array in results]

    def again() -> None:
        for host, value in zip(hosts, compute(), strict=True):
            np.copyto(host, value)

    counts.launches += 1
    if _recording:
        _recording[0].add(again, ())


class ndarray(NDArrayOperatorsMixin):
    """cupy.ndarray. The mixin makes operators of NumPy's ufuncs, which end in `__array_ufunc__`, as CuPy's do."""

    __module__ = "cupy"
    __slots__ = ("_host", "_memory", "base", "__weakref__")

    def __init__(self, shape, dtype=float):
        self._host, self.base = np.empty(shape, dtype), None
        self._memory = strict_memory.alloc(self._host.nbytes)

    T = property(lambda self: self.transpose())
    device = property(lambda self: Device(0))

    @property
    def flags(self) -> SimpleNamespace:
        flags = self._host.flags
        return SimpleNamespace(c_contiguous=flags.c_contiguous, f_contiguous=flags.f_contiguous, owndata=flags.owndata)

    # --- towards NumPy: refused, or waited for ---

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. "
            "Please use `.get()` to construct a NumPy array explicitly."
        )

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs, **kwargs):
        function = getattr(module, ufunc.__name__, None)
        function = function if method == "__call__" else getattr(function, method, None)
        return NotImplemented if function is None else function(*inputs, **kwargs)

    def __array_function__(self, function, types, args: tuple, kwargs: dict):
        own = getattr(module, function.__name__, None)
        return NotImplemented if own is None else own(*args, **kwargs)

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self._host.ctypes.data)

    def get(self, stream=None, order: str = "C", out=None, blocking: bool = True) -> np.ndarray:
        if blocking or _recording:
            _wait()
        if out is None:
            return self._host.copy(order)
        if (out.dtype, out.shape) != (self.dtype, self.shape):
            raise TypeError(f"{out.dtype} array of {out.shape} cannot be obtained from {self.dtype} of {self.shape}")
        if not blocking and not (out.flags.c_contiguous and self.flags.c_contiguous):
            raise RuntimeError("a copy in another order would be made first, and is for nobody to rely on")
        out[...] = self._host
        return out

    def set(self, arr: np.ndarray, stream=None) -> None:
        if not isinstance(arr, np.ndarray):
            _refuse(arr)
        if arr.dtype != self.dtype or arr.shape != self.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self.shape}, new shape: {arr.shape}")
        if _recording:
            raise RuntimeError("the current stream is capturing, so H2D transfers are disallowed")
        self._host[...] = arr
        counts.launches += 1

    def __format__(self, spec: str) -> str:
        return format(self.get(), spec)

    def __reduce__(self) -> tuple:
        return _array, (self.get(),)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None) -> ndarray:
        return self  # in place of a capsule that only `from_dlpack` opens

    # --- elements ---

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index) -> ndarray:
        return _run(np.ndarray.__getitem__, (self, _index(index)), {}, lambda x: x._host if x is self else x)

    def __setitem__(self, index, value) -> None:
        if not isinstance(value, ndarray) and np.ndim(value):
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        host, place, new = self._host, _index(index), value._host if isinstance(value, ndarray) else value
        perform(lambda: host.__setitem__(place, new), host)

    def fill(self, value) -> None:
        self[...] = value


def _method(name: str):
    def method(self: ndarray, *args, **kwargs):
        return _run(getattr(np.ndarray, name), (self, *args), kwargs)

    return method


def _waiting_method(name: str):
    return lambda self: getattr(self.get(), name)()


for _name in METHODS:
    setattr(ndarray, _name, _method(_name))
for _name in ("item", "tolist", "__float__", "__int__", "__complex__", "__bool__", "__repr__", "__str__"):
    setattr(ndarray, _name, _waiting_method(_name))
for _name in ("shape", "dtype", "ndim", "size", "strides", "itemsize", "nbytes"):
    setattr(ndarray, _name, property(operator.attrgetter(f"_host.{_name}")))


# --- the module's functions -----------------------------------------------------------------------


class ufunc:
    def __init__(self, name: str):
        self._function, self.__name__ = getattr(np, name), name

    def __call__(self, *args, **kwargs) -> ndarray:
        if wrong := set(kwargs) - {"out", "dtype", "casting"}:
            raise TypeError(f"Wrong arguments {wrong}")
        if "equal" in self.__name__ or self.__name__ in ("less", "greater"):
            args = tuple(a.item() if isinstance(a, np.ndarray) and a.ndim == 0 else a for a in args)
        return _run(self._function, args, kwargs, _operand)

    def at(self, a: ndarray, indices, b=None) -> None:
        if self.__name__ not in SCATTERING:
            raise NotImplementedError(f"`cupy_{self.__name__}.at` is not supported yet")
        host, place, values = a._host, _index(indices), _operand(b)
        perform(lambda: self._function.at(host, place, values), host)


def _function(name: str):
    def function(*args, **kwargs):
        flat = [e for a in args for e in (a if isinstance(a, (list, tuple)) else [a])]
        if not any(isinstance(e, ndarray) for e in flat):
            raise TypeError(f"cupy.{name}() needs a cupy.ndarray, got {[type(a) for a in args]}")
        return _run(getattr(np, name), args, kwargs)

    function.__name__ = name
    return function


def _array(obj, dtype=None, copy=True, order: str = "K", ndmin: int = 0) -> ndarray:
    """cupy.array: the one way in for NumPy arrays, always with a copy."""
    if isinstance(obj, ndarray):
        if not copy and dtype in (None, obj.dtype):
            return obj
        copy = _wrap(np.array(obj._host, dtype=dtype, copy=True, order=order, ndmin=ndmin))
        source = obj._host
        _computed([copy], lambda: [source])
        return copy
    if _recording:
        raise RuntimeError("the current stream is capturing, so H2D transfers are disallowed")
    counts.launches += 1
    return _wrap(np.array(obj, dtype=dtype, copy=True, order=order, ndmin=ndmin))


def _where(condition: ndarray, x=None, y=None):
    if not isinstance(condition, ndarray):
        _refuse(condition)
    return condition.nonzero() if x is None and y is None else _run(np.where, (condition, x, y), {}, _operand)


def _flip(x: ndarray, axis=None) -> ndarray:
    if x.ndim == 0:
        raise np.exceptions.AxisError("Input must be >= 1-d")
    return _run(np.flip, (x, axis), {})


def _from_dlpack(x) -> ndarray:
    owner = x.__dlpack__()
    return _wrap(owner._host, owner)


def _copyto(dst: ndarray, src, casting: str = "same_kind", where: ndarray | None = None) -> None:
    target, source, mask = dst._host, _operand(src), True if where is None else where._host
    perform(lambda: np.copyto(target, source, casting, mask), target)


def _as_strided(x: ndarray, shape: tuple, strides: tuple) -> ndarray:
    return _wrap(np.lib.stride_tricks.as_strided(x._host, shape, strides), x)


class Stream:
    """cupy.cuda.Stream. Everything is done at once here, so that streams have nothing to order."""

    _current: list = []

    def __init__(self, null: bool = False, non_blocking: bool = False):
        self.ptr = 0 if null else id(self)

    def __enter__(self) -> Stream:
        Stream._current.append(self)
        return self

    def __exit__(self, *exception: object) -> None:
        Stream._current.pop()

    def begin_capture(self, mode: int | None = None) -> None:
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        _recording.append(Graph())

    def end_capture(self) -> Graph:
        if not _recording:
            raise RuntimeError("cudaErrorIllegalState: the stream is not capturing")
        graph = _recording.pop()
        graph.end()
        return graph

    def is_capturing(self) -> bool:
        return bool(_recording) and Stream._current[-1:] == [self]

    def synchronize(self) -> None:
        _wait()

    def record(self, event=None) -> Event:
        return event or Event()

    def wait_event(self, event: Event) -> None:
        pass


class Event:
    def synchronize(self) -> None:
        _wait()


class _DefaultPool(strict_memory.MemoryPool):
    def free_all_blocks(self) -> None:
        super().free_all_blocks()
        counts.released += 1


def _pinned_memory(size: int) -> bytearray:
    """cupy.cuda.alloc_pinned_memory, whose pool rounds up."""
    return bytearray(max(512, 1 << (size - 1).bit_length()))


class _Bytes:
    """cupy.cuda.alloc: bytes on the GPU."""

    def __init__(self, size: int):
        self._bytes, self._memory = np.empty(size, np.uint8), strict_memory.alloc(size)
        self.ptr = self._bytes.ctypes.data


class Device:
    compute_capability = "90"
    attributes = {"ClockRate": 1_000_000, "MultiProcessorCount": 1, "MemoryClockRate": 1_000_000,
                  "GlobalMemoryBusWidth": 1024}  # fmt: skip

    def __init__(self, device: int = 0):
        self.id = int(device)

    def __enter__(self) -> Device:
        if self.id:
            raise RuntimeError("cudaErrorInvalidDevice: invalid device ordinal")
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def synchronize(self) -> None:
        _wait()


_null, _default_pool = Stream(null=True), _DefaultPool()
strict_memory.default.append(_default_pool.malloc)


class _Module(ModuleType):
    def __getattr__(self, name: str):
        raise AttributeError(f"cupy.{name} is not in the list of functions that tests/strict_cupy.py offers")


def _creator(name: str):
    return lambda *args, **kwargs: _run(getattr(np, name), args, kwargs)


module = _Module("cupy", "A strict stand-in for CuPy")
vars(module).update(
    {name: getattr(np, name) for name in DTYPES if hasattr(np, name)}
    | {name: _creator(name) for name in CREATORS}
    | {name: _function(name) for name in FUNCTIONS}
    | {name: ufunc(name) for name in UFUNCS},
    __version__="14.0.0", ndarray=ndarray, ufunc=ufunc, counts=counts, driver=strict_memory.driver,
    where=_where, flip=_flip, copyto=_copyto, array=_array, from_dlpack=_from_dlpack,
    asarray=lambda a, dtype=None, order="K", *, copy=None: _array(a, dtype, bool(copy), order or "K"),
    RawModule=strict_kernels.RawModule,
    asnumpy=lambda a: a.get() if isinstance(a, ndarray) else np.asarray(a),
    lib=SimpleNamespace(stride_tricks=SimpleNamespace(as_strided=_as_strided)),
    get_default_memory_pool=lambda: _default_pool,
    cuda=SimpleNamespace(
        Device=Device, Stream=Stream, Event=Event, MemoryPool=strict_memory.MemoryPool, alloc=_Bytes,
        alloc_pinned_memory=_pinned_memory,
        get_current_stream=lambda: Stream._current[-1] if Stream._current else _null,
        get_allocator=strict_memory.get_allocator, using_allocator=strict_memory.using_allocator,
        runtime=SimpleNamespace(
            getDeviceCount=lambda: 1, memGetInfo=lambda: (1 << 30, 2 << 30), driverGetVersion=lambda: 13000,
            runtimeGetVersion=lambda: 13000, getDeviceProperties=lambda device: {"name": b"stand-in"},
        ),
        memory=SimpleNamespace(OutOfMemoryError=strict_memory.OutOfMemoryError, _malloc=strict_memory.malloc),
    ),
)  # fmt: skip

_before: list = []  # what `import cupy` found at each install(), and how cuBLAS was found


def install() -> ModuleType:
    """Let `import cupy` find the stand-in from here on."""
    _before.append((sys.modules.get("cupy"), cublas._library, dict(cublas._handles)))
    sys.modules["cupy"] = module
    library = strict_cublas.Library(perform)
    cublas._library = lambda: library
    cublas._handles.clear()
    counts.reset()
    strict_memory.driver.limit = None
    return module


def uninstall() -> None:
    """Undo `install()`, and forget what lives on the stand-in."""
    del sys.modules["cupy"]
    cupy, cublas._library, handles = _before.pop()
    if cupy is not None:
        sys.modules["cupy"] = cupy
    cublas._handles.clear()
    cublas._handles.update(handles)  # those of a real GPU
    _recording.clear()
    Stream._current.clear()
    strict_memory.driver.limit = None
    strict_memory.allocators.inner.clear()
    for device in set(random.local.randomness.generators) - {"cpu"}:
        del random.local.randomness.generators[device]
