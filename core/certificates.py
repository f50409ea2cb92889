"""Certificate authorities of your own."""

import os
from pathlib import Path

from core.errors import UserError

USUAL = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")  # variables that most programs know


def ca_bundle(*own: str) -> str | None:
    """Return the path of the CA bundle that the environment names, None for the usual authorities.

    Args:
        own: Variables of the service in question, which come before the usual ones.

    Raises:
        UserError: The first variable that is set names no file.
    """
    for variable in (*own, *USUAL):
        if path := os.environ.get(variable):
            if not Path(path).is_file():
                raise UserError(f"{variable} names {path}, which is no file: correct it, or unset it")
            return path
    return None
