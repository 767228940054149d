"""The core of medimg: data, models, training, evaluation and export of medical image classifiers."""

__version__ = "0.1.0"
