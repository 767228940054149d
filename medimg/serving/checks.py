"""What a server is asked to prove that it serves the model that was exported, and what the model answered."""

import numpy as np
import tensorflow as tf

from medimg.serving.answer import ServedAnswer
from medimg.serving.requests import Request, warmup_requests

EXAMPLES = 4
NO_IMAGE = b"this is no image"


def checks(served: ServedAnswer, description: dict) -> list[dict]:
    """Requests to `serving_default` for JSON: the warm-up's in one batch, of images one more that can't be read.

    Args:
        served: that is exported.
        description: the Run's description.

    Returns:
        Of each `signature_name`, `inputs` (name -> `dtype` float32, string or bytes, `values`, bytes in base64),
        `labels` and `probabilities`.
    """
    drawn = [r.inputs for r in warmup_requests(description, EXAMPLES) if r.signature == "serving_default"]
    # JSON has no NaN, which stands for a missing number.
    examples = [
        one for one in drawn if all(np.isfinite(v).all() for v in one.values() if np.asarray(v).dtype.kind == "f")
    ]
    inputs = {name: [value for one in examples for value in one[name]] for name in examples[0]}
    if "image_bytes" in inputs:
        for name, values in inputs.items():
            values.insert(1, NO_IMAGE if name == "image_bytes" else values[0])
    answer = served.signatures()["serving_default"](**{name: tf.constant(v) for name, v in inputs.items()})
    labels = [label.decode() for label in answer["label"].numpy()]
    request = Request("serving_default", inputs).to_dict()
    return [{**request, "labels": labels, "probabilities": answer["probabilities"].numpy().tolist()}]
