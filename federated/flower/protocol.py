"""What coordinator and site ask of each other, by kind; `federated.flower.envelope` is how it travels."""

import hashlib
import json
from dataclasses import replace

from federated.flower.envelope import Envelope

# In the order of a training. A site answers with the same kind.
DESCRIBE = "describe"  # fields seed, private, run: what the site holds in numbers
STATISTICS = "statistics"  # field request of `federated.statistics`: sums over its rows; or question, stage, roster
PLAN = "plan"  # fields plan, config, roster, start; arrays initial: write records, be ready to train
TRAIN = "train"  # fields round, part, head; arrays weights, shared, own: an update, or the news that it is held
KEY = "key"  # fields stage, max_weight; arrays content, public: the sites agree on a key of CKKS
MASK = "mask"  # fields round, stage; array content: a stage of a secure sum over what is held
EVALUATE = "evaluate"  # array weights: metrics of the site's own test part
FINISH = "finish"  # field head; the training is over: records and keys go
KINDS = (DESCRIBE, STATISTICS, PLAN, KEY, TRAIN, MASK, EVALUATE, FINISH)

# In an answer's fields, where there is no other: why not, and that the site has to be given the plan again.
REFUSED, UNPLANNED = "refused", "unplanned"


def plan_digest(message: Envelope) -> str:
    """What names a plan, the same at all sites and when a training is resumed for more rounds."""
    fields = {**message.fields, "config": {**message.fields["config"], "rounds": None}}
    return replace(message, fields=fields).digest(*sorted(fields), *sorted(message.arrays))


def start_digest(plan: str, message: Envelope, noise: float | None = None) -> str:
    """What a round's update is made from: the plan, and the weights that all were sent (`secure.terms.SumTerms.start`).

    Args:
        plan: of `plan_digest`.
        message: with the weights.
        noise: multiplier that a site has settled on, where sites share the noise: each counts on the others' shares,
            and the rounds that they were asked for, or what they spent before, may differ under one plan.
    """
    shared = "" if noise is None else f" noise {noise!r}"
    return hashlib.sha256((plan + message.digest("weights", "shared") + shared).encode()).hexdigest()


def question_digest(run: str, fields: dict) -> str:
    """What a masked sum of statistics is of: the question that all were asked, of which run and which sites."""
    asked = ["statistics", run, fields["request"], fields["roster"]]
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
