"""The ImageNet classifiers, which many tests walk."""

from __future__ import annotations

import models
from models.imagenet.classifier import Classifier

CLASSIFIERS = [name for name in models.names() if isinstance(models.get(name), Classifier)]
