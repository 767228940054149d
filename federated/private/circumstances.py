"""How a private federation was trained, as far as it decides the assumptions."""

from federated.config import FederateConfig
from medimg.privacy.assumptions import Circumstances
from medimg.training.lineage import NONE, Lineage


def of_federation(config: FederateConfig, is_table: bool, lineage: Lineage = NONE) -> Circumstances:
    """Circumstances of a federated Run.

    Args:
        config: options.
        is_table: of rows, whose features were scaled by statistics of the training parts.
        lineage: where the first weights, or the rows, come from.
    """
    whitened = getattr(config, "normalize", "none") != "none"
    return Circumstances(
        early_stopping=bool(config.patience),
        best_epoch=bool(config.patience),
        shared_validation=bool(config.patience),
        search=True,
        training_metrics=False,
        feature_statistics=is_table or whitened,
        class_weights=config.balance == "class-weight",
        fixed_seed=config.dp_seed is not None,
        pretrained=lineage.others,
        weights_file=lineage.unknown,
        vouched=lineage.vouched,
    )
