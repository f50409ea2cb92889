"""Where a page holds what is generated."""

LAST = "<!-- end of what is generated -->\n"


def filled(text: str, module: str, tables: str) -> str:
    """Return a page with other tables between its marks, of which the first names the module that writes them."""
    first = f"<!-- generated: .venv/bin/python -m {module} -->\n"
    before, _, rest = text.partition(first)
    _, _, after = rest.partition(LAST)
    return f"{before}{first}{tables}{LAST}{after}"
