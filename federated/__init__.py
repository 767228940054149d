"""The same models across sites: TensorFlow Federated lives only here."""
