import subprocess
import sys

import numpy as np
import pytest

import models


def test_names_are_listed_without_aliases() -> None:
    assert models.names() == ["resnet50", "mobilenet", "bert"]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("resnet50", "resnet50"),
        ("resnet", "resnet50"),
        ("ResNet50-v1.5", "resnet50"),
        ("mobilenet", "mobilenet"),
        ("MobileNet_V1", "mobilenet"),
    ],
)
def test_names_and_aliases_in_any_spelling(given: str, name: str) -> None:
    assert models.get(given).name == name


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(models.UnknownModel) as caught:
        models.get("mobilnet")
    assert caught.value.nearest == "mobilenet"
    assert str(caught.value) == (
        "unknown model 'mobilnet' (nearest: mobilenet; known: resnet50, mobilenet, bert)"
    )


def test_every_name_is_a_model_s_own() -> None:
    assert [models.get(name).name for name in models.names()] == models.names()


def test_names_cost_nothing() -> None:
    program = "import sys, models; models.names(); assert not {'numpy', 'PIL'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_does_not_import_torch() -> None:
    program = (
        "import sys, models, models.imagenet.samples, models.imagenet.accuracy, models.synthetic\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_resnet50_answers_with_the_index_of_the_largest_output() -> None:
    logits = np.zeros((2, 1000), np.float32)
    logits[0, 999] = logits[1, 3] = 1
    payload, length = models.get("resnet50").postprocess(logits)
    assert payload.dtype == np.int32
    assert (payload.tolist(), length) == ([999, 3], 4)


def test_mobilenet_does_not_count_the_background() -> None:
    logits = np.zeros((3, 1001), np.float32)
    logits[0, 1000] = logits[1, 1] = logits[2, 0] = 1
    payload, length = models.get("mobilenet").postprocess(logits)
    assert payload.dtype == np.int32
    assert (payload.tolist(), length) == ([999, 0, -1], 4)


def test_official_figures() -> None:
    resnet50, mobilenet = models.get("resnet50"), models.get("mobilenet")
    assert (resnet50.fp32_accuracy, resnet50.quality_target) == (0.7646, 0.99)
    assert (mobilenet.fp32_accuracy, mobilenet.quality_target) == (0.71676, 0.98)
    assert resnet50.performance_sample_count == mobilenet.performance_sample_count == 1024
