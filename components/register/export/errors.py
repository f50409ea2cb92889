"""Why a pipeline has no ONNX form."""


class NotExportable(Exception):
    """The pipeline cannot be written as a graph that answers as scikit-learn does; the message is the reason, in one sentence."""
