"""CTGAN (Xu et al. 2019): a generator against a critic that sees rows in packs, by the ctgan library's networks.

Beyond the library: the class is always a condition and never an output, the softmaxes of all columns are one, and the
step may be private.
"""

import numpy as np
import torch
from ctgan.synthesizers.ctgan import Discriminator, Generator
from torch.func import functional_call, grad

from synthetic.tables.conditions import Conditions
from synthetic.tables.generator_inputs import GeneratorInputs
from synthetic.tables.private_step import clipped_sum, set_gradients
from synthetic.tables.spans import Spans

# What the draws of a private step's rows are for.
LATENT, GUMBEL, MIX = range(3)
PENALTY = 10.0  # weight of the gradient penalty (Gulrajani et al. 2017)


class Ctgan:
    """The networks, their optimizers and one step of both.

    Args:
        material: training rows, and how they are learnt from.
    """

    def __init__(self, material: GeneratorInputs):
        self.settings, self.private = material.settings, material.private
        self.matrix, self.targets = material.encoding.matrix, material.targets
        spans, settings = material.encoding.spans, material.settings
        self.spans = Spans(spans)
        self.conditions = Conditions(self.matrix, spans, self.targets, material.classes)
        width, condition = self.matrix.shape[1], self.conditions.size
        # Packs would mix patients, and a patient's part could not be clipped.
        self.pack = 1 if self.private else settings.pack
        layers = (settings.width, settings.width)
        self.generator = Generator(settings.latent_size + condition, layers, width)
        self.critic = Discriminator(width + condition, layers, self.pack)
        if self.private:
            self.critic.eval()
        self._loss_cells = torch.from_numpy(self.conditions.categories)
        self.optimizers = {
            name: torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.9), weight_decay=1e-6, fused=True)
            for name, network, rate in (
                ("generator", self.generator, settings.learning_rate),
                ("critic", self.critic, settings.critic_learning_rate),
            )
        }

    @property
    def networks(self) -> dict[str, torch.nn.Module]:
        """What a checkpoint must hold beside the optimizers."""
        return {"generator": self.generator, "critic": self.critic}

    def step(self, number: int, random: np.random.Generator) -> dict[str, float]:
        """One step of the critic and one of the generator.

        Args:
            number: of the step, counted from the start of the training.
            random: draws rows and conditions; torch's own generator draws the rest, but for what belongs to the rows
                of a private step.

        Returns:
            Losses of critic and generator; of a private critic none, since it would carry no noise.
        """
        losses = {} if self.private else {"critic_loss": self._criticise(random)}
        if self.private:
            self._criticise_privately(number)
            if (number + 1) % self.settings.critic_steps:
                return losses
        losses["generator_loss"] = self._generate(random)
        return losses

    def sample(self, wanted: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Rows of the matrix.

        Args:
            wanted: int (N,), their classes.
            random: draws what else the generator is told; torch's own generator draws the rest.
        """
        if self.settings.class_only:
            of = self.conditions.class_only(wanted)
        else:
            of = self.conditions.of_classes(wanted, random)
        with torch.no_grad():
            # In the batch statistics that it was trained with: the running ones lag behind.
            output = self.generator(self._latent(torch.from_numpy(of)))
            return self.spans.drawn(output).numpy()

    def _latent(self, condition: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.randn(len(condition), self.settings.latent_size), condition], dim=1)

    def _criticise(self, random: np.random.Generator) -> float:
        rows, condition = self.conditions.draw(self.settings.batch_size, random)
        condition = torch.from_numpy(condition)
        with torch.no_grad():
            fake = self.spans.activate(self.generator(self._latent(condition)))
        # In another order than the real rows: a pack should not pair them.
        order = torch.from_numpy(random.permutation(len(rows)))
        real = torch.cat([torch.from_numpy(self.matrix[rows]), condition], dim=1)[order]
        fake = torch.cat([fake, condition], dim=1)
        mix = torch.rand(len(rows) // self.pack, 1).repeat_interleave(self.pack, dim=0)
        between = (mix * real + (1 - mix) * fake).requires_grad_()
        scores = self.critic(torch.cat([real, fake, between])).chunk(3)
        slope = torch.autograd.grad(scores[2].sum(), between, create_graph=True)[0]
        slope = slope.reshape(len(mix) // self.pack, -1).norm(dim=1)
        penalty = PENALTY * (slope - 1).square().mean()
        loss = scores[1].mean() - scores[0].mean()
        self._take("critic", loss + penalty)
        return loss.item()

    def _criticise_privately(self, number: int) -> None:
        parameters = dict(self.critic.named_parameters())
        set_gradients(parameters, self.clipped_sum(number), self.private, number)
        self.optimizers["critic"].step()

    def clipped_sum(self, number: int) -> torch.Tensor:
        """What the patients of a private step add up to, without noise: float64 (weights of the critic,)."""
        step = self.private.sampling.step(number)
        inputs = self._private_inputs(number, step.rows)
        parameters = dict(self.critic.named_parameters())
        clip = self.private.l2_norm_clip
        return clipped_sum(parameters, self._row_loss, inputs, step.groups, clip)

    def _private_inputs(self, number: int, rows: np.ndarray) -> tuple[torch.Tensor, ...]:
        """Real rows, made ones beside them, what both are told, and how they are mixed for the penalty.

        All that is drawn, the made row too, belongs to the real row.
        """
        condition = torch.from_numpy(self.conditions.class_only(self.targets[rows]))
        latent = self.private.normal(rows, self.settings.latent_size, number, LATENT)
        drawn = self.private.uniform(rows, self.matrix.shape[1], number, GUMBEL)
        # Not in the batch's statistics, which would make a row of one patient depend on the others.
        self.generator.eval()
        with torch.no_grad():
            output = self.generator(torch.cat([latent, condition], dim=1))
            fake = self.spans.activate(output, drawn)
        self.generator.train()
        mix = self.private.uniform(rows, 1, number, MIX)
        return torch.from_numpy(self.matrix[rows]), fake, condition, mix

    def _row_loss(self, parameters, real, fake, condition, mix) -> torch.Tensor:
        def score(row):
            return functional_call(self.critic, parameters, (row[None],)).sum()

        real, fake = torch.cat([real, condition]), torch.cat([fake, condition])
        slope = grad(score)(mix * real + (1 - mix) * fake)
        # The square root has no slope at 0.
        norm = (slope.square().sum() + 1e-12).sqrt()
        return score(fake) - score(real) + PENALTY * (norm - 1).square()

    def _generate(self, random: np.random.Generator) -> float:
        size = self.settings.batch_size
        if self.settings.class_only:
            condition = self.conditions.class_only(random.integers(self.conditions.classes, size=size))
        else:
            condition = self.conditions.draw(size, random)[1]
        condition = torch.from_numpy(condition)
        output = self.generator(self._latent(condition))
        loss = -self.critic(torch.cat([self.spans.activate(output), condition], dim=1)).mean()
        # Making another category than the one told costs its cross entropy.
        wanted = torch.zeros_like(output)
        wanted[:, self._loss_cells] = condition[:, self.conditions.classes :]
        loss = loss - (self.spans.log_softmax(output) * wanted[:, self.spans.cells]).sum() / size
        self._take("generator", loss)
        return loss.item()

    def _take(self, name: str, loss: torch.Tensor) -> None:
        optimizer = self.optimizers[name]
        optimizer.zero_grad()
        network = self.networks[name]
        loss.backward(inputs=list(network.parameters()))
        optimizer.step()
