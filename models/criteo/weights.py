"""Weights of DLRM: facebookresearch's checkpoints, and v2's by the names of its snapshot.

Checkpoints have up to 100 GB of tables: they are mapped, and nothing of a table is read before it
is used or converted.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.criteo.shapes import MULTIHOT, of_state
from models.errors import WeightsError
from models.ranking import Shape

if TYPE_CHECKING:
    from torch import Tensor

    from models.criteo.network import DLRM

_V2 = (
    (r"dense_arch\.model\._mlp\.(\d+)\._linear\.(weight|bias)", "bot_l.{0}x2.{1}"),
    (r"over_arch\.model\.0\._mlp\.(\d+)\._linear\.(weight|bias)", "top_l.{0}x2.{1}"),
    (r"inter_arch\.crossnet\.V_kernels\.(\d+)", "cross.narrow.{0}.weight"),
    (r"inter_arch\.crossnet\.W_kernels\.(\d+)", "cross.wide.{0}.weight"),
    (r"inter_arch\.crossnet\.bias\.(\d+)", "cross.wide.{0}.bias"),
    (
        r"sparse_arch\.embedding_bag_collection\.embedding_bags\.t_cat_(\d+)\.weight",
        "emb_l.{0}.weight",
    ),
)
_LAST = r"over_arch\.model\.1\.(weight|bias)"


def our_name(name: str, layers: int = 4) -> str:
    """Return our name of a parameter of v2's snapshot; others stay as they are.

    `layers` are those of the top network before its last one.
    """
    name = name.removeprefix("model.")
    for pattern, ours in _V2:
        if found := re.fullmatch(pattern, name):
            number, *rest = found.groups()
            return ours.replace("{0}x2", str(2 * int(number))).format(number, *rest)
    if found := re.fullmatch(_LAST, name):
        return f"top_l.{2 * layers}.{found.group(1)}"
    return name


def read_mapped(path: Path) -> dict[str, Tensor]:
    """Return a checkpoint's tensors by our names, mapped from the file. Raises WeightsError."""
    import torch

    try:
        held: Any = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror or error})") from None
    except Exception as error:  # of a damaged archive: whatever parsing one raises
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: not a checkpoint of tensors alone ({reason})") from None
    state = held.get("state_dict", held) if isinstance(held, Mapping) else {}
    tensors = {our_name(str(k)): v for k, v in state.items() if torch.is_tensor(v)}
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors by name")
    return tensors


def shape_of(path: Path, tensors: Mapping[str, Tensor], hot: tuple[int, ...] = ()) -> Shape:
    """Return the network's shape. Raises WeightsError that says what is missing."""
    shape = of_state({name: tuple(t.shape) for name, t in tensors.items()}, hot)
    if shape is None:
        names = ", ".join(list(tensors)[:3])
        raise WeightsError(f"{path}: not a DLRM: has {names}, expected bot_l.*, emb_l.*, top_l.*")
    if (rank := tensors.get("cross.narrow.0.weight")) is not None:
        shape = Shape(shape.bottom, shape.top, shape.rows, hot or MULTIHOT.hot, len(rank))
    widths = {tuple(tensors[f"emb_l.{i}.weight"].shape)[1] for i in range(len(shape.rows))}
    if widths != {shape.width}:
        raise WeightsError(
            f"{path}: embeddings are {sorted(widths)} wide, the bottom network's output "
            f"{shape.width}"
        )
    return shape


def differing_tables(shape: Shape, expected: Shape) -> list[str]:
    """Describe the tables whose rows are not the expected ones: of data made with other options."""
    return [
        f"table {i} has {rows:,} rows, expected {wanted:,}"
        for i, (rows, wanted) in enumerate(zip(shape.rows, expected.rows, strict=True))
        if rows != wanted
    ]


def network(path: Path) -> DLRM:
    """Return the float32 network of a checkpoint, in evaluation mode. Raises WeightsError.

    Its tables are the file's, mapped: nothing of them is copied.
    """
    from models.criteo.network import DLRM

    tensors = read_mapped(path)
    shape = shape_of(path, tensors)
    built: DLRM = DLRM(shape).eval()
    others = {n: t.float() for n, t in tensors.items() if not n.startswith("emb_l.")}
    try:
        built.load_state_dict(others, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{path}: does not fit DLRM ({str(error).splitlines()[-1]})") from None
    built.tables.sources = [tensors[f"emb_l.{i}.weight"] for i in range(len(shape.rows))]
    return built
