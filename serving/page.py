"""The page `/docs`: what OpenAPI says, for people, with a request to try. It needs nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import orjson

from core.errors import shown
from serving.model import Model
from serving.openapi import example, infer_example, instances_example, invocation_example, openapi, summary

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{name}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #1f2933; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.75rem; margin: 0 }} h2 {{ font-size: 1.25rem; margin: 2.5rem 0 .5rem }}
table {{ border-collapse: collapse; width: 100% }} td, th {{ text-align: left; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #d9e2ec }}
th {{ color: #627d98; font-weight: 400 }}
code, pre, textarea {{ font: 14px/1.45 ui-monospace, monospace }}
pre, textarea {{ background: #f0f4f8; border: 0; border-radius: 4px; padding: .8rem; width: 100%; box-sizing: border-box; overflow: auto }}
textarea {{ height: 14rem }}
button {{ font: inherit; background: #0b69a3; color: #fff; border: 0; border-radius: 4px; padding: .4rem 1.2rem; margin: .5rem 0 }}
select {{ font: inherit; padding: .3rem }} .quiet {{ color: #627d98 }}
</style></head><body>
<h1>{name}</h1><p>{summary} <span class="quiet">{digest}</span></p>
<h2>Columns</h2><table><tr><th>column</th><th>type</th><th>for example</th></tr>{columns}</table>
<p class="quiet">Each of them in each row; null where a value is not known.</p>
<h2>Answers</h2><table><tr><th>output</th><th>type</th><th>meaning</th></tr>{outputs}</table>
<h2>Try it</h2>
<p><select id="path">{options}</select></p><textarea id="body" spellcheck="false"></textarea>
<button id="send">Send</button><pre id="answer" hidden></pre>
<h2>Requests</h2><table>{paths}</table>
<p class="quiet">The same for programs: <a href="openapi.json">openapi.json</a></p>
<script>
const examples = {examples}, get = id => document.getElementById(id), path = get("path"), body = get("body"), answer = get("answer");
const show = () => {{ body.value = JSON.stringify(examples[path.value], null, 1) }};
path.onchange = show; show();
get("send").onclick = async () => {{
  const response = await fetch(path.value, {{ method: "POST", headers: {{ "content-type": "application/json" }}, body: body.value }});
  answer.textContent = response.status + "\\n" + JSON.stringify(await response.json(), null, 1); answer.hidden = false;
}};
</script></body></html>
"""
MEANINGS = {"predict": "the answer to a row", "predict_proba": "how probable each class is: {classes}"}


def page(model: Model) -> str:
    """Write the page of a model."""
    row, classes = example(model), ", ".join(map(str, model.manifest.classes or ()))
    name = model.version.name
    bodies = {
        "invocations": invocation_example(model),
        f"v2/models/{name}/infer": infer_example(model),
        f"v1/models/{name}:predict": instances_example(model),
    }
    paths = [(path, method, operation["summary"]) for path, methods in openapi(model)["paths"].items() for method, operation in methods.items()]
    return PAGE.format(
        name=escape(name),
        summary=escape(summary(model)),
        digest=escape(model.version.digest),
        columns=_table((item.name, "number" if item.datatype == "FP64" else "text", _shown(row[item.name])) for item in model.manifest.inputs),
        outputs=_table((item.name, item.datatype, MEANINGS[item.name].format(classes=classes)) for item in model.manifest.outputs),
        options="".join(f"<option>{escape(path)}</option>" for path in bodies),
        paths=_table((method.upper(), path, meaning) for path, method, meaning in paths),
        examples=orjson.dumps(bodies).decode().replace("<", "\\u003c"),
    )


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join("<tr>" + "".join(f"<td>{escape(shown(str(cell)))}</td>" for cell in row) + "</tr>" for row in rows)


def _shown(value: object) -> str:
    return "null" if value is None else str(value)
