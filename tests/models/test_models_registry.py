import subprocess
import sys

import numpy as np
import pytest

import models
from models.imagenet.classifier import classifier


def test_names_are_listed_without_aliases() -> None:
    assert models.names() == [
        *("resnet50", "mobilenet", "bert", "retinanet", "ssd-resnet34", "ssd-mobilenet"),
        *("rnnt", "dlrm", "dlrm-v2", "3d-unet", "3d-unet-brats"),
    ]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("resnet50", "resnet50"),
        ("resnet", "resnet50"),
        ("ResNet50-v1.5", "resnet50"),
        ("mobilenet", "mobilenet"),
        ("MobileNet_V1", "mobilenet"),
        ("3D-UNet-KiTS19", "3d-unet"),
        ("3d-unet-99.9", "3d-unet"),
        ("brats", "3d-unet-brats"),
        ("ssd-large", "ssd-resnet34"),
        ("SSD_small", "ssd-mobilenet"),
        ("RetinaNet", "retinanet"),
    ],
)
def test_names_and_aliases_in_any_spelling(given: str, name: str) -> None:
    assert models.get(given).name == name


def test_unknown_model_names_the_nearest() -> None:
    with pytest.raises(models.UnknownModel) as caught:
        models.get("mobilnet")
    assert caught.value.nearest == "mobilenet"
    assert str(caught.value) == (
        f"unknown model 'mobilnet' (nearest: mobilenet; known: {', '.join(models.names())})"
    )


def test_every_name_is_a_model_s_own() -> None:
    assert [models.get(name).name for name in models.names()] == models.names()


def test_names_cost_nothing() -> None:
    program = "import sys, models; models.names(); assert not {'numpy', 'PIL'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_importing_does_not_import_torch() -> None:
    program = (
        "import sys, models, models.imagenet.classifier, models.synthetic\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_resnet50_answers_with_the_index_of_the_largest_output() -> None:
    logits = np.zeros((2, 1000), np.float32)
    logits[0, 999] = logits[1, 3] = 1
    answers = classifier("resnet50").answers(logits)
    assert answers.dtype == np.int32
    assert answers.tolist() == [999, 3]


def test_mobilenet_does_not_count_the_background() -> None:
    logits = np.zeros((3, 1001), np.float32)
    logits[0, 1000] = logits[1, 1] = logits[2, 0] = 1
    answers = classifier("mobilenet").answers(logits)
    assert answers.dtype == np.int32
    assert answers.tolist() == [999, 0, -1]


def test_official_figures() -> None:
    resnet50, mobilenet = models.benchmark("resnet50"), models.benchmark("mobilenet")
    assert (resnet50.reference, resnet50.share) == (76.46, 0.99)
    assert (mobilenet.reference, mobilenet.share) == (71.676, 0.98)
    assert resnet50.performance_samples == mobilenet.performance_samples == 1024
    assert resnet50.categories == {"edge": ("", "v6.1"), "datacenter": ("", "v5.0")}
    assert mobilenet.categories == {}
    retinanet, large = models.benchmark("retinanet"), models.benchmark("ssd-large")
    assert (retinanet.reference, round(retinanet.target, 4)) == (37.55, 37.1745)
    assert (large.reference, large.target, large.checker_name) == (20.0, 19.8, "ssd-large")
    assert retinanet.performance_samples == large.performance_samples == 64
    assert (retinanet.server_ms, retinanet.audits, retinanet.audit_samples) == (
        *(100.0, ("TEST01",), 256),
    )
    assert large.categories == {"edge": ("", "v2.0"), "datacenter": ("", "v2.0")}
