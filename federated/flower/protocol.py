"""What coordinator and site ask of each other, by kind; `federated.flower.envelope` is how it travels."""

# In the order of a training. A site answers with the same kind.
DESCRIBE = "describe"  # fields seed, private, run: what the site holds in numbers
STATISTICS = "statistics"  # field request of `federated.statistics`: sums over its rows
PLAN = "plan"  # fields plan, config, strategy, task, roster; arrays initial: write records, be ready to train
TRAIN = "train"  # fields round, part, head; arrays weights, shared, own: an update, or the news that it is held
MASK = "mask"  # fields round, stage; array content: a stage of a secure sum over what is held
EVALUATE = "evaluate"  # array weights: metrics of the site's own test part
FINISH = "finish"  # the training is over: records and keys go
KINDS = (DESCRIBE, STATISTICS, PLAN, TRAIN, MASK, EVALUATE, FINISH)

# In an answer's fields, where there is no other: why not, and that the site has to be given the plan again.
REFUSED, UNPLANNED = "refused", "unplanned"
