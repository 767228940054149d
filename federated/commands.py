"""`medimg federate` and the studies of federation: parse, call one function, print."""

import sys
from pathlib import Path

import click

from federated.config import FederateConfig
from federated.studies.config import HospitalsConfig
from medimg.commands import printing
from medimg.commands.command_line import Command, DefaultCommand, GroupWithDefault, options_of, take
from medimg.commands.console import progress_bars, say, table, tell_progress
from medimg.commands.output import out_option, overwrite_option, resumable
from medimg.commands.study import run_study
from medimg.errors import InputError
from medimg.lock import locked
from medimg.studies.config import StudyConfig
from medimg.studies.declared import question

_HOSPITALS = "federated-hospitals"


@click.group(cls=GroupWithDefault)
def federate():
    """Train a classifier across the sites of DATA; rehearse, site, link, key, policy and verify are its commands."""


@federate.command(
    cls=DefaultCommand, epilog="Beside it: 'medimg federate rehearse', 'verify', 'key', 'link', 'site' and 'policy'."
)
@click.argument("data_folder", metavar="DATA")
@resumable(
    "federate",
    FederateConfig,
    lambda out, _: (out / "federation.json").is_file(),
    # Of a central training alone.
    skip=("cache_features",),
    longer=("rounds",),
)
def run(data_folder, out, config, resume, overwrite):
    """Train a classifier across the clients of DATA by rounds, and compare it with what each has alone and pooled."""
    from federated.federate import federate
    from medimg.preparation.builtin import resolve

    with progress_bars() as step:
        run = federate(resolve(data_folder), Path(out), config, resume, overwrite, _listener(step))
    _tell(run)


def _listener(step):
    from medimg.listener import Listener

    return Listener(step, round=_tell_round, note=lambda text: say(f"note: {text}", err=True))


def _tell(run):
    """What came of a training."""
    from federated.report.printed import printed
    from federated.report.reading import read_federation

    printing.positive(run.description())
    for title, columns, rows in printed(read_federation(run.root)):
        table(title, columns, rows)
    click.echo(f"report: {run.root / 'federation.html'} and {run.root / 'report.html'}")
    from federated.audit_log.head import read_head

    noted = read_head(run.root / "audit.jsonl")
    if noted is not None:
        click.echo(f"audit log head, to be noted elsewhere for 'federate verify --head': {noted.hash}")


def _tell_round(row):
    tell_progress(f"round {row['round']}", row, f" {row['participants']} clients")


@federate.command(hidden=True, context_settings={"ignore_unknown_options": True})
@click.argument("options", nargs=-1)
def worker(options):
    """Gone."""
    raise InputError("federate worker: is gone: TFF ran the coordinator's graphs there; use 'medimg federate site'")


@federate.command()
@click.argument("name")
@click.option("--out", default=".", show_default=True, type=click.Path(), help="Folder of the two files.")
def key(name, out):
    """Make NAME.key, which stays, and NAME.pub, which the others are given; NAME is the site's in every report."""
    from federated.flower import keys

    secret = keys.make(name, Path(out))
    click.echo(f"secret: {secret}\npublic: {secret.with_suffix(keys.PUBLIC)}")


@federate.command()
@click.option("--out", required=True, type=click.Path(), help="Folder of the link.")
@click.option(
    "--port",
    default=9092,
    show_default=True,
    type=click.IntRange(2, 65534),
    help="Port that sites connect to; its neighbours are for this machine alone.",
)
@click.option("--bind", default="127.0.0.1", show_default=True, help="Address of this machine to listen at.")
@click.option("--host", multiple=True, help="Name or address that sites reach it by; may be repeated.")
@click.option("--site", multiple=True, type=click.Path(), help="NAME.pub of a site that may connect; may be repeated.")
def link(out, port, bind, host, site):
    """Serve the link that sites and coordinator meet at until Ctrl-C; see docs/federation-sites.md."""
    from federated.flower.keys import Party

    added = [Party.read(Path(path)) for path in site]
    from federated.flower import certificates
    from federated.flower.child import interruptible
    from federated.flower.link import Link
    from federated.flower.superlink import without_tensorflow

    with without_tensorflow():
        from federated.flower.link_folder import LinkFolder

    folder = LinkFolder.make(Path(out), port)
    for party in added:
        folder.add(party)
    parties = folder.parties()
    with interruptible(), Link(folder.root, port, bind, host) as running:
        running.register(parties)
        say(f"link at {bind}:{port} for {', '.join(party.name for party in parties)}", err=True)
        say(f"sites need {running.certificate} and {folder.root}/coordinator.pub", err=True)
        say(f"its certificate lasts until {certificates.until(folder.root)}", err=True)
        running.wait()


@federate.command()
@click.option("--data", metavar="DATA", required=True, help="The site's prepared Dataset.")
@click.option("--policy", required=True, type=click.Path(), help="policy.yaml: what this site allows.")
@click.option("--key", "key_file", required=True, type=click.Path(), help="The site's NAME.key.")
@click.option("--superlink", required=True, metavar="HOST:PORT", help="The link.")
@click.option("--root-certificate", required=True, type=click.Path(), help="The link's ca.pem.")
@click.option("--folder", required=True, type=click.Path(), help="The site's own: records, log, what it has answered.")
def site(data, policy, key_file, superlink, root_certificate, folder):
    """Take part in federations with DATA by this machine's own code until Ctrl-C; connections go out alone."""
    from federated.flower.child import ends_with_parent
    from medimg.preparation.builtin import resolve

    ends_with_parent()
    data = resolve(data)
    for option, path in (("policy", policy), ("key", key_file), ("root-certificate", root_certificate)):
        if not Path(path).is_file():
            raise InputError(f"--{option} {path}: can't be read (no such file)")
    from federated.flower.serve import serve

    paths = (Path(path) for path in (policy, key_file))
    serve(data, *paths, superlink, Path(root_certificate), Path(folder), lambda line: say(line, err=True))


@federate.group()
def policy():
    """A site's policy: what it allows, and the runs that a person has allowed."""


@policy.command()
@click.argument("file", type=click.Path())
def check(file):
    """Say in words what policy.yaml FILE allows."""
    if not Path(file).is_file():
        raise InputError(f"{file}: no such file; give the site's policy.yaml")
    from federated.flower.policy import Policy
    from federated.flower.policy_words import sentences

    for sentence in sentences(Policy.read(Path(file))):
        say(sentence)


@policy.command()
@click.argument("run")
@click.option("--folder", required=True, type=click.Path(), help="The site's own, of 'medimg federate site'.")
def approve(run, folder):
    """Allow RUN, as the site's refusal names it, where the policy asks for a person's approval."""
    from federated.flower.runs import approve

    approve(run, Path(folder))
    say(f"{run} is allowed")


@federate.command()
@click.argument("data_folder", metavar="DATA")
@out_option("the Run")
@overwrite_option("the Run")
@options_of(FederateConfig, ("cache_features", "engine", "link", "superlink", "site"))
def rehearse(data_folder, out, overwrite, **values):
    """Federate DATA with a real link and a process for each of its sites, all on this machine, and end them all."""
    config = take(FederateConfig, values)
    from federated.federate import federate
    from federated.flower.rehearse import FOLDER, clear, rehearsal
    from medimg.preparation.builtin import resolve
    from medimg.run import require_free

    out = Path(out)
    # From before the sites are started until their logs are kept, so that another's are not written over.
    with locked(out):
        if overwrite:
            clear(out)
        require_free(out, overwrite)
        with progress_bars() as step, rehearsal(resolve(data_folder), config, out / FOLDER) as (held_out, at_sites):
            run = federate(held_out, out, at_sites, overwrite=overwrite, listener=_listener(step))
    _tell(run)


@federate.command()
@click.argument("run_folder", metavar="RUN")
@click.option("--head", help="Hash of the last record, as it was noted elsewhere.")
@click.option("--witness", multiple=True, help="Hash of an earlier record, noted elsewhere; may be repeated.")
@click.option(
    "--public-key",
    metavar="KEY",
    help="coordinator.pub of the link's folder, or its identity (64 hexadecimal digits): must have signed the head.",
)
@click.option("--site-log", multiple=True, type=click.Path(), help="A site's own audit.jsonl; may be repeated.")
def verify(run_folder, head, witness, public_key, site_log):
    """Check RUN's audit log and files against each other and what was noted elsewhere; exit code 1: changed."""
    from federated.audit_log import verify
    from medimg.untrusted.inside import require_own_files

    require_own_files(Path(run_folder))
    if public_key and (Path(public_key).exists() or public_key.endswith(".pub")):
        from federated.flower.keys import Party

        public_key = Party.read(Path(public_key)).identity.hex()
    verification = verify(Path(run_folder) / "audit.jsonl", head, witness, public_key, [Path(log) for log in site_log])
    for problem in verification.problems:
        say(f"problem: {problem}")
    for note in verification.notes:
        say(f"note: {note}")
    if verification.compared:
        say(f"as the log has them: {', '.join(verification.compared)}")
    for gap in verification.cannot_show:
        say(f"can't be shown: {gap}")
    # Without a head from elsewhere the log is only whole in itself.
    intact = "intact" if head or public_key else "intact in itself"
    state = intact if verification.ok else "CHANGED"
    click.echo(f"audit log {state}: {verification.records} records, {len(verification.rounds)} rounds")
    click.echo(f"head {verification.head}")
    sys.exit(0 if verification.ok else 1)


@click.command(cls=Command)
@click.argument("run_folder", metavar="RUN")
@out_option("the dossier")
@click.option("--key", type=click.Path(), help="coordinator.key of the link's folder, to sign it.")
@click.option("--site-log", multiple=True, type=click.Path(), help="A site's own audit.jsonl; may be repeated.")
def dossier(run_folder, out, key, site_log):
    """One folder for a data-access committee: what left which site, privacy, results, the log, digests, signed."""
    from federated.report.dossier import dossier

    path = dossier(Path(run_folder), Path(out), Path(key) if key else None, [Path(log) for log in site_log])
    click.echo(f"dossier: {path}")


@click.command(_HOSPITALS, cls=Command, help=question(_HOSPITALS))
@click.argument("data_folder", metavar="DATA")
@out_option("the study")
@options_of(HospitalsConfig)
@options_of(StudyConfig, skip=("weights", "model", "model_arg", "epochs", "image_size", "normalize"))
def hospitals(data_folder, out, **values):
    """Cells by algorithm."""
    algorithms, config = take(HospitalsConfig, values), take(StudyConfig, values)

    def adapt(study, _):
        from federated.studies.algorithms import with_algorithms

        return with_algorithms(study, algorithms)

    run_study(_HOSPITALS, [data_folder], out, config, adapt)
