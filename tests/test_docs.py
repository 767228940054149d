"""The documentation builds without network, its links lead somewhere, its commands exist, and its blocks run."""

import html
import os
import re
import shlex
import subprocess
from pathlib import Path

import click
import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config

import cli
from tests import clinical_sources
from tests.command import medimg

ROOT = Path(__file__).parents[1]
FILES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
# Of what a tool of others takes.
FOREIGN = {"--no-deps", "--no-build-isolation", "--system", "--user-group", "--home-dir", "--create-home", "--strict"}
FOREIGN |= {"--fix", "--disable-pip"}
# Told as what there was, or is asked about: CHANGELOG.md.
NOT_NOW = ("CHANGELOG.md",)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """The built site; a warning, as of a link that leads nowhere, ends the build."""
    out = tmp_path_factory.mktemp("site")
    before = os.environ.get("NO_MKDOCS_2_WARNING")
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    try:
        build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(out), strict=True))
    finally:
        os.environ.pop("NO_MKDOCS_2_WARNING") if before is None else None
    return out


def named(group: click.Group, before: tuple[str, ...] = ()):
    for word, command in group.commands.items():
        words = before if word == getattr(group, "default", None) else (*before, word)
        if isinstance(command, click.Group):
            yield from named(command, words)
        elif not command.hidden:
            yield words, command


COMMANDS = dict(named(cli.medimg))


def test_every_command_has_a_page_with_every_option(site):
    assert len(COMMANDS) > 30
    for words, command in COMMANDS.items():
        text = html.unescape((site / "commands" / f"{'-'.join(words)}.html").read_text(encoding="utf-8"))
        for parameter in command.params:
            for option in parameter.opts if isinstance(parameter, click.Option) else ():
                assert option in text, (words, option)
    assert {path.stem for path in (site / "commands").iterdir()} == {"-".join(words) for words in COMMANDS}


def test_pages_say_what_the_project_says(site):
    pages = {
        "license.html": "Apache License",
        "security.html": "What is trusted",
        "contributing.html": "How to add",
        "index.html": "The tour",
        "results.html": "BreastMNIST",
        "intended-use.html": "Not for diagnosis",
        "datasets/chestxray14.html": "nihcc.app.box.com",
        "architecture.html": "Floors",
    }
    for page, words in pages.items():
        assert words in (site / page).read_text(encoding="utf-8"), page
    assert "{source:" not in "".join(path.read_text(encoding="utf-8") for path in site.rglob("datasets/*.html"))


def test_no_page_fetches_from_another_host(site):
    """Links may lead elsewhere; scripts, styles, fonts and pictures may not."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    for page in pages:
        text = page.read_text(encoding="utf-8")
        fetched = re.findall(r"<(?:script|img|iframe|source)[^>]*\ssrc=\"?([^\s\">]+)", text)
        fetched += re.findall(r"<link(?=[^>]*rel=\"?(?:stylesheet|icon|preconnect))[^>]*href=\"?([^\s\">]+)", text)
        assert fetched
        assert not [one for one in fetched if re.match(r"(?:https?:)?//", one)], page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\(\"?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_links_lead_to_files_of_the_repository_too(site):
    """Who reads the Markdown itself follows the same links as the site's reader."""
    for path in FILES:
        for target in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
            assert ":" in target or (path.parent / target).exists(), (name(path), target)
    assert 'href="../security.html"' in (site / "ideas" / "dataset.html").read_text(encoding="utf-8")
    assert "../results.html" in (site / "datasets" / "chestxray14.html").read_text(encoding="utf-8")


def blocks(path: Path, kinds=("",)) -> list[str]:
    return [text for kind, text in FENCE.findall(path.read_text(encoding="utf-8")) if kind in kinds]


def command_lines(text: str) -> list[str]:
    """What a block types, `medimg` in front, without comments and signs of what may be left out."""
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    lines = [re.sub(r"(?:^ExecStart=|\S*/)medimg(?= )", "medimg", re.sub(r"\s#.*", "", line)) for line in lines]
    lines = [re.sub(r"^(?:sudo -u medimg|ExecStart=|[A-Z_]+='[^']*')\s*", "", line) for line in lines]
    return [re.sub(r"[\[\]]|(?<=\w)\.\.\.| \.\.\.(?= )", "", line) for line in lines if re.match(r"medimg \S", line)]


LINES = [(name(path), line) for path in FILES for block in blocks(path) for line in command_lines(block)]


def parsed(words: list[str]) -> None:
    """Refuses an option that is not there, or a value that is not of its kind, as Click does."""
    command, context = cli.medimg, None
    while isinstance(command, click.Group):
        if not words:
            return
        context = click.Context(command, parent=context, info_name=words[0])
        _, command, words = command.resolve_command(context, words)
    try:
        command.make_context(command.name, words, parent=context)
    except click.exceptions.Exit:
        pass
    except click.ClickException as error:
        # A number may stand as a letter.
        if not re.search(r"'[A-Z]' is not a valid", error.format_message()):
            raise AssertionError(error.format_message()) from error


def test_the_lines_are_found():
    assert len(LINES) > 60
    with pytest.raises(AssertionError, match="No such option"):
        parsed(shlex.split("train DATA --out RUN --epoch-number 3"))
    with pytest.raises(AssertionError, match="Missing option"):
        parsed(shlex.split("train DATA"))


@pytest.mark.parametrize(("file", "line"), LINES)
def test_every_line_is_one_that_medimg_takes(file, line):
    parsed(shlex.split(line)[1:])


def test_every_option_in_the_text_is_one_of_some_command():
    known = {opt for command in COMMANDS.values() for p in command.params for opt in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "--version"}
    unknown = []
    for path in FILES:
        if name(path) in NOT_NOW:
            continue
        for code in re.findall(r"`([^`\n]+)`", FENCE.sub("", path.read_text(encoding="utf-8"))):
            for option in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", code):
                if option not in known | FOREIGN and not any(one.startswith(option) for one in known):
                    unknown.append((name(path), option))
    assert unknown == []


# Which of the real samples stand for the folders that a page names.
SAMPLES = {
    "nih": "nih_chestxray14",
    "chest_xray": "kermany_chest_xray_native/chest_xray",
    "pneumoniamnist.npz": "medmnist/pneumoniamnist.npz",
    "breastmnist.npz": "medmnist/breastmnist.npz",
    "isic_9class": "isic_9class_180",
    "deeplesion": "deeplesion",
    "heart_disease": "heart_disease",
    "brain_mri": "brain_mri/brain_tumor_dataset",
    "pocus": "pocus_ultrasound",
}
# Beyond the samples: of BraTS there is one case, of volumes none, and labels of DICOM files are one's own.
WITHOUT = ("STUDIES", "VOLUMES", "brats2021")
SETS = sorted((ROOT / "docs" / "datasets").glob("*.md"))


def run_block(lines: list[str], folder: Path) -> None:
    """As it is typed, line by line, in a folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        for line in lines:
            result = medimg(*shlex.split(line)[1:])
            assert result.exit_code == 0, (line, result.output)
    finally:
        os.chdir(before)


@pytest.mark.slow
@pytest.mark.parametrize("page", SETS, ids=lambda page: page.stem)
def test_a_data_set_is_prepared_as_its_page_says(page, medical_data, tmp_path):
    lines = [line for block in blocks(page) for line in command_lines(block)]
    lines = [line for line in lines if not set(shlex.split(line)) & set(WITHOUT)]
    if not lines:
        pytest.skip("no sample stands for what the page prepares")
    for place, sample in SAMPLES.items():
        if any(place in shlex.split(line) for line in lines):
            (tmp_path / place).symlink_to(medical_data / sample)
    run_block(lines, tmp_path)


@pytest.mark.slow
def test_the_tour_is_walked(tmp_path):
    (block,) = blocks(ROOT / "docs" / "tour.md")
    run_block(command_lines(block), tmp_path)
    for left in ("films/inspection/inspection.html", "runs/tour/report.html", "runs/tour/explanations"):
        assert (tmp_path / left).exists(), left
    assert list((tmp_path / "saved_models" / "tour").glob("*/saved_model.pb"))


# What stands for the README's own words; a minute for twelve, no PACS.
SHORTER = (
    ("--time 12m", "--time 1m"),
    (" --send ORTHANC@10.0.0.5:4242", ""),
    ("--weights FOLDER", "--weights weights"),
)


def readme_material(folder: Path, medical_data: Path) -> None:
    """The folders and files that the README's tour begins with."""
    films = medical_data / "kermany_chest_xray_224" / "chest_xray"
    for part, most in (("train", 80), ("test", 30)):
        for label in ("NORMAL", "PNEUMONIA"):
            (folder / "chest_xray" / part / label).mkdir(parents=True)
            for film in sorted((films / part / label).iterdir())[:most]:
                (folder / "chest_xray" / part / label / film.name).symlink_to(film)
    (folder / "weights").symlink_to(medical_data.parent / "weights")
    (folder / "heart_disease").symlink_to(medical_data / "heart_disease")
    (folder / "NEW").symlink_to(medical_data / "dicom" / "rsna_cxr_16d7f894.dcm")
    clinical_sources.dicom(folder / "STUDIES")


@pytest.mark.slow
def test_the_readme_is_walked(medical_data, pretrained_weights, tmp_path):
    (block,) = (block for block in blocks(ROOT / "README.md") if "medimg train" in block)
    for words, instead in SHORTER:
        assert words in block
        block = block.replace(words, instead)
    readme_material(tmp_path, medical_data)
    # The page of `review` waits for Ctrl-C: tests/explain/review opens it.
    run_block([line for line in command_lines(block) if not line.startswith("medimg review ")], tmp_path)
    for left in (
        "runs/kermany/report.html",
        "p.csv",
        "back",
        "ct/manifest.csv",
        "runs/rehearsal/report.html",
        "heart-made",
    ):
        assert (tmp_path / left).exists(), left
    assert list((tmp_path / "saved_models" / "kermany").glob("*/saved_model.pb"))


def test_other_blocks_are_what_they_say():
    """Python compiles (docs/api.md is run by tests/medimg/api), YAML is read, shell is parsed."""
    import yaml

    found = []
    for path in FILES:
        for kind, text in FENCE.findall(path.read_text(encoding="utf-8")):
            found.append(kind)
            if kind == "python" and ">>>" not in text:
                compile(text, name(path), "exec")
            if kind == "yaml":
                assert yaml.safe_load(text)
            if kind in ("sh", "bash"):
                subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    assert set(found) <= {"", "python", "yaml", "sh", "bash", "text", "json", "ini"}
    assert {"", "python", "yaml"} <= set(found)
