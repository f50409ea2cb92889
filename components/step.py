"""What every component has in common: the one image, and nothing installed when it starts."""

import functools
import os

from kfp import dsl

IMAGE = os.environ.get("IMAGE") or "localhost/kubeflow-mlops-template:0.1.0"

step = functools.partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
