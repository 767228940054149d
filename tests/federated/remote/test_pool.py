"""Two workers behind mutual TLS: as one process to 1e-4, lost, skipped, back again, and gone without a trace."""

import signal

import pytest

from federated.tff.worker import free_port
from tests.federated.remote.certificates import Authority
from tests.federated.remote.tunnels import running
from tests.federated.tff.conftest import max_difference

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plan(table_data):
    from federated.clients.plan import ClientPlan
    from federated.statistics import Schema
    from medimg.config import TrainConfig
    from medimg.data.dataset import Dataset
    from medimg.training import table

    dataset, config = Dataset.load(table_data), TrainConfig(model="logistic")
    schema = Schema.of(dataset).to_dict()
    return ClientPlan(table.describe(dataset, config), config.to_dict(), schema=schema)


@pytest.fixture(scope="module")
def make_engine(plan):
    from federated.algorithms.strategy import Strategy
    from federated.engine.local_training import LocalTraining
    from federated.tff.engine import Engine
    from federated.tff.local_model import LocalModel

    local = LocalTraining(batch_size=8, learning_rate=0.1)
    model = LocalModel(plan.trained, "binary")
    return lambda execution: Engine(execution, model, plan.layout, Strategy(), local, seed=5)


@pytest.fixture(scope="module")
def here(plan, table_data, make_engine, tmp_path_factory):
    """The same federation in this process: (engine, pool)."""
    from federated.clients.examples import prepare
    from federated.partition import partition
    from federated.rounds.pool import LocalPool
    from federated.tff.execution import Execution
    from medimg.config import TrainConfig
    from medimg.data.dataset import Dataset

    class Options(TrainConfig):
        partition = "site"

    folder = tmp_path_factory.mktemp("records")
    clients = partition(Dataset.load(table_data), Options())
    data = [prepare(c.dataset, plan, folder / c.name, c.name) for c in clients]
    with Execution() as execution:
        engine = make_engine(execution)
        yield engine, LocalPool(engine, data)


@pytest.fixture(scope="module")
def sites(serve):
    return {"site-a": serve(sites=["s0"]), "site-b": serve(sites=["s1", "s2"])}


@pytest.fixture(scope="module")
def addresses(sites, tmp_path_factory):
    """Of the coordinator's ends of two tunnels, made as docs/workers says."""
    authority = Authority(tmp_path_factory.mktemp("authority"))
    for host in ("coordinator", *sites):
        authority.issue(f"{host}.example.org")
    outside = {name: free_port() for name in sites}
    inside = {name: free_port() for name in sites}
    folder = tmp_path_factory.mktemp("tunnels")
    changes = {
        "127.0.0.1:8501": f"127.0.0.1:{inside['site-a']}",
        "127.0.0.1:8502": f"127.0.0.1:{inside['site-b']}",
        **{f"{name}.example.org:8443": f"127.0.0.1:{outside[name]}" for name in sites},
    }
    tunnels = [
        running(
            "stunnel-site.conf",
            folder / name,
            authority,
            {
                "0.0.0.0:8443": f"127.0.0.1:{outside[name]}",
                "127.0.0.1:8500": site.address,
                "/etc/medimg/site-a": f"{authority.folder}/{name}.example.org",
            },
            [outside[name]],
        )
        for name, site in sites.items()
    ]
    ports = list(inside.values())
    ends = running("stunnel-coordinator.conf", folder / "coordinator", authority, changes, ports)
    with tunnels[0], tunnels[1], ends:
        yield [f"127.0.0.1:{port}" for port in ports]


def round_of(engine, pool, state, number):
    """A round by the mean: the new state, and who was lost."""
    updates, lost = pool.updates(state, list(pool.clients), number, {})
    assert list(updates) == [name for name in pool.clients if name not in lost]
    mean, state, _ = engine.aggregate(state, updates)
    return engine.apply(state, mean, updates, number), lost


def test_two_workers_behind_mutual_tls(sites, addresses, here, plan, make_engine, serve):
    from federated.remote.pool import RemotePool
    from medimg.errors import InputError

    engine, local = here
    initial = engine.initialize()
    with RemotePool(addresses, patience=20) as pool:
        told = pool.describe()
        assert {n: c["examples"]["train"] for n, c in told.clients.items()} == {
            name: data.examples for name, data in local.clients.items()
        }
        pool.prepare(plan)
        assert all(data.folder.startswith("records/") for data in pool.clients.values())
        pool.start(make_engine)
        # The same result as in one process.
        state = expected = initial
        for number in (1, 2):
            state, lost = round_of(engine, pool, state, number)
            assert not lost
            expected, _ = round_of(engine, local, expected, number)
        assert max_difference(state.weights, expected.weights) < 1e-4
        assert max_difference(state.weights, initial.weights) > 1e-2

        # One is lost: the round goes on without its clients.
        sites["site-b"].end(signal.SIGKILL)
        updates, lost = pool.updates(state, list(pool.clients), 3, {})
        assert list(updates) == ["s0"]
        assert sorted(lost) == ["s1", "s2"]
        assert addresses[1] in lost["s1"]

        # Started again at its port it is taken back, records and all.
        again = serve(sites=["s1", "s2"], port=sites["site-b"].port)
        updates, lost = pool.updates(state, list(pool.clients), 3, {})
        assert not lost
        alone, _ = local.updates(state, list(pool.clients), 3, {})
        for name, update in updates.items():
            assert max_difference(update.vectors, alone[name].vectors) < 1e-4

    # Whoever waits, waits as long as was said, and is told for whom.
    with RemotePool(addresses[:1], patience=2.0, when_lost="wait") as waiting:
        waiting.prepare(plan)
        waiting.start(make_engine)
        sites["site-a"].end()
        with pytest.raises(InputError, match=f"{addresses[0]}.*--resume"):
            waiting.updates(initial, ["s0"], 1, {})
    with pytest.raises(InputError, match=addresses[0]):
        RemotePool(addresses[:1], patience=0.5)

    said = again.end()
    assert "asks: prepare for s1, s2" in said
    for site in (*sites.values(), again):
        assert not site.leftovers()
    for site in (sites["site-a"], again):
        assert not list(site.temporary.iterdir())
