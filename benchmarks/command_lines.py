"""Random command lines: options with bad values and wrong folders, over all commands.

Each ends with exit code 0, or with 2 and one line on standard error, or as its help says with 1; what does not end in
`PATIENCE` seconds is interrupted, as by Ctrl-C. Anything else is listed. All in this process, so that TensorFlow is
imported once.

    python -m benchmarks.command_lines [--lines N] [--seed S] [--from I]
"""

import argparse
import os
import random
import shlex
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
from click.testing import CliRunner

from benchmarks.command_line_world import World, made
from medimg.commands.command_line import AT_FAULT

LINES, SEED, PATIENCE = 2000, 0, 15
# Commands that end with 1 where something they were asked to look at is broken.
ONE = ("predict", "data inspect", "federate verify", "doctor")
VALUES = (
    *("", " ", "nan", "inf", "-inf", "-1", "0", "1", "0.5", "1e308", "-1e308", "1e-320", str(10**30), str(2**63)),
    *("é́ß漢字🫁", "\u202e", "a\nb", "../..", "k=v", "=", "a=b=c", "none", "null", "[1, 2]", "--help", "%s", "x" * 300),
)
NUMBERS = ("0", "1", "2", "3", "8", "16", "0.1", "0.5", "0.9", "1e-320", "1e308", "64", "1000", str(2**40))
TEXTS = (
    *("none", "folder", "age", "label", "patient", "site", "mlp", "vgg16", "dct"),
    *("p1", "(", ".*", "0.3", "70/15/15", "2"),
)
# Ends when it is told to: its Run is never a right one.
SERVES = "review"
# Of numbers that may be as large as one likes, and then take as long.
SMALL = {
    **dict.fromkeys(("epochs", "rounds", "seeds", "count", "tune", "cnn_epochs", "local_epochs", "local_steps"), "1"),
    **{"bootstrap": "20", "most_rows": "50", "image_size": "32", "patients": "20", "samples": "10"},
}
# So that what goes through ends soon.
BASE = {
    "federate": ["--no-comparison"],
    "judge": ["--train-with", "logistic-regression", "--cnn-epochs", "1", "--bootstrap", "100"],
    "compare": ["--baseline", "logistic-regression"],
}
QUICK = ("epochs", "rounds", "seeds", "bootstrap", "image_size", "count")


def leaves(command: click.Command, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """All commands that are no groups, with the words that call them; a group's default one by the group's."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    for word, child in command.commands.items():
        child_words = () if word == getattr(command, "default", None) else (word,)
        yield from leaves(child, (*name, *child_words))


def words_of(
    draw: random.Random, name: tuple[str, ...], command: click.Command, world: World, number: int
) -> list[str]:
    """One command line."""
    # Where all is right it takes long: a path is wrong, or one more value is given.
    is_wrong = draw.random() < 0.35
    words, options = list(name), []
    places = [p for p in command.params if isinstance(p, click.Argument) or (p.required and p.name != "out")]
    wrong_place = draw.choice(places) if places and is_wrong else None
    for param in places:
        value = _place(draw, param, world, param is wrong_place)
        value = world.wrong[0] if name[0] == SERVES else value
        words += [param.opts[0], value] if isinstance(param, click.Option) else [value]
    options += BASE.get(" ".join(name), []) if draw.random() < 0.8 else []
    if world.right["tables"] in words and "model" in {p.name for p in command.params} and name[0] != "synthesize":
        options += ["--model", "mlp"]
    elif world.right["images"] in words and name[0] == "synthesize":
        options += ["--model", "dcgan"]
    for param in command.params:
        if param.name == "out":
            options += ["--out", _out(draw, world, number)]
        elif (
            param.name in QUICK
            and name[0] != "judge"
            and (world.right["images"] in words or param.name != "image_size")
        ):
            options += [param.opts[0], SMALL.get(param.name, "1")]
    # --debug asks for the traceback.
    used = {*places, *(p for p in command.params if p.name in ("out", "debug"))}
    if draw.random() < 0.8:
        # It is refused nearly always.
        used.update(p for p in command.params if p.name == "config")
    unused = [p for p in command.params if isinstance(p, click.Option) and p not in used]
    for param in draw.sample(unused, min(len(unused), draw.choice((0, 0, 0, 1)) + (not is_wrong))):
        options += _option(draw, param, world)
    return [*words, *options]


def _place(draw: random.Random, param: click.Parameter, world: World, astray: bool) -> str:
    kinds = {
        "run": ("run", "table run", "federated run"),
        "data": ("images", "tables"),
        "path": ("films", "csv", "images"),
    }
    if param.name == "source":
        return draw.choice(
            ("folder", "csv", "table", "heart", "isic", "chestxray14", "medmnist", "phantom", "foldr", "")
        )
    if param.name == "port":
        return draw.choice(("0", "-1", "99999", "x"))
    if param.metavar == "DATA2" and not astray:
        return world.right[draw.choice(("synthetic", "synthetic", "images", "films", "tables"))]
    kind = next(
        (kinds[word] for word in kinds if word in f"{param.name} {(param.metavar or '').lower()}"), kinds["data"]
    )
    if not astray:
        return world.right[draw.choice(kind)]
    return draw.choice((*world.wrong, *world.right.values(), *VALUES))


def _out(draw: random.Random, world: World, number: int) -> str:
    fresh = f"out-{number}"
    return draw.choice(
        (*[fresh] * 12, world.right["csv"], world.right["tables"], world.right["run"], "", "/dev/null/x")
    )


def _option(draw: random.Random, param: click.Option, world: World) -> list[str]:
    if param.is_flag:
        # What is at a place of our own must stay.
        return [] if param.name in ("overwrite", "expose") else [draw.choice((*param.opts, *param.secondary_opts))]
    plain = getattr(param.type, "choices", None) or (TEXTS if param.type.name in ("text", "place") else NUMBERS)
    value = str(draw.choice(draw.choice((VALUES, world.wrong, tuple(world.right.values()), *[plain] * 5))))
    if param.name == "config" and draw.random() < 0.5:
        value = draw.choice([path for path in (*world.wrong, world.right["yaml"]) if path.endswith(".yaml")])
    if draw.random() < (0.8 if param.metavar and "=" in param.metavar else 0.05):
        value = f"{draw.choice(('age', 'pain', 'width', 'l2', 'normal'))}={value}"
    return [param.opts[0], value]


def _interrupt(*_):
    raise KeyboardInterrupt


def ended(words: list[str]) -> tuple[str, str]:
    """How a command line ended, and what it said where that is a fault."""
    import cli

    signal.signal(signal.SIGALRM, _interrupt)
    signal.alarm(PATIENCE)
    try:
        result = CliRunner().invoke(cli.medimg, words, prog_name="medimg")
    except KeyboardInterrupt:
        return "interrupted", ""
    finally:
        signal.alarm(0)
    error_lines = [line for line in result.stderr.splitlines() if line.strip()]
    name = " ".join(words[:2])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        return "TRACEBACK", f"{type(result.exception).__name__}: {result.exception}"
    if AT_FAULT in result.stderr:
        return "TRACEBACK", error_lines[-1]
    # Progress may come before it; of an error there is one line, the last.
    one_line = [line for line in error_lines if line.startswith("medimg: error: ")] == error_lines[-1:]
    listed = result.exit_code == 1 and name.startswith(ONE)
    ends = {0: "done", 1: "problems found" if listed else "", 2: "refused" if one_line else "", 130: "interrupted"}
    end = ends.get(result.exit_code)
    return (end, "") if end else ("NOT ONE LINE", f"exit code {result.exit_code}: {result.stderr or result.output}")


def lines(world: World, count: int, seed: int) -> Iterator[tuple[int, list[str]]]:
    """The command lines, the same for the same seed and world."""
    import cli

    commands = [(name, command) for name, command in leaves(cli.medimg) if name not in (("demo",), ("doctor",))]
    for number in range(count):
        draw = random.Random(f"{seed} {number}")
        name, command = draw.choice(commands)
        yield number, words_of(draw, name, command, world, number)


def run(root: Path, count: int, seed: int, first: int = 0, say=print) -> tuple[Counter, list[tuple[int, str, str]]]:
    """Run the command lines in a folder of their own.

    Returns:
        How often each command ended how, and the faults: number, command line, what was said.
    """
    world, faults, counts = made(root), [], Counter()
    (root / "here").mkdir()
    back = Path.cwd()
    os.chdir(root / "here")
    try:
        for number, words in lines(world, count, seed):
            if number < first:
                continue
            began = time.monotonic()
            end, message = ended(words)
            took = time.monotonic() - began
            counts[words[0] if words[0] not in ("data", "study") else " ".join(words[:2]), end] += 1
            if end.isupper():
                faults.append((number, shlex.join(words), message))
                say(f"{number}: {shlex.join(words)}\n    {end}: {message.strip()[:600]}")
            elif took > PATIENCE / 2:
                say(f"{number}: {took:.0f} s, {end}: {shlex.join(words)}")
    finally:
        os.chdir(back)
    return counts, faults


def main() -> None:
    """Print the faults as they come, and a table at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=LINES)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--from", type=int, default=0, dest="first")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        counts, faults = run(
            Path(folder), options.lines, options.seed, options.first, lambda text: print(text, flush=True)
        )
    ends = sorted({end for _, end in counts})
    print("| command | " + " | ".join(ends) + " |\n" + "|---" * (len(ends) + 1) + "|")
    for name in sorted({name for name, _ in counts}):
        print(f"| {name} | " + " | ".join(str(counts[name, end]) for end in ends) + " |")
    totals = [sum(n for (_, h), n in counts.items() if h == end) for end in ends]
    print("| all | " + " | ".join(map(str, totals)) + " |")
    print(f"{sum(totals)} lines, seed {options.seed}, {len(faults)} faults, {time.monotonic() - began:.0f} s")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
