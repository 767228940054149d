"""What TFF brings to a strategy: the optimizers of server and clients, and the aggregation."""

import tensorflow_federated as tff

from federated.algorithms.strategy import Strategy
from federated.engine.local_training import LocalTraining


def server_optimizer(strategy: Strategy) -> tff.learning.optimizers.Optimizer:
    """The server's optimizer, on what the clients' average lacks as gradient."""
    rate = strategy.server_learning_rate
    rate = strategy.kind.server_learning_rate if rate is None else rate
    make = tff.learning.optimizers
    # Reddi et al. 2021: beta2 0.99 and tau 1e-3, for few and noisy steps.
    return {
        "sgd": lambda: make.build_sgdm(rate),
        "momentum": lambda: make.build_sgdm(rate, momentum=0.9),
        "adam": lambda: make.build_adam(rate, beta_1=0.9, beta_2=0.99, epsilon=1e-3),
        "yogi": lambda: make.build_yogi(rate, beta_1=0.9, beta_2=0.99, epsilon=1e-3),
        "adagrad": lambda: make.build_adagrad(rate, initial_preconditioner_value=1e-6, epsilon=1e-3),
    }[strategy.kind.server]()


def client_optimizer(local: LocalTraining) -> tff.learning.optimizers.Optimizer:
    """The clients' optimizer, new in every round."""
    make, rate = tff.learning.optimizers, local.learning_rate
    return {
        "sgd": lambda: make.build_sgdm(rate),
        "momentum": lambda: make.build_sgdm(rate, momentum=0.9),
        "adam": lambda: make.build_adam(rate),
    }[local.optimizer]()


def aggregator(strategy: Strategy):
    """TFF's factory of the aggregation."""
    weighted, aggregators = strategy.by_examples, tff.aggregators
    if strategy.aggregation == "mean":
        return aggregators.MeanFactory() if weighted else aggregators.UnweightedMeanFactory()
    if strategy.aggregation == "robust-clip":
        return tff.learning.robust_aggregator(weighted=weighted)
    if strategy.aggregation == "compress":
        return tff.learning.compression_aggregator(zeroing=False, clipping=False, weighted=weighted)
    if strategy.aggregation == "dp-fixed":
        return aggregators.DifferentiallyPrivateFactory.gaussian_fixed(
            strategy.noise_multiplier, float(strategy.clients), strategy.clip
        )
    return aggregators.DifferentiallyPrivateFactory.gaussian_adaptive(
        strategy.noise_multiplier, float(strategy.clients)
    )
