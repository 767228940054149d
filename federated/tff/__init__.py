"""Federated training on TensorFlow Federated: imported here alone."""

import warnings

# A package of TFF's says so at every import; it is no news to a user of ours.
warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
