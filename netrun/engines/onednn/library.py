"""oneDNN's C API through ctypes: just the calls that a static inference program needs.

The shared library comes from the PyPI package ``onednn-cpu-gomp``. Numbers are those of oneDNN's
public header ``dnnl_types.h`` (v3); the C API is stable within a major version.
"""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import platform
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int64, c_size_t, c_void_p
from functools import lru_cache
from pathlib import Path
from typing import Any

from models.packages import installing

DISTRIBUTION = "onednn-cpu-gomp"
LIBRARY = "LOADRUN_ONEDNN"
"""Environment variable: the file of another oneDNN 3 (built for OpenMP) to use instead."""
DATA_TYPES = {"f32": 3, "s32": 4, "s8": 5, "u8": 6}
FORMAT_ANY = 1
FORWARD_INFERENCE = 96
CONVOLUTION_DIRECT = 1
ELTWISE_RELU = 0x20
ELTWISE_CLIP = 0x2E
POOLING_MAX = 0x1FF
RESAMPLING_NEAREST = 0x2FFF0
SCRATCHPAD_USER = 1
ARG_SRC, ARG_DST, ARG_WEIGHTS, ARG_BIAS, ARG_SCRATCHPAD, ARG_SCALES = 1, 17, 33, 41, 80, 4096
QUERY_IMPLEMENTATION, QUERY_WEIGHTS, QUERY_SCRATCHPAD = 8, 131, 136
ISA_NAMES = {
    0x1: "SSE41",
    0x3: "AVX",
    0x7: "AVX2",
    0xF: "AVX2_VNNI",
    0x1F: "AVX2_VNNI_2",
    0x27: "AVX512_CORE",
    0x67: "AVX512_CORE_VNNI",
    0xE7: "AVX512_CORE_BF16",
    0x1EF: "AVX512_CORE_FP16",
    0xFEF: "AVX512_CORE_AMX",
    0x1FEF: "AVX512_CORE_AMX_FP16",
}
"""``dnnl_cpu_isa_t``: bits of what an instruction set includes, and the names that
ONEDNN_MAX_CPU_ISA knows them by."""
VNNI_BITS = 0x48  # of AVX2_VNNI and of AVX512_CORE_VNNI
STATUS = {
    1: "out of memory",
    2: "invalid arguments",
    3: "not implemented",
    4: "last implementation reached",
    5: "runtime error",
    6: "not required",
}


class OneDNNError(Exception):
    """A call of oneDNN failed, or the library cannot be loaded."""


class ExecArg(ctypes.Structure):
    """``dnnl_exec_arg_t``: which argument of a primitive a memory is."""

    _fields_ = [("arg", c_int), ("memory", c_void_p)]


class _Version(ctypes.Structure):
    _fields_ = [
        ("major", c_int),
        ("minor", c_int),
        ("patch", c_int),
        ("hash", c_char_p),
        ("cpu_runtime", ctypes.c_uint),
        ("gpu_runtime", ctypes.c_uint),
    ]


_DIMS, _OUT = POINTER(c_int64), POINTER(c_void_p)
_PROTOTYPES: dict[str, list[Any]] = {
    "dnnl_engine_create": [_OUT, c_int, c_size_t],
    "dnnl_stream_create": [_OUT, c_void_p, c_int],
    "dnnl_memory_desc_create_with_tag": [_OUT, c_int, _DIMS, c_int, c_int],
    "dnnl_memory_desc_create_with_strides": [_OUT, c_int, _DIMS, c_int, _DIMS],
    "dnnl_memory_create": [_OUT, c_void_p, c_void_p, c_void_p],
    "dnnl_memory_set_data_handle": [c_void_p, c_void_p],
    "dnnl_primitive_attr_create": [_OUT],
    "dnnl_primitive_attr_set_scales_mask": [c_void_p, c_int, c_int],
    "dnnl_primitive_attr_set_scratchpad_mode": [c_void_p, c_int],
    "dnnl_primitive_attr_set_post_ops": [c_void_p, c_void_p],
    "dnnl_post_ops_create": [_OUT],
    "dnnl_post_ops_append_sum": [c_void_p, c_float, ctypes.c_int32, c_int],
    "dnnl_post_ops_append_eltwise": [c_void_p, c_int, c_float, c_float],
    "dnnl_convolution_forward_primitive_desc_create": [
        *[_OUT, c_void_p, c_int, c_int, c_void_p, c_void_p, c_void_p, c_void_p],
        *[_DIMS, _DIMS, _DIMS, _DIMS, c_void_p],
    ],
    "dnnl_pooling_forward_primitive_desc_create": [
        *[_OUT, c_void_p, c_int, c_int, c_void_p, c_void_p],
        *[_DIMS, _DIMS, _DIMS, _DIMS, _DIMS, c_void_p],
    ],
    "dnnl_resampling_forward_primitive_desc_create": [
        *[_OUT, c_void_p, c_int, c_int, POINTER(c_float), c_void_p, c_void_p, c_void_p],
    ],
    "dnnl_inner_product_forward_primitive_desc_create": [
        *[_OUT, c_void_p, c_int, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p],
    ],
    "dnnl_reorder_primitive_desc_create": [
        *[_OUT, c_void_p, c_void_p, c_void_p, c_void_p, c_void_p],
    ],
    "dnnl_primitive_desc_query": [c_void_p, c_int, c_int, c_void_p],
    "dnnl_primitive_create": [_OUT, c_void_p],
    "dnnl_primitive_execute": [c_void_p, c_void_p, c_int, POINTER(ExecArg)],
    "dnnl_stream_wait": [c_void_p],
}


def find_library() -> Path:
    """The ``libdnnl.so.3`` that LOADRUN_ONEDNN names, or the installed one.

    Raises OneDNNError with the cure where it is absent.
    """
    named = os.environ.get(LIBRARY)
    if named:
        path = Path(named).expanduser()
        # Processes of a run start in other directories.
        if not (path.is_absolute() and path.is_file()):
            raise OneDNNError(
                f"{LIBRARY}={named}: no such file; give a libdnnl.so.3's path from /, or unset it"
            )
        return path.resolve()
    try:
        files = importlib.metadata.files(DISTRIBUTION) or []
    except importlib.metadata.PackageNotFoundError:
        if platform.machine() != "x86_64":
            raise OneDNNError(
                f"{DISTRIBUTION} exists for x86-64 only, and this is {platform.machine()}: choose"
                " --engine pytorch"
            ) from None
        raise OneDNNError(
            f"{DISTRIBUTION} is not installed: {installing(DISTRIBUTION)}, or choose --engine"
            " pytorch"
        ) from None
    for file in files:
        if file.name == "libdnnl.so.3":
            return Path(str(file.locate())).resolve()
    raise OneDNNError(f"{DISTRIBUTION} holds no libdnnl.so.3: reinstall it")


def _bundled_openmp() -> Path | None:
    """The OpenMP runtime that torch's wheel carries, found without importing torch.

    A minimal system has no libgomp.so.1 of its own.
    """
    spec = importlib.util.find_spec("torch")
    for location in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted((Path(location) / "lib").glob("libgomp*.so*")):
            return path
    return None


@lru_cache(maxsize=1)
def load() -> Library:
    """The library, loaded once per process; raises OneDNNError."""
    return Library(find_library())


class Library:
    """The loaded library with one CPU engine and one in-order stream.

    Descriptors and primitives live as long as the process: a program is built once and served
    until the end, so nothing is ever destroyed.
    """

    def __init__(self, path: Path) -> None:
        try:
            openmp = _bundled_openmp()
            self.openmp = ctypes.CDLL(str(openmp or "libgomp.so.1"), mode=ctypes.RTLD_GLOBAL)
            self._dll = ctypes.CDLL(str(path))
        except OSError as error:
            raise OneDNNError(f"{path} cannot be loaded: {error}") from None
        for name, argtypes in _PROTOTYPES.items():
            function = getattr(self._dll, name)
            function.argtypes, function.restype = argtypes, c_int
        self._dll.dnnl_version.restype = POINTER(_Version)
        self._dll.dnnl_primitive_desc_query_md.argtypes = [c_void_p, c_int, c_int]
        self._dll.dnnl_primitive_desc_query_md.restype = c_void_p
        self._dll.dnnl_memory_desc_get_size.argtypes = [c_void_p]
        self._dll.dnnl_memory_desc_get_size.restype = c_size_t
        self._dll.dnnl_memory_desc_equal.argtypes = [c_void_p, c_void_p]
        # Called for every primitive and chunk: bound here so that loops have nothing to look up.
        # `execute` has no prototype, which would cost more than half of a call; it takes ctypes
        # objects.
        self.execute = self._dll["dnnl_primitive_execute"]
        self._set_address = self._dll.dnnl_memory_set_data_handle
        self.engine = self.create("dnnl_engine_create", 1, 0)
        self.stream = self.create("dnnl_stream_create", self.engine, 1)

    @property
    def version(self) -> str:
        """Version and commit, such as ``3.2.0+8f2a00d``."""
        v = self._dll.dnnl_version().contents
        return f"{v.major}.{v.minor}.{v.patch}+{(v.hash or b'').decode()[:7]}"

    @property
    def isa(self) -> int:
        """The instruction set in use (``dnnl_cpu_isa_t``), after ONEDNN_MAX_CPU_ISA."""
        return int(self._dll.dnnl_get_effective_cpu_isa())

    def set_threads(self, threads: int) -> None:
        """How many OpenMP threads primitives use from now on."""
        self.openmp.omp_set_num_threads(c_int(threads))

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function; raises OneDNNError with its name unless it succeeds."""
        status = getattr(self._dll, name)(*arguments)
        if status:
            raise OneDNNError(f"{name}: {STATUS.get(status, status)}")

    def create(self, name: str, *arguments: Any) -> c_void_p:
        """Call a function whose first argument is the handle that it makes."""
        handle = c_void_p()
        self.call(name, byref(handle), *arguments)
        return handle

    def descriptor(self, shape: tuple[int, ...], dtype: str, strides: tuple[int, ...]) -> c_void_p:
        """A memory descriptor with element strides."""
        return self.create(
            "dnnl_memory_desc_create_with_strides",
            *(len(shape), dims(shape), DATA_TYPES[dtype], dims(strides)),
        )

    def any_descriptor(self, shape: tuple[int, ...], dtype: str) -> c_void_p:
        """A memory descriptor whose layout the primitive chooses."""
        return self.create(
            "dnnl_memory_desc_create_with_tag",
            *(len(shape), dims(shape), DATA_TYPES[dtype], FORMAT_ANY),
        )

    def query_descriptor(self, primitive_descriptor: c_void_p, what: int) -> c_void_p:
        """The descriptor that a primitive descriptor chose (QUERY_WEIGHTS, QUERY_SCRATCHPAD)."""
        return c_void_p(self._dll.dnnl_primitive_desc_query_md(primitive_descriptor, what, 0))

    def size(self, descriptor: c_void_p) -> int:
        """Bytes that a memory of this descriptor takes."""
        return int(self._dll.dnnl_memory_desc_get_size(descriptor))

    def equal(self, one: c_void_p, other: c_void_p) -> bool:
        """Whether two memory descriptors describe the same layout."""
        return bool(self._dll.dnnl_memory_desc_equal(one, other))

    def implementation(self, primitive_descriptor: c_void_p) -> str:
        """Name of the kernel that a primitive descriptor chose."""
        name = c_char_p()
        self.call(
            "dnnl_primitive_desc_query", primitive_descriptor, QUERY_IMPLEMENTATION, 0, byref(name)
        )
        return (name.value or b"").decode()

    def memory(self, descriptor: c_void_p, address: int) -> c_void_p:
        """A memory over bytes at `address`, which the caller keeps alive."""
        return self.create("dnnl_memory_create", descriptor, self.engine, address)

    def set_address(self, memory: c_void_p, address: int) -> None:
        """Move a memory to other bytes."""
        if self._set_address(memory, address):
            raise OneDNNError("a memory could not be moved")


def dims(values: tuple[int, ...]) -> Any:
    """Integers as a C array of ``dnnl_dim_t``."""
    return (c_int64 * len(values))(*values)


def exec_args(*pairs: tuple[int, c_void_p]) -> Any:
    """Arguments of a primitive as a C array of ``dnnl_exec_arg_t``."""
    return (ExecArg * len(pairs))(*[ExecArg(argument, memory) for argument, memory in pairs])
