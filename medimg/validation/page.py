"""`validation.html`: one file that opens anywhere."""

from pathlib import Path

from medimg.style.pages import inlined, template
from medimg.style.words import interval, p_text, signed, signed_interval


def page(result: dict, figures: dict[str, Path]) -> str:
    """The page as HTML without any outside address.

    Args:
        result: content of validation.json.
        figures: name -> PNG file.
    """
    return template("validation", "validation.html").render(
        result=result,
        images={name: inlined(path) for name, path in figures.items()},
        text=interval,
        signed=signed,
        signed_interval=signed_interval,
        p_text=p_text,
        shown=_shown,
    )


def _shown(one: dict, side: str) -> str:
    """`112.3 ± 18.2`, or the shares of a category, the commonest first."""
    values = one[side]
    if set(values) == {"mean", "sd"}:
        return f"{values['mean']:.4g} ± {values['sd']:.3g}"
    common = sorted(values.items(), key=lambda item: -item[1])[:4]
    return ", ".join(f"{name} {share:.0%}" for name, share in common)
