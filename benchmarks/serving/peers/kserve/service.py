"""KServe's scikit-learn server.

`sklearnserver` is in KServe's repository and in its image, but no package of an index. This is what it does, on the package's own
server, with the functions that it uses, and with PREDICT_PROBA=true.
"""

import os
from typing import Any

import joblib
from kserve import Model, ModelServer, model_server  # type: ignore[import-not-found]
from kserve.utils.utils import get_predict_input, get_predict_response  # type: ignore[import-not-found]


class ScikitLearn(Model):  # type: ignore[misc]
    """A pickled pipeline."""

    def load(self) -> bool:
        """Read it."""
        self.pipeline = joblib.load(os.environ["MODEL"])
        self.ready = True
        return self.ready

    def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        """Answer with the probabilities."""
        del headers, response_headers
        return get_predict_response(payload, self.pipeline.predict_proba(get_predict_input(payload)), self.name)


class Loopback(model_server.RESTServer):  # type: ignore[misc]
    """KServe's HTTP server, which listens on all interfaces, on one alone."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.config.host = "127.0.0.1"


if __name__ == "__main__":
    arguments, _ = model_server.parser.parse_known_args()
    model = ScikitLearn(arguments.model_name)
    model.load()
    model_server.RESTServer = Loopback
    ModelServer().start([model])
