"""Tables as one page of HTML."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.shown import Shown

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fewgen leaderboard</title>
<style>
:root { color-scheme: light dark; --rule: color-mix(in srgb, CanvasText 25%, Canvas) }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem }
body { background: Canvas; color: CanvasText }
h1 { font-size: 1.4rem }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .6rem; overflow-wrap: anywhere }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
thead, tbody { border-bottom: 1.5px solid }
thead { border-top: 1.5px solid }
th, td { padding: .25rem .5rem; text-align: left; white-space: nowrap; font-weight: normal }
thead th { font-weight: 600 }
th:first-child { position: sticky; left: 0; background: Canvas }
tbody tr + tr > * { border-top: 1px solid var(--rule) }
p { max-width: 75rem; margin: .4rem 0; font-size: .85rem; overflow-wrap: anywhere }
@media print {
body { margin: 0; font-size: 8pt }
th, td { padding: .1rem .3rem; white-space: normal }
}
</style>
<h1>fewgen leaderboard</h1>
{% for table in tables %}
<section>
<h2 id="t{{ loop.index }}">{{ table.caption[0] }}</h2>
<div class="wide" tabindex="0" role="region" aria-labelledby="t{{ loop.index }}">
<table>
<thead><tr>
{% for name in table.cells.columns %}
<th scope="col">{{ name }}</th>
{% endfor %}
</tr></thead>
<tbody>
{% for row in table.cells.itertuples(index=False, name=None) %}
<tr>
{%- set place = loop.index0 %}
{%- for name in table.cells.columns %}
{%- set text = row[loop.index0] %}
{%- set tag = 'td' if loop.index0 else 'th' %}
<{{ tag }}{% if not loop.index0 %} scope="row"{% endif %}>
{%- if (place, name) in table.bold %}<strong>{{ text }}</strong>{% else %}{{ text }}{% endif -%}
</{{ tag }}>
{%- endfor %}
</tr>
{% endfor %}
</tbody>
</table>
</div>
{% for line in table.caption[1:] %}
<p>{{ line }}</p>
{% endfor %}
</section>
{% endfor %}
</html>
"""


def page(tables: "Sequence[Shown]") -> str:
    """A whole page, for light and dark, a phone and print, that loads and runs nothing."""
    from jinja2 import Environment, StrictUndefined

    made = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    return made.from_string(PAGE).render(tables=tables) + "\n"
