"""What can be asked of a run, each option declared once.

`run` declares, `declare` is how, `sources` finds the paths of weights and data.
"""

from launch.options.run import FAST_DURATION_S, IN_FLIGHT, CalibrateOptions, RunOptions, TunedUse
from launch.options.sources import Sources, find_path, find_sources, find_user_conf

__all__ = [
    "FAST_DURATION_S",
    "IN_FLIGHT",
    "CalibrateOptions",
    "RunOptions",
    "Sources",
    "TunedUse",
    "find_path",
    "find_sources",
    "find_user_conf",
]
