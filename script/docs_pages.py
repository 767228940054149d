"""What mkdocs adds to docs/: pages of the commands, from Click itself, of the sources, and of the files at the root.

A hook of mkdocs.yml; nothing that it makes is kept in the repository.
"""

import html
import re
import sys
from pathlib import Path, PurePosixPath

import click
from mkdocs.structure.files import File

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
# Files at the root that are pages; of README.md some sections are pages of their own.
PAGES = {
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "benchmarks/RESULTS.md": "benchmarks.md",
    "LICENSE": "license.md",
    "README.md": "index.md",
}
SECTIONS = {"Results": "results.md", "Limits and intended use": "intended-use.md"}
_LINK = re.compile(r"(\]\()([^)#:]+)(#[^)]*)?(\))")
# Longest first: of README.md a section may be meant.
_MADE = {"README.md#results": "results.md", **PAGES}
_OUT = re.compile(rf"\]\((?:\.\./)+({'|'.join(map(re.escape, _MADE))})")
_SOURCE = re.compile(r"^\{source: (\w+)\}$", re.MULTILINE)


def on_config(config):
    """The navigation: a page for each command."""
    for section in config.nav:
        for name, pages in section.items() if isinstance(section, dict) else ():
            if name == "Commands":
                pages[:] = [f"commands/{_file(words)}" for words, _ in commands()]
    return config


def on_files(files, config):
    """Add the pages."""
    for path, content in pages().items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page, **_) -> str:
    """What a source says of itself, where a page asks for it; links out of docs/ lead to the page made of the file."""
    up = "../" * page.file.src_uri.count("/")
    markdown = _OUT.sub(lambda link: f"]({up}{_MADE[link[1]]}", markdown)
    return _SOURCE.sub(lambda link: _source(link[1]), markdown)


def pages() -> dict[str, str]:
    """The pages that are made: their place in docs/, and their Markdown."""
    written = {}
    for file, page in PAGES.items():
        text = (ROOT / file).read_text(encoding="utf-8")
        written[page] = text if file.endswith(".md") else f"# License\n\n```text\n{text}```\n"
        written[page] = relinked(written[page], PurePosixPath(file).parent)
    for title, page in SECTIONS.items():
        before, _, rest = written["index.md"].partition(f"\n## {title}\n")
        section, heading, after = rest.partition("\n## ")
        # What follows the last section's end is the foot of the README.
        written[page] = f"# {title}\n{section}\n"
        written["index.md"] = f"{before}\n{heading}{after}"
    return written | {f"commands/{_file(words)}": _command(words, command) for words, command in commands()}


def relinked(text: str, folder: PurePosixPath) -> str:
    """Links of a file of the repository as links of its page.

    Args:
        text: Markdown.
        folder: of the file, from the root.
    """

    def one(link: re.Match) -> str:
        target = str(folder / link[2])
        target = PAGES.get(target, target.removeprefix("docs/"))
        return f"{link[1]}{target}{link[3] or ''}{link[4]}"

    return _LINK.sub(one, text)


def commands() -> list[tuple[str, click.Command]]:
    """All commands as they are typed, in the order of their names."""
    import cli

    return sorted(_named(cli.medimg, "medimg"))


def _named(group: click.Group, before: str):
    for name, command in group.commands.items():
        words = before if name == getattr(group, "default", None) else f"{before} {name}"
        if isinstance(command, click.Group):
            yield from _named(command, words)
        elif not command.hidden:
            yield words, command


def _file(words: str) -> str:
    return words.removeprefix("medimg ").replace(" ", "-") + ".md"


def _command(words: str, command: click.Command) -> str:
    """The page of a command: what it does, how it is called, its options with their defaults."""
    context = click.Context(command, info_name=words)
    usage = " ".join(command.collect_usage_pieces(context))
    rows = [
        f"| `{names}` | {_cell(text)} |".replace("\n", " ")
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context))
        for names, text in [record]
    ]
    table = "\n".join(["| option | |\n|---|---|", *rows])
    return "\n\n".join([f"# {words}", _plain(command.help or ""), f"```text\n{words} {usage}\n```", table]) + "\n"


def _plain(text: str) -> str:
    return html.escape(text.replace("\b", ""), quote=False)


def _cell(text: str) -> str:
    """Help as a table's cell: no sign of it is Markdown's."""
    return re.sub(r"([|*_`\[\]])", r"\\\1", _plain(text))


def _source(name: str) -> str:
    """Task, licence, layout and origin of a source, as `medimg data list` has them."""
    from medimg.sources import SOURCES

    source = SOURCES[name]
    rows = {
        "source": f"`{name}`",
        "task": _cell(source.task),
        "modality": _cell(source.modality),
        "licence": _cell(source.licence),
        "how to get it": _addresses(source.how_to_get),
        "layout": _cell(source.layout),
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())])


def _addresses(text: str) -> str:
    return re.sub(r"https?://[^\s)\\]+", lambda address: f"<{address[0]}>", _cell(text).replace("\\_", "_"))
