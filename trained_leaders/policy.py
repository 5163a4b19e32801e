"""The leader's networks: an actor on the one-hot base observation, heads for pure and mixed commitments, a critic.

The actor is evaluated once per observation, not once per step: its answers for all observations are one small matrix
of logits, from which a whole batch of tables is drawn. The critic sees the full state.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .mechanism import mixture_counts, pure_actions, softmax

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class Actor(nn.Module):
    """Logits at every base observation, shape (n_obs, n_actions); -inf never appears, illegal actions are masked.

    Args:
        legal: shape (n_obs, n_actions).
        hidden: widths of the hidden layers.
        activation: "relu" or "tanh".
    """

    def __init__(self, legal: NDArray[np.bool_], hidden: Sequence[int], activation: str = "relu") -> None:
        super().__init__()
        n_obs, n_actions = legal.shape
        widths = [n_obs, *hidden, n_actions]
        self.actor = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation = ACTIVATIONS[activation]()
        self.legal: Tensor
        self.register_buffer("legal", torch.from_numpy(legal.copy()), persistent=False)
        with torch.no_grad():  # start near the uniform policy: nothing is ruled out by the first draw of weights
            self.layers[-1].weight.mul_(0.1)
            self.layers[-1].bias.zero_()

    @property
    def layers(self) -> list[nn.Linear]:
        """The linear layers, first to last."""
        return [layer for layer in self.actor if isinstance(layer, nn.Linear)]

    def features(self) -> Tensor:
        """What the last layer sees at every observation, shape (n_obs, width)."""
        values = torch.eye(self.legal.shape[0])
        for layer in self.layers[:-1]:
            values = self.activation(layer(values))
        return values

    def forward(self) -> Tensor:
        return self.layers[-1](self.features())

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights by name, float32, as they are stored in a leader file."""
        return {name: value.detach().numpy().copy() for name, value in self.state_dict().items()}

    def imitate(self, targets: NDArray[np.float64]) -> None:
        """Set the last layer so that the logits become `targets`, shape (n_obs, n_actions), by least squares.

        Exact up to rounding when the features of the observations are independent; the caller checks.
        """
        with torch.no_grad():
            seen = self.features().double().numpy()
            seen = np.concatenate([seen, np.ones((len(seen), 1))], axis=1)
            solution, *_ = np.linalg.lstsq(seen, targets, rcond=None)
            self.layers[-1].weight.copy_(torch.from_numpy(solution[:-1].T.copy()))
            self.layers[-1].bias.copy_(torch.from_numpy(solution[-1].copy()))


class PureHead(nn.Module):
    """One legal action at each observation, drawn anew for each episode and then kept."""

    def __init__(self, legal: NDArray[np.bool_]) -> None:
        super().__init__()
        self._legal = torch.from_numpy(legal.copy())

    def distribution(self, logits: Tensor) -> torch.distributions.Categorical:
        masked = logits.masked_fill(~self._legal, -1e9)
        return torch.distributions.Categorical(logits=masked, validate_args=False)

    def draw(self, logits: Tensor, size: int, generator: torch.Generator) -> Tensor:
        """Raw choices, shape (B, n_obs)."""
        probabilities = self.distribution(logits).probs
        return torch.multinomial(probabilities, size, replacement=True, generator=generator).T

    def log_prob(self, logits: Tensor, raw: Tensor) -> Tensor:
        """Log-probability of each decision, shape (B, n_obs)."""
        return self.distribution(logits).logits.gather(1, raw.T).T

    def entropy(self, logits: Tensor) -> Tensor:
        """Mean entropy over observations, nats."""
        return self.distribution(logits).entropy().mean()

    def tables(self, raw: Tensor) -> NDArray[Any]:
        """What the environment plays: action indices, shape (B, n_obs)."""
        return raw.numpy()

    def mode(self, logits: Tensor) -> NDArray[Any]:
        """The table of most likely actions, shape (n_obs,)."""
        return pure_actions(logits.detach().double().numpy(), self._legal.numpy())

    def targets(self, table: NDArray[Any]) -> NDArray[np.float64]:
        """Logits whose mode is `table`."""
        return np.where(np.asarray(table)[:, None] == np.arange(self._legal.shape[1]), 4.0, -4.0)


class MixtureHead(nn.Module):
    """A mixture over actions as the action: a Gaussian on logits, then softmax, then multiples of 1/grid.

    The deviation is learned, so that exploration narrows as the policy nears a knife-edge optimum.
    """

    def __init__(self, legal: NDArray[np.bool_], grid: int, deviation: float = 1.0) -> None:
        super().__init__()
        self._legal = legal
        self.grid = grid
        self.log_deviation = nn.Parameter(torch.full(legal.shape, float(np.log(deviation))))

    def distribution(self, logits: Tensor) -> torch.distributions.Normal:
        return torch.distributions.Normal(logits, self.log_deviation.exp(), validate_args=False)

    def draw(self, logits: Tensor, size: int, generator: torch.Generator) -> Tensor:
        """Raw logits, shape (B, n_obs, n_actions)."""
        noise = torch.randn((size, *logits.shape), generator=generator)
        return (logits + self.log_deviation.exp() * noise).detach()

    def log_prob(self, logits: Tensor, raw: Tensor) -> Tensor:
        return self.distribution(logits).log_prob(raw).sum(-1)

    def entropy(self, logits: Tensor) -> Tensor:
        return self.log_deviation.mean() + 0 * logits.sum()

    def tables(self, raw: Tensor) -> NDArray[Any]:
        """Rows of probabilities on the grid, shape (B, n_obs, n_actions)."""
        return mixture_counts(softmax(raw.double().numpy(), self._legal), self.grid) / self.grid

    def mode(self, logits: Tensor) -> NDArray[Any]:
        return self.tables(logits.detach()[None])[0]

    def targets(self, table: NDArray[Any]) -> NDArray[np.float64]:
        return np.log(np.maximum(table, 0.01 / self.grid))


class Critic(nn.Module):
    """Expected return from the full state at a decision; shape (K, state_size) -> (K,)."""

    def __init__(self, state_size: int, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(state_size, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, states: Tensor) -> Tensor:
        return self.net(states).squeeze(-1)


def normalised(advantages: Tensor) -> Tensor:
    """Advantages with mean 0 and deviation 1; those of a single decision, which teach nothing, are 0."""
    spread = advantages.std() if len(advantages) > 1 else 0.0
    return (advantages - advantages.mean()) / (spread + 1e-8)
