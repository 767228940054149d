"""Federated training on TensorFlow Federated: the only place that imports it."""
