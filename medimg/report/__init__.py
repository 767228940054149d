"""The page of a Run, made from the Run's files alone: `report.json`, `report.html` and `model_card.md`."""
