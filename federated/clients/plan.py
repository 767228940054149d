"""ClientPlan: what all clients must agree on before the first round, and none of the data."""

from dataclasses import asdict, dataclass
from functools import cached_property

import tensorflow as tf

from federated.engine.records import Layout
from medimg.config import TrainConfig
from medimg.training import images, table
from medimg.training.train import built


@dataclass(frozen=True)
class ClientPlan:
    """How examples become records, and the model that is trained on them; travels to the sites as JSON.

    Attributes:
        description: content of model.json.
        training: `TrainConfig.to_dict()` of the model's options.
        bits: 8 or 16, of the deepest image at any client.
        private: keep what patient-level privacy needs beside the records.
        schema: of a table, `federated.statistics.Schema.to_dict()`; None of images.
        known: of a table, the columns that some client knows in training.
    """

    description: dict
    training: dict
    bits: int = 8
    private: bool = False
    schema: dict | None = None
    known: list[str] | None = None

    @classmethod
    def from_dict(cls, values: dict) -> "ClientPlan":
        """From what `to_dict` gave."""
        return cls(**values)

    def to_dict(self) -> dict:
        """Plain values."""
        return asdict(self)

    @property
    def is_table(self) -> bool:
        """Of rows, not of images."""
        return "preprocessing" in self.description

    @property
    def config(self) -> TrainConfig:
        """The model's options."""
        return TrainConfig.from_dict(self.training)

    @cached_property
    def model(self) -> tf.keras.Model:
        """The whole model with its first weights, the same at every site, frozen as the options say."""
        kind = table if self.is_table else images
        model = built(kind, self.config, self.description)
        kind.prepare(model, kind.plan(self.config, model)[0])
        return model

    @cached_property
    def trained(self) -> tf.keras.Model:
        """What the clients train: the model, or its head where a frozen backbone's features are computed once."""
        kind = table if self.is_table else images
        return kind.fitted(self.model, kind.plan(self.config, self.model)[0], self.config)

    @property
    def parameters(self) -> int:
        """Numbers that are trained."""
        return sum(int(variable.shape.num_elements()) for variable in self.trained.trainable_variables)

    @property
    def on_features(self) -> bool:
        """The records hold a frozen backbone's features."""
        return self.trained is not self.model

    @property
    def layout(self) -> Layout:
        """Of a record."""
        classes = len(self.description["classes"])
        multilabel = self.description["task"] == "multilabel"
        pixels = not (self.is_table or self.on_features)
        return Layout(
            input_shape=tuple(self.trained.input_shape[1:]),
            # Sixteen bits become fractions of 255, which no integer holds.
            input_type="uint8" if pixels and self.bits == 8 else "float32",
            target_shape=(classes,) if multilabel else (),
            target_type="float32" if multilabel else "int64",
        )
