"""Is one model better than another: paired tests on the same patients, over folds and over seeds."""
