"""What an explanation looks like: maps over images, SHAP values and partial dependence of tables."""
