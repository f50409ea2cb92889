"""The look of every page that the project writes: self-contained HTML, one type scale, few colours."""

from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from core.errors import shown

BLUE, ORANGE, GREY = "#2563a8", "#c2571a", "#6b7280"  # of the plots; BLUE and GREY also stand in PAGE

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>{{ title }}</title>
<style>
:root { color-scheme: light dark; --text: #1f2937; --back: #fff; --line: #e5e7eb; --soft: #f6f7f9; --grey: #6b7280; --blue: #2563a8; --orange: #c2571a; --amber: #9a6700; --green: #1f7a4d; --red: #b42318; }
@media (prefers-color-scheme: dark) { :root { --text: #e3e6ea; --back: #15181d; --line: #2f353e; --soft: #1e2229; --grey: #98a1ae; --blue: #6ba7e5; --orange: #f0955a; --amber: #d9a93a; --green: #4fbf87; --red: #ff8073; } }
body { font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: var(--text); background: var(--back); max-width: 1060px; margin: 2.5rem auto; padding: 0 1.5rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2.2rem 0 .6rem; } small, .note { color: var(--grey); font-size: .85rem; font-weight: 400; }
table { border-collapse: collapse; width: 100%; } th { text-align: left; color: var(--grey); font-size: .8rem; font-weight: 600; } th, td { padding: .32rem .7rem .32rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; } td.n + td:not(.n), th.n + th:not(.n) { padding-left: .9rem; } .scroll { overflow-x: auto; } .mark { color: var(--blue); }
.good, .bad { border-left: 4px solid var(--green); background: var(--soft); padding: .7rem 1rem; margin: 1rem 0; } .bad { border-color: var(--red); } .bad h2 { margin: 0; color: var(--red); } .good b { color: var(--green); } .bad b { color: var(--red); }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(400px, 100%), 1fr)); gap: 1.2rem; } .plots svg { width: 100%; height: auto; background: #fff; border-radius: 4px; }
.bar { margin-top: .42rem; background: var(--blue); height: .6rem; border-radius: 2px; min-width: 1px; opacity: .75; }
code { background: var(--soft); padding: .1rem .3rem; border-radius: 3px; font-size: .88em; overflow-wrap: anywhere; } a { color: var(--blue); } ul { margin: .4rem 0; padding-left: 1.2rem; }
@media (max-width: 640px) { body { margin: 1rem auto; padding: 0 .8rem; } h1 { font-size: 1.4rem; } .wide { display: none; } }
</style></head><body><h1>{{ title }}</h1>{{ body }}{% if inside %}<script>/* a link inside the page would lead Kubeflow's frame to another page */
document.addEventListener("click", event => { const link = event.target.closest('a[href^="#"]'); if (!link) return;
  event.preventDefault(); document.getElementById(decodeURIComponent(link.hash.slice(1)))?.scrollIntoView(); });</script>{% endif %}</body></html>
"""


def render(title: str, body: str, **values: Any) -> str:
    """Render a page.

    Args:
        title: Its heading.
        body: A Jinja template; what it inserts is escaped unless it is `Markup`, control characters included.
        values: What the template needs.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, finalize=_visible)
    environment.filters["short"] = short
    content = Markup(environment.from_string(body).render(**values))  # noqa: S704  (escaped by the inner template)
    return environment.from_string(PAGE).render(title=title, body=content, inside='<a href="#' in content)


def _visible(value: Any) -> Any:
    return shown(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def embedded(svg: str) -> Markup:
    """Cut the XML prologue off a drawing of ours, so that it can stand inside HTML."""
    return Markup(svg[svg.index("<svg") :])  # noqa: S704  (matplotlib escapes what it draws)


def short(value: Any, digits: int = 4) -> str:
    """Write a number with sensible digits, a missing value as a hyphen."""
    if value is None or value == "" or value != value:
        return "-"
    try:
        number = float(value)
    except (TypeError, ValueError):
        return str(value)[:40]
    if number.is_integer() and abs(number) < 1e15:
        return f"{int(number):,}" if abs(number) >= 10_000 else f"{int(number)}"  # 2013 may be a year
    return f"{number:,.1f}" if abs(number) >= 1000 else f"{number:.{digits}g}"
