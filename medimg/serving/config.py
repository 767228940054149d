"""Options of `medimg export`."""

from dataclasses import dataclass

from medimg.options import Config, option


@dataclass(frozen=True)
class ExportConfig(Config):
    """Options of `medimg export`."""

    format: str = option("savedmodel", "SavedModel for TF Serving, or ONNX.", choices=("savedmodel", "onnx"))
    data: str | None = option(None, "Where the Run's Dataset is now, if it was moved.", metavar="DATA")
    samples: int = option(8, "Real images of the parity proof, and drawn ones for warm-up.", minimum=1)
    tolerance: float = option(1e-5, "Largest difference of probabilities that the parity proof allows.", above=0.0)
