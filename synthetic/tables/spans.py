"""Softmaxes over many spans of a row at once: a loop over columns would take most of a step's time."""

import torch
from torch.nn import functional

from synthetic.tables.encoding import Span

TEMPERATURE = 0.2  # of the Gumbel softmax, as in CTGAN


class Spans:
    """The one-hot spans of a matrix side by side.

    Args:
        spans: of the matrix.
    """

    def __init__(self, spans: tuple[Span, ...]):
        self.values = torch.tensor([s.start for s in spans if s.kind == "value"], dtype=torch.long)
        one_hot = [s for s in spans if s.kind != "value"]
        widest = max((s.size for s in one_hot), default=0)
        positions = torch.arange(widest).repeat(len(one_hot), 1)
        sizes = torch.tensor([s.size for s in one_hot], dtype=torch.long).reshape(-1, 1)
        starts = torch.tensor([s.start for s in one_hot], dtype=torch.long).reshape(-1, 1)
        self.inside = positions < sizes  # (spans, widest)
        # Beyond a span's end any column will do: it is masked.
        self._from = torch.where(self.inside, starts + positions, 0)
        self.cells = self._from[self.inside]  # columns of the matrix that are one-hot, in order

    def log_softmax(self, logits: torch.Tensor) -> torch.Tensor:
        """Log-probabilities of each one-hot span, (N, cells in the order of `cells`)."""
        if not len(self.cells):
            return logits[..., :0]
        padded = logits[..., self._from].masked_fill(~self.inside, -torch.inf)
        return functional.log_softmax(padded, dim=-1)[..., self.inside]

    def activate(self, output: torch.Tensor, drawn: torch.Tensor | None = None) -> torch.Tensor:
        """A generator's output as matrix rows: tanh of the values, Gumbel softmax of the rest.

        Args:
            output: float32 (N, columns of the matrix).
            drawn: likewise, uniform in (0, 1), what the Gumbel noise is made of; None: torch's own generator draws.
        """
        result = torch.tanh(output)
        if not len(self.cells):
            return result
        waiting = torch.empty_like(output).exponential_() if drawn is None else -drawn.log()
        noise = -waiting.log()
        chosen = self.log_softmax((output + noise) / TEMPERATURE).exp()
        return result.index_copy(1, self.cells, chosen)

    def drawn(self, output: torch.Tensor) -> torch.Tensor:
        """The same with each span drawn from its probabilities, as 0 and 1."""
        result = torch.tanh(output)
        if not len(self.cells):
            return result
        noise = -torch.empty_like(output).exponential_().log()
        padded = (output + noise)[:, self._from].masked_fill(~self.inside, -torch.inf)
        best = functional.one_hot(padded.argmax(-1), padded.shape[-1]).to(output.dtype)
        return result.index_copy(1, self.cells, best[:, self.inside])
