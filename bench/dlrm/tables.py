"""``python -m bench.dlrm.tables --weights FILE --data FILE``: what int8 tables cost of the AUC.

Only the tables are rounded, with a scale for each table or for each row; all else stays float32.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.criteo import score, weights
from models.criteo.dataset import open_rows

LEVELS = 127


def rounded(table: Tensor, by_row: bool) -> Tensor:
    """A table as int8 would give it back."""
    largest = table.abs().amax(1, keepdim=True) if by_row else table.abs().amax()
    scale = largest.clamp_min(1e-12) / LEVELS
    return torch.round(table / scale) * scale


def main() -> None:
    """Print the area under the curve, and how far logits move, of each way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="loadrun-tables-") as folder:
        network: Any = weights.network(chosen.weights)
        rows = open_rows(chosen.data, network.shape, Path(folder))
        pairs = [torch.from_numpy(part) for part in rows.block(0, len(rows))]
        clicked = rows.labels(0, len(rows))
        sources = network.tables.sources
        ways = {
            "float32": sources,
            "a scale for each table": [rounded(table.float(), False) for table in sources],
            "a scale for each row": [rounded(table.float(), True) for table in sources],
        }
        first = None
        for name, tables in ways.items():
            network.tables.sources = tables
            with torch.inference_mode():
                logits = network(*pairs).numpy()
            first = logits if first is None else first
            auc = 100 * score.roc_auc(clicked, logits)
            moved = float(np.sqrt(np.mean((logits - first) ** 2)) / np.std(first))
            print(f"{name:24} AUC {auc:.4f}  logits moved by {moved:.5f} of their spread")


if __name__ == "__main__":
    main()
