"""What a model is worth on data it has not seen: metrics with intervals, figures and a report."""
