"""How a private federation was trained, as far as it decides the assumptions."""

from federated.config import FederateConfig
from medimg.privacy.assumptions import Circumstances


def of_federation(config: FederateConfig) -> Circumstances:
    """Circumstances of a federated Run.

    Args:
        config: options.
    """
    return Circumstances(
        early_stopping=bool(config.patience),
        best_epoch=bool(config.patience),
        shared_validation=bool(config.patience),
        search=True,
        fixed_seed=config.dp_seed is not None,
        pretrained=config.weights != "none",
    )
