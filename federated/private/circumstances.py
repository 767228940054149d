"""How a private federation was trained, as far as it decides the assumptions."""

from federated.config import FederateConfig
from medimg.privacy.assumptions import Circumstances
from medimg.training.lineage import NONE, Lineage


def of_federation(config: FederateConfig, lineage: Lineage = NONE) -> Circumstances:
    """Circumstances of a federated Run.

    Args:
        config: options.
        lineage: where the first weights, or the rows, come from.
    """
    return Circumstances(
        early_stopping=bool(config.patience),
        best_epoch=bool(config.patience),
        shared_validation=bool(config.patience),
        search=True,
        fixed_seed=config.dp_seed is not None,
        pretrained=lineage.others,
        weights_file=lineage.unknown,
        vouched=lineage.vouched,
    )
