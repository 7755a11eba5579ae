"""What is still asked of a model as such: a classifier."""

from __future__ import annotations

from models.imagenet.classifier import Classifier as Model
from models.imagenet.classifier import Logits

__all__ = ["Logits", "Model"]
