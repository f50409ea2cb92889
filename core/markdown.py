"""Short Markdown that Kubeflow shows beside a step."""

import re

from core.errors import shown


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", shown(text))


def link(text: str, address: str) -> str:
    """Return a link, or the text alone if there is no address."""
    return f"[{escaped(text)}]({address})" if address else escaped(text)
