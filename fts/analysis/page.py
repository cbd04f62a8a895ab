"""The report's page as a template: one file that works offline, prints well, and needs no script.

All text of a study is escaped by Jinja; only our own figures are inserted as markup.
"""

from __future__ import annotations

from typing import Any

LIGHT = """--paper:#fff; --ink:#1f2328; --soft:#57606a; --grey:#6e7781; --line:#d8dee4; --wash:#f6f8fa;
  --good:#116329; --bad:#a40e26; --warn:#7d4e00; --base:#8c6d1f; --h0:#0072b2; --h1:#d55e00; --h2:#009e73; --h3:#cc79a7;
  --h4:#e69f00;"""
DARK = """--paper:#14181d; --ink:#e6e9ec; --soft:#a3acb6; --grey:#8f99a3; --line:#3a424b; --wash:#20262d;
  --good:#56c271; --bad:#ff8190; --warn:#e0a84f; --base:#c9a24a; --h0:#56b4e9; --h1:#ff8b3d; --h2:#2cc295; --h3:#e2a1c4;
  --h4:#f0b840;"""
STYLE = (
    f"""
:root {{ color-scheme:light dark; {LIGHT} }}
@media (prefers-color-scheme:dark) {{ :root {{ {DARK} }} }}
@media print {{ :root {{ color-scheme:light; {LIGHT} }} }}
"""
    + """
* { box-sizing:border-box; }
body { margin:0; color:var(--ink); background:var(--paper);
  font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; }
main { max-width:1060px; margin:0 auto; padding:44px 28px 60px; }
h1 { font:600 29px/1.2 Georgia,"Times New Roman",serif; margin:0 0 6px; }
h2 { font:600 20px/1.3 Georgia,"Times New Roman",serif; margin:52px 0 6px;
  padding-top:14px; border-top:1px solid var(--line); }
h3 { font-size:14px; margin:22px 0 4px; }
p.lead, p.note { color:var(--soft); margin:0 0 14px; max-width:88ch; }
p.note { font-size:13px; }
nav { font-size:13px; margin:14px 0 26px; }
nav a { display:inline-block; margin-right:14px; color:var(--soft); text-decoration:none;
  border-bottom:1px solid var(--line); }
.answers { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(400px,100%),1fr)); gap:14px; margin:20px 0; }
.answer { border:1px solid var(--line); border-top:4px solid var(--soft); border-radius:4px; padding:14px 16px; }
.answer .q { font-size:13px; color:var(--soft); margin:0; }
.answer .a { font:600 24px/1.3 Georgia,serif; margin:2px 0 6px; }
.answer p.why { font-size:13px; margin:0; }
.answer.yes { border-top-color:var(--good); } .answer.no { border-top-color:var(--bad); }
.findings { list-style:none; padding:0; margin:8px 0 0; }
.findings li { display:grid; grid-template-columns:138px 1fr; gap:12px;
  padding:5px 0; border-bottom:1px solid var(--wash); font-size:14px; }
.findings .rule { font-size:12px; color:var(--soft); padding-top:2px; }
.findings summary { color:var(--ink); font-size:14px; margin:0; }
.findings details p { margin:4px 0 4px 15px; font-size:13px; }
.box { border-left:4px solid var(--line); padding:2px 0 2px 16px; margin:18px 0; }
.box h3 { margin-top:2px; }
.error { border-color:var(--bad); } .error h3 { color:var(--bad); }
.cannot { border-color:var(--warn); } .cannot h3 { color:var(--warn); }
.can { border-color:var(--good); } .can h3 { color:var(--good); }
table { border-collapse:collapse; font-size:13px; font-variant-numeric:tabular-nums; margin:10px 0; }
th { text-align:left; font-weight:600; padding:4px 12px 4px 0; vertical-align:bottom; white-space:nowrap; }
tr:first-child > th { border-bottom:1.5px solid var(--ink); }
td { border-bottom:1px solid var(--line); padding:5px 12px 5px 0; vertical-align:top; }
td.n, th.n { text-align:right; white-space:nowrap; }
.matrix tr + tr th { vertical-align:top; padding-top:13px; border-bottom:1px solid var(--line); }
.matrix td { min-width:205px; padding:9px 14px 9px 0; }
.matrix .big { font-size:18px; font-weight:600; }
td .sub { color:var(--soft); font-size:12px; display:block; white-space:pre; }
.scored td.name { white-space:nowrap; } .scored tr.new td { border-top:1px solid var(--soft); }
td .sub.up { color:var(--good); } td .sub.down { color:var(--bad); }
.matrix .sub { white-space:normal; }
.wide { overflow-x:auto; background:  /* a shadow at the right edge while there is more to scroll to */
  linear-gradient(to left, var(--paper) 45%, transparent) right / 48px 100% no-repeat local,
  linear-gradient(to left, var(--line), transparent) right / 18px 100% no-repeat scroll; }
figure { margin:16px 0 6px; }
figure svg { display:block; max-width:100%; height:auto; }
figcaption { font-size:13px; color:var(--soft); max-width:96ch; }
code, .mono { font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace; }
table.mono td { white-space:nowrap; }
.answer code, .findings code, p.mono { overflow-wrap:anywhere; }
summary { cursor:pointer; font-size:13px; color:var(--soft); margin:10px 0; }
footer { margin-top:56px; padding-top:14px; border-top:1px solid var(--line); color:var(--soft); font-size:12px; }
@media (max-width:640px) { main { padding:24px 16px; } .findings li { grid-template-columns:1fr; gap:0; }
  figure svg { max-width:none; } .wide table { width:max-content; } .wide :is(th, td) { max-width:70vw; }
  h1 { font-size:24px; } .findings span, .findings p { overflow-wrap:anywhere; } }
@media print { body { font-size:11px; } main { padding:0; max-width:none; } nav { display:none; }
  h2, figure, .answer, .box, tr { break-inside:avoid; }
  details::details-content { display:block; content-visibility:visible; block-size:auto; opacity:1; }
  .wide { overflow:visible; background:none; } }
"""
)

TEMPLATE = """{%- macro scored(rows, names) -%}
<div class="wide" tabindex="0"><table class="scored">
<tr>{% for head in rows[0] %}<th{% if loop.index > names %} class="n"{% endif %}>{{ head }}</th>{% endfor %}</tr>
{%- for row in rows[1:] %}
<tr{% if row[0][0] and not loop.first %} class="new"{% endif %}>
{%- for value, ends, count in row %}<td class="{{ 'n' if loop.index > names else 'name' }}">{{ value }}
{%- if ends %}<span class="sub">{{ ends }}</span>{% endif %}
{%- if count %}<span class="sub">{{ count }}</span>{% endif %}</td>{% endfor %}</tr>
{%- endfor %}
</table></div>
{%- endmacro -%}
{%- macro drawn(figure) -%}
<section id="{{ figure.id }}">
<h2>{{ figure.title }}</h2>
<figure role="img" aria-label="{{ figure.title }}: {{ figure.caption }}">
<div class="wide" tabindex="0">{{ figure.svg|safe }}</div>
<figcaption>{{ figure.caption }}</figcaption></figure>
{%- if figure.table %}
<div class="wide" tabindex="0"><table>
<tr>{% for head in figure.table[0] %}<th>{{ head }}</th>{% endfor %}</tr>
{%- for row in figure.table[1:] %}
<tr>{% for value in row %}<td>{{ value|string|told }}</td>{% endfor %}</tr>
{%- endfor %}
</table></div>
{%- endif %}
</section>
{%- endmacro -%}
{%- macro tabled(section) -%}
<section id="{{ section.id }}">
<h2>{{ section.title }}</h2>
<p class="note">{{ section.note|told }}</p>
{%- for table in section.tables %}
{%- if table.get('folded') %}
<details><summary>{{ table.title }}</summary>
{{ scored(table.rows, table.names) }}
</details>
{%- else %}
{%- if table.title %}
<h3>{{ table.title }}</h3>
{%- endif %}
{{ scored(table.rows, table.names) }}
{%- endif %}
{%- endfor %}
</section>
{%- endmacro -%}
{%- set first = groups[0].figures[0] if groups and groups[0].figures else none -%}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<h1>{{ title }}</h1>
<p class="lead">{{ lead }}</p>
<nav aria-label="Sections"><a href="#conclusions">conclusions</a>
{%- if walked %}<a href="#{{ walked.id }}">{{ walked.nav }}</a>{% endif %}<a href="#matrix">matrix</a>
{%- for section in sections %}<a href="#{{ section.id }}">{{ section.nav }}</a>{% endfor %}
{%- for group in groups %}{% for figure in group.figures %}<a href="#{{ figure.id }}">{{ figure.nav }}</a>
{%- endfor %}{% endfor %}<a href="#provenance">provenance</a></nav>

<section id="conclusions">
<div class="answers">
{%- for answer in answers %}
<div class="answer {{ answer.tone }}">
<p class="q">{{ answer.question }}</p><p class="a">{{ answer.answer[:1]|upper }}{{ answer.answer[1:] }}</p>
<p class="why">{{ answer.sentence|told }}</p>
</div>
{%- endfor %}
</div>
{%- if walked %}
{{ tabled(walked) }}
{%- endif %}
{%- if first %}
{{ drawn(first) }}
{%- endif %}
{%- for kind, heading in kinds %}
{%- if findings[kind] %}
<div class="box {{ kind }}">
<h3>{{ heading }}</h3>
<ul class="findings">
{%- for finding in findings[kind] %}
<li><span class="rule">{{ finding.rule }}</span>
{%- if finding.each %}<details><summary>{{ finding.sentence|told }}</summary>
{%- for sentence in finding.each %}<p>{{ sentence|told }}</p>{% endfor %}</details>
{%- else %}<span>{{ finding.sentence|told }}</span>{% endif %}</li>
{%- endfor %}
</ul>
</div>
{%- endif %}
{%- endfor %}
{%- if missing %}
<div class="box">
<h3>Missing so far</h3>
<ul class="findings">
{%- for sentence in missing %}
<li><span class="rule">missing</span><span>{{ sentence|told }}</span></li>
{%- endfor %}
</ul>
</div>
{%- endif %}
</section>

<section id="matrix">
<h2>The matrix</h2>
<p class="note">Each cell shows its best trial: the validation AUC with its 95&nbsp;% interval (stationary block
bootstrap), then the difference from the strongest cheap baseline, paired by day. n: validation windows, and how many of
them are positive. n effective: how many independent windows would give an equally wide interval, at most n. The best
trial was chosen on the same days, so its score is too good.</p>
{%- for group in groups %}
<h3>{{ '%d. '|format(loop.index) if groups|length > 1 }}{{ group.name }}</h3>
<div class="wide" tabindex="0"><table class="matrix">
<tr><th></th>{% for horizon in group.horizons %}<th>h{{ horizon }}</th>{% endfor %}</tr>
{%- for row in group.matrix %}
<tr><th>{{ row.budget }}</th>
{%- for cell in row.cells %}
<td>{% if cell.auc %}<span class="big">{{ cell.auc }}</span> <span class="sub">{{ cell.interval }}</span>
<span class="sub {{ cell.direction }}">{{ cell.versus }}</span>
<span class="sub">{{ cell.loss }}</span><span class="sub">{{ cell.counts }}</span>
<span class="sub">{{ cell.trials }}</span><span class="sub">{{ cell.shape }}</span>
{%- else %}<span class="sub">{{ cell.trials }}</span>{% endif %}</td>
{%- endfor %}</tr>
{%- endfor %}
</table></div>
{%- if group.baselines %}
<details><summary>Baselines ({{ group.baselines|length - 1 }})</summary>
<p class="note">Fitted on the training windows of the cells and scored on their validation windows, with
95&nbsp;% intervals. The highest AUC comes first.</p>
{{ scored(group.baselines, 2) }}
</details>
{%- endif %}
{%- if group.scores %}
<h3>Scores of the best trials</h3>
{%- if loop.first or not groups[0].scores %}
<p class="note">Every score has a 95&nbsp;% interval. Loss minus baseline: the difference from the best baseline by
AUC and, if another baseline has a lower loss, from that one too; paired by day; below zero the cell is better.
Precision equals recall because as many days are flagged as are positive. Luck limit: 95&nbsp;% of equally long searches
without skill end below this AUC. Deflated AUC: the AUC minus the gain that luck alone brings on average. Calibration
error: even a perfectly calibrated forecast has some by chance, in 95&nbsp;% of cases less than the number shown; an
error below that number can be chance.</p>
{%- endif %}
{{ scored(group.scores, 1) }}
{%- endif %}
{%- if group.earlier %}
<h3>Compared with the earlier study</h3>
<p class="note">Validation AUC of the earlier scripts for the same task and horizon: SPY, other years, one seed, no
interval. This table compares numbers; it is not a test.</p>
<div class="wide" tabindex="0"><table>
<tr>{% for head in group.earlier[0] %}<th>{{ head }}</th>{% endfor %}</tr>
{%- for row in group.earlier[1:] %}
<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{%- endfor %}
</table></div>
{%- endif %}
{%- endfor %}
</section>

{%- for section in sections %}
{{ tabled(section) }}
{%- endfor %}

{%- for group in groups %}
{%- for figure in group.figures if figure is not sameas first %}
{{ drawn(figure) }}
{%- endfor %}
{%- endfor %}

<section id="provenance">
<h2>Where every number comes from</h2>
<p class="note">One row per best trial. Trial: the name for <code>fts trials</code> and <code>fts curve</code>.
label_md5: the fingerprint of the labels for training and validation.</p>
{%- if shared %}
<p class="mono">equal in all rows: {% for name, value in shared %}{{ name }} {{ value }}{{ '; ' if not loop.last }}
{%- endfor %}</p>
{%- endif %}
<div class="wide" tabindex="0"><table class="mono">
<tr>{% for head in provenance[0] %}<th>{{ head }}</th>{% endfor %}</tr>
{%- for row in provenance[1:] %}
<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{%- endfor %}
</table></div>
<details><summary>Files beside this page</summary><p class="mono">{{ files|join(', ') }}</p></details>
</section>
<footer>{{ footer }}</footer>
</main>
</body>
</html>
"""


def render(content: dict[str, Any]) -> str:
    """Renders the page; every value is escaped except figures' SVG."""
    from jinja2 import Environment, StrictUndefined  # here, not above: only a report needs them
    from markupsafe import Markup

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["told"] = told
    return environment.from_string(TEMPLATE).render(**content, style=Markup(STYLE))


def told(sentence: str) -> Any:
    """Returns a sentence as markup, with backticked commands as code; everything is escaped."""
    from markupsafe import Markup  # see render

    parts = sentence.split("`")
    if len(parts) % 2 == 0:  # an odd number of backticks: leave them
        return Markup.escape(sentence)
    marked = (Markup("<code>{}</code>").format(part) if k % 2 else Markup.escape(part) for k, part in enumerate(parts))
    return Markup("").join(marked)
