"""TVAE (Xu et al. 2019): a variational autoencoder of rows, by the ctgan library's networks.

Beyond the library: encoder and decoder are told the class, categories are drawn from the decoder's probabilities rather
than their commonest taken, and the step may be private.
"""

import numpy as np
import torch
from ctgan.synthesizers.tvae import Decoder, Encoder
from torch.func import functional_call
from torch.nn.functional import one_hot

from synthetic.tables.generator_inputs import GeneratorInputs
from synthetic.tables.private_step import clipped_sum, set_gradients
from synthetic.tables.spans import Spans

RECONSTRUCTION = 2.0  # its weight against the divergence, as in the library
SIGMA = (0.01, 1.0)  # of a value, learnt within


class Tvae:
    """The networks, their optimizer and one step.

    Args:
        material: training rows, and how they are learnt from.
    """

    def __init__(self, material: GeneratorInputs):
        self.settings, self.private = material.settings, material.private
        encoding, settings = material.encoding, material.settings
        classes = material.classes
        self.matrix, self.spans = torch.from_numpy(encoding.matrix), Spans(encoding.spans)
        self.condition = one_hot(torch.from_numpy(material.targets), classes).float()
        layers, width = (settings.width // 2, settings.width // 2), self.matrix.shape[1]
        self.encoder = Encoder(width + classes, layers, settings.latent_size)
        self.decoder = Decoder(settings.latent_size + classes, layers, width)
        self.optimizers = {
            "both": torch.optim.Adam(
                [*self.encoder.parameters(), *self.decoder.parameters()],
                lr=settings.learning_rate,
                weight_decay=1e-5,
                fused=True,
            )
        }

    @property
    def networks(self) -> dict[str, torch.nn.Module]:
        """What a checkpoint must hold beside the optimizer."""
        return {"encoder": self.encoder, "decoder": self.decoder}

    def step(self, number: int, random: np.random.Generator) -> dict[str, float]:
        """One step.

        Args:
            number: of the step, counted from the start of the training.
            random: draws rows; torch's own generator draws the rest, but for what belongs to the rows of a private
                step.

        Returns:
            The loss; of a private step none, since it would carry no noise.
        """
        optimizer = self.optimizers["both"]
        parameters = self._parameters()
        losses = {}
        if self.private:
            set_gradients(parameters, self.clipped_sum(number), self.private, number)
        else:
            rows = random.choice(len(self.matrix), self.settings.batch_size, replace=False)
            optimizer.zero_grad()
            noise = torch.randn(len(rows), self.settings.latent_size)
            loss = self._loss(parameters, *self._inputs(rows, noise)).mean()
            loss.backward()
            losses = {"loss": loss.item()}
        optimizer.step()
        self.decoder.sigma.data.clamp_(*SIGMA)
        return losses

    def clipped_sum(self, number: int) -> torch.Tensor:
        """What the patients of a private step add up to, without noise: float64 (weights,)."""
        step = self.private.sampling.step(number)
        noise = self.private.normal(step.rows, self.settings.latent_size, number)
        inputs, clip = self._inputs(step.rows, noise), self.private.l2_norm_clip
        return clipped_sum(self._parameters(), self._row_loss, inputs, step.groups, clip)

    def sample(self, wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows of the matrix.

        Args:
            wanted: int (N,), their classes.
            random: not used; torch's own generator draws.
        """
        condition = one_hot(torch.from_numpy(wanted), self.condition.shape[1]).float()
        latent = torch.randn(len(wanted), self.settings.latent_size)
        with torch.no_grad():
            output, sigma = self.decoder(torch.cat([latent, condition], dim=1))
            rows = self.spans.drawn(output)
            values = self.spans.values
            rows[:, values] += torch.randn(len(rows), len(values)) * sigma[values]
            return rows.numpy()

    def _parameters(self) -> dict[str, torch.nn.Parameter]:
        return {
            f"{name}.{key}": value
            for name, network in self.networks.items()
            for key, value in network.named_parameters()
        }

    def _inputs(self, rows: np.ndarray, noise: torch.Tensor) -> tuple[torch.Tensor, ...]:
        index = torch.from_numpy(rows)
        return self.matrix[index], self.condition[index], noise

    def _row_loss(self, parameters, row, condition, noise) -> torch.Tensor:
        return self._loss(parameters, row[None], condition[None], noise[None]).sum()

    def _loss(self, parameters, rows, condition, noise) -> torch.Tensor:
        """Of each row, (N,): the negative evidence lower bound with its reconstruction weighted."""
        weights = {
            name: {
                key.removeprefix(f"{name}."): value for key, value in parameters.items() if key.startswith(f"{name}.")
            }
            for name in self.networks
        }
        inputs = torch.cat([rows, condition], dim=1)
        mean, deviation, log_variance = functional_call(self.encoder, weights["encoder"], (inputs,))
        latent = torch.cat([mean + noise * deviation, condition], dim=1)
        output, sigma = functional_call(self.decoder, weights["decoder"], (latent,))
        values, cells = self.spans.values, self.spans.cells
        error = (rows[:, values] - torch.tanh(output[:, values])).square()
        gaussian = (error / (2 * sigma[values].square()) + sigma[values].log()).sum(dim=1)
        cross_entropy = -(self.spans.log_softmax(output) * rows[:, cells]).sum(dim=1)
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(dim=1)
        return RECONSTRUCTION * (gaussian + cross_entropy) + divergence
