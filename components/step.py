"""What every component has in common: the one image, and nothing installed when it starts."""

import functools
import os

from kfp import dsl

from core.image import DEFAULT

IMAGE = os.environ.get("IMAGE") or DEFAULT

step = functools.partial(dsl.component, base_image=IMAGE, install_kfp_package=False)
