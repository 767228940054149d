"""Saliency and SHAP and their judges: tf-keras-vis and shap live only here."""
