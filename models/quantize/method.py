"""How int8 comes about, for people: what a submission says of it. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping

from models.method import Method
from models.task import ENCODER, NETWORK, RANKING, TRANSDUCER, VOLUMES, Task

OF_FORMS: Mapping[str, Method] = {
    NETWORK: Method(
        "Batch normalisation is folded into the convolutions. One pass of the fp32 network over\n"
        "the {items} finds, per tensor, the range of activations that minimises the squared\n"
        "error of their 8-bit values, and the covariance of the inputs of each layer. Weights are\n"
        "rounded to int8 with one scale per output channel; each rounding error is passed on to\n"
        "the weights still to be rounded, weighted by that covariance. Biases are corrected for\n"
        "the mean error that remains. Sums are int32; the first convolution takes the raw pixels,\n"
        "as their normalisation is part of its weights. The same program runs on every processor\n"
        "and gives the same answers there.",
        "batch normalisation folded; int8 by post-training quantisation, weights per output channel"
        " and activations per tensor",
    ),
    ENCODER: Method(
        "Every linear layer multiplies int8 by int8 with int32 sums. One pass of the fp32 network\n"
        "over the {items} finds the range of each channel of each layer's input, which gets a\n"
        "scale and a zero of its own; a part of a large channel's range is left to the weights\n"
        "that it meets. Weights are rounded to int8 with one scale per output so that the layer's\n"
        "output errs least on calibration tokens; scales and zeros of inputs are part of weights\n"
        "and biases. Attention computes in bfloat16 with float32 sums, normalisation and GELU in\n"
        "float32, and what passes from block to block is float16. Embeddings are not quantised.",
        "linear layers int8 by post-training quantisation, weights per output and activations per"
        " channel",
    ),
    RANKING: Method(
        "Each layer's input is stored in 8 bits by one scale, found on the {items} for the least\n"
        "error; weights are int8 by one scale for each output, with int32 sums. Rows of\n"
        "embedding tables are int8 by one scale a table. What enters the top network may have two\n"
        "scales, which its weights take in. In a network with cross layers the bottom network and\n"
        "the layers that read what cross layers give stay in bfloat16. The last layer stays in\n"
        "float32.",
        "linear layers int8 by post-training quantisation, weights per output and activations per"
        " tensor; embedding tables int8 by one scale a table",
    ),
    VOLUMES: Method(
        "Every convolution multiplies int8 by int8 with int32 sums. One pass of the fp32 network\n"
        "over windows of the {items} finds the largest magnitude of each channel of each\n"
        "activation, of which nothing is cut off; channels have scales of their own, which the\n"
        "next layer's weights take in, and what is concatenated is written with its scales from\n"
        "the start. Weights are rounded to int8 with one scale per output channel. What a\n"
        "convolution gives is stored as int8 with a scale per channel; instance normalisation\n"
        "takes its moments from the window itself, in float32, and writes 8 bits. Logits, their\n"
        "sums over windows and the choice of a class are float32.",
        "convolutions int8 by post-training quantisation, weights per output channel and"
        " activations per channel",
    ),
    TRANSDUCER: Method(
        "LSTM layers of the encoder and the prediction network, and what they give to the joint\n"
        "network, multiply int8 by int8 with int32 sums. States lie between -1 and 1 and are\n"
        "stored in steps of 1/127; the {items} only give the step of the features, which errs\n"
        "least on them. Weights are rounded to int8 with one scale per output. Sums become\n"
        "float16, gates and cells are float32. The embedding, as a table of the first layer's\n"
        "sums, is float16; the joint network computes in float32.",
        "LSTM layers int8 by post-training quantisation, weights per output; joint network fp32",
    ),
}
"""By the form of a task's parts: those of models.quantize, which onednn and pytorch execute."""
OTHER = Method(
    "int8 by post-training quantisation, with ranges taken from the {items}.",
    "int8 by post-training quantisation",
)
"""All that is known of a form that says no more."""
FLOAT = {
    NETWORK: {
        "bf16": "batch normalisation folded; weights rounded to bf16",
        "fp32": "batch normalisation folded",
    },
    ENCODER: {"bf16": "weights rounded to bf16", "fp32": "none"},
    VOLUMES: {"bf16": "weights rounded to bf16", "fp32": "none"},
    TRANSDUCER: {"bf16": "weights of linear layers rounded to bf16", "fp32": "none"},
}
"""What becomes of weights in other precisions."""


def method_of(task: Task) -> Method:
    """How the task's parts are quantised: its own way, else that of the form of its first part."""
    return task.int8 or OF_FORMS.get(task.parts[0].form, OTHER)


def float_weights(task: Task, precision: str) -> str:
    """What becomes of the task's weights in bf16 or fp32, in a line."""
    return FLOAT.get(task.parts[0].form, FLOAT[ENCODER])[precision]
