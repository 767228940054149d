"""Which of two classes is the positive one."""

from collections.abc import Sequence


def positive_class(task: str, classes: Sequence[str]) -> str:
    """Of a binary task the class that probability, threshold, sensitivity and explanations speak of, else ''.

    Args:
        task: `binary`, `multiclass` or `multilabel`.
        classes: in the order of the model's outputs, as a Dataset and a Run have them.
    """
    return classes[1] if task == "binary" else ""
