"""Networks of the user's own: a task in a Python file, or an ONNX file for a task of ours.

`names` says which names are such: `my_net.py:TASK` and `net.onnx:resnet50`. Modules of the user's
folder have names below this package (`imports`), which any process can import.
"""

from __future__ import annotations

from models.own import imports

imports.install()
