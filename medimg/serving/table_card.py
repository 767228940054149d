"""What a model card says of a table's columns and preprocessing."""

from medimg.privacy.statement import WITHHELD
from medimg.serving.table_columns import MOST_INPUTS, ServedColumn, served_columns
from medimg.tables.preprocessing import Preprocessing

# Rows of the card's table; columns.json beside the model has them all.
LISTED = 40
_NAMED = 10

_SCALE = {
    "standard": "scaled to mean 0 and standard deviation 1",
    "min-max": "scaled so that training spans 0 to 1",
    "none": "not scaled",
}
_IMPUTE = {
    "median": "numbers, dates and ordered categories become the median, other categories the commonest",
    "most-frequent": "all become the commonest value",
    "constant": "numbers and dates become 0, ordered categories the lowest, other categories one of their own",
}
_ENCODE = {
    "one-hot": "one column of 0 and 1 per category (all 0 for a category not seen in training)",
    "ordinal": "a number per category (-1 for a category not seen in training)",
}


def left_out(preprocessing: Preprocessing, private: bool) -> dict[str, str]:
    """Columns that the model does not take, with the reason, unless the reason would tell of private training rows."""
    reasons = preprocessing.dropped
    return dict.fromkeys(reasons, WITHHELD) if private else dict(reasons)


def columns_section(preprocessing: Preprocessing, options: dict, private: bool, is_onnx: bool) -> str:
    """Markdown: how to ask, what is done to the columns, and the columns themselves.

    Args:
        preprocessing: of the Run.
        options: of the Run's training.
        private: trained with differential privacy.
        is_onnx: the model is ONNX.
    """
    columns = served_columns(preprocessing)
    lines = [
        "## Input\n",
        _how_to_ask(columns, is_onnx),
        "- A missing number is NaN, missing text is '' (or ?, NA, null and the like). Units are those of the training "
        "data: a column in other units gives wrong answers without an error.",
        f"- Preprocessing, learnt from the training rows alone and part of the served model: missing values: "
        f"{_missing_words(options)}; categories: {_ENCODE[options['encode']]}, ordered ones by rank; numbers "
        f"{_SCALE[options['scale']]}. {len(columns)} columns become {len(preprocessing.columns)}.",
    ]
    if options["select"] != "none":
        lines.append(
            f"- Of the encoded columns the best {options['select_count']} by {options['select']} on the training rows "
            "are used."
        )
    if preprocessing.dropped:
        lines.append(_left_out(left_out(preprocessing, private)))
    return "\n".join([*lines, "", *_table(columns)])


def _how_to_ask(columns: tuple[ServedColumn, ...], is_onnx: bool) -> str:
    if is_onnx:
        return (
            "- `onnx_client.py` takes each raw column by the input listed below and in assets.extra/columns.json; "
            "`columns` of `model.onnx` has them in this order."
        )
    if columns[0].position is not None:
        return (
            f"- `serving_default` takes `numbers` float32 (B, n) and `texts` string (B, m): more than {MOST_INPUTS} "
            "columns go by position, as in assets.extra/columns.json; `features` takes preprocessed columns."
        )
    text = (
        "- `serving_default` takes each raw column as an input of its own, as listed below and in "
        "assets.extra/columns.json; `features` takes preprocessed columns. assets.extra/request.json is a request."
    )
    if any(column.input != column.column.name for column in columns):
        text += " Names that TensorFlow does not allow are changed."
    return text


def _missing_words(options: dict) -> str:
    words = _IMPUTE[options["impute"]]
    if options["missing"] == "drop-rows":
        words += " (training rows with any were left out)"
    elif options["missing"] == "drop-columns":
        words += f" (columns missing in more than {options['missing_limit']:.0%} were left out)"
    if options["missing_indicators"]:
        words += ", and a column that training lacks somewhere gets another that tells"
    return words


def _left_out(dropped: dict[str, str]) -> str:
    named = "; ".join(f"{name} ({reason})" for name, reason in list(dropped.items())[:_NAMED])
    more = f"; and {len(dropped) - _NAMED} more" if len(dropped) > _NAMED else ""
    return f"- Left out: {named}{more}."


def _table(columns: tuple[ServedColumn, ...]) -> list[str]:
    lines = ["| column | type | input | values |", "|---|---|---|---|"]
    for column in columns[:LISTED]:
        raw = column.column
        values = ", ".join(raw.categories[:_NAMED]) + (", ..." if len(raw.categories) > _NAMED else "")
        if not raw.categories:
            values = "ISO date" if raw.type == "date" else "number"
        place = "" if column.position is None else f"[{column.position}]"
        cells = (raw.name, raw.type, f"`{column.input}{place}`", values)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    if len(columns) > LISTED:
        lines.append(f"\n{len(columns) - LISTED} more are in assets.extra/columns.json.")
    return lines
