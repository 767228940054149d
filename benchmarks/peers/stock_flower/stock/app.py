"""Flower as its own tutorials have it: a NumPyClient whose process starts for a message, FedAvg at the server.

`data` is a folder with a SITE.npz (`x`, `y`) for each site; the server notes there when each round ended.
"""

import json
import time
from pathlib import Path

import numpy as np
from flwr.client import ClientApp, NumPyClient
from flwr.common import ndarrays_to_parameters
from flwr.server import ServerApp, ServerAppComponents, ServerConfig
from flwr.server.strategy import FedAvg


def _model(settings):
    import tensorflow as tf

    from medimg.models.build import build

    model = build(**json.loads(settings["model"]))
    loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(tf.keras.optimizers.SGD(float(settings["rate"]), momentum=0.9), loss, metrics=["accuracy"])
    return model


class _Site(NumPyClient):
    def __init__(self, settings, site):
        self.model, self.batch = _model(settings), int(settings["batch"])
        with np.load(Path(settings["data"]) / f"{site}.npz", allow_pickle=False) as arrays:
            self.x, self.y = arrays["x"], arrays["y"]

    def fit(self, parameters, config):
        self.model.set_weights(parameters)
        self.model.fit(self.x, self.y, batch_size=self.batch, epochs=1, verbose=0)
        return self.model.get_weights(), len(self.y), {}


def _client(context):
    return _Site(context.run_config, context.node_config["site"]).to_client()


def _server(context):
    settings, ended = context.run_config, []

    def note(number, weights, config):
        ended.append(time.time())
        path = Path(settings["data"]) / "ended.json"
        path.with_suffix(".new").write_text(json.dumps(ended))
        path.with_suffix(".new").replace(path)

    strategy = FedAvg(
        fraction_evaluate=0.0,
        min_fit_clients=3,
        min_available_clients=3,
        evaluate_fn=note,
        initial_parameters=ndarrays_to_parameters(_model(settings).get_weights()),
    )
    return ServerAppComponents(strategy=strategy, config=ServerConfig(num_rounds=int(settings["rounds"])))


client = ClientApp(client_fn=_client)
server = ServerApp(server_fn=_server)
