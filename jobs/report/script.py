"""The page's script: sorts tables, and shows the trial under the pointer and marks it in every chart.

The page works without it. It is short and our own, so that the page needs no library; the page's
Content-Security-Policy allows this script only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING

from fts.jobs.report.sentences import value
from fts.jobs.report.svg import number, shortened

if TYPE_CHECKING:
    from fts.jobs.report.data import StudyReport

LONGEST = 60  # characters of one parameter
MOST_NAMES = 16  # parameters in the tooltip of a trial
OF_TRIAL = re.compile(r'data-t="(\d+)\.(\d+)"')

SCRIPT = """
"use strict";
(() => {
  const block = document.getElementById("known");
  const known = block ? JSON.parse(block.textContent) : {};
  const tip = document.createElement("div");
  tip.id = "tip"; tip.hidden = true; tip.setAttribute("role", "status");
  document.body.append(tip);
  let shown = "", pinned = false;

  // tables: the button in a head sorts by its column, what has no value last
  const collator = new Intl.Collator("en", { numeric: true });
  const numberOf = cell => parseFloat(cell.dataset.v ?? cell.textContent.replace(/,/g, "").replace("\\u2212", "-"));
  const sort = head => {
    const table = head.closest("table"), body = table.tBodies[0], at = head.cellIndex;
    const falling = head.getAttribute("aria-sort") === "ascending", sign = falling ? -1 : 1;
    const numeric = head.classList.contains("n");
    const rows = [...body.rows].map((row, place) => {
      const cell = row.cells[at], key = numeric ? numberOf(cell) : cell.textContent;
      return { row, place, key, none: numeric ? Number.isNaN(key) : /^[\\u2014\\u2013\\s]*$/.test(key) };
    });
    rows.sort((a, b) => (a.none - b.none)
      || (a.none ? 0 : sign * (numeric ? a.key - b.key : collator.compare(a.key, b.key))) || a.place - b.place);
    body.append(...rows.map(each => each.row));
    for (const other of head.parentNode.cells) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  };
  for (const head of document.querySelectorAll("table.sort thead th")) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(head));
    head.append(button);
    head.setAttribute("aria-sort", "none");
  }

  // charts: the mark nearest to the pointer, or the next one with the arrow keys
  const marks = new WeakMap();
  const marksOf = svg => {
    if (!marks.has(svg)) marks.set(svg, [...svg.querySelectorAll("[data-t]")].map(mark => {
      mark.querySelector("title")?.remove();  // the browser's own hint would lie over ours
      const found = mark.getAttribute("cx") === null ? mark.getAttribute("d").match(/-?[\\d.]+/g)
        : [mark.getAttribute("cx"), mark.getAttribute("cy")];
      const points = [];
      for (let k = 0; k + 1 < found.length; k += 2) points.push([+found[k], +found[k + 1]]);
      return { mark, points };
    }));
    return marks.get(svg);
  };
  const apart = ([x, y], points) => {
    if (points.length === 1) return Math.hypot(points[0][0] - x, points[0][1] - y);
    let least = Infinity;
    for (let k = 1; k < points.length; k++) {
      const [a, b] = points[k - 1], [c, d] = points[k], dx = c - a, dy = d - b;
      const along = Math.max(0, Math.min(1, ((x - a) * dx + (y - b) * dy) / (dx * dx + dy * dy || 1)));
      least = Math.min(least, Math.hypot(a + along * dx - x, b + along * dy - y));
    }
    return least;
  };
  const light = name => {
    if (name === shown) return;
    for (const each of document.querySelectorAll(".lit")) each.classList.remove("lit");
    if (name) for (const each of document.querySelectorAll(`[data-t="${name}"]`)) each.classList.add("lit");
    shown = name;
  };
  const hide = () => { light(""); tip.hidden = true; pinned = false; };
  const tell = (name, x, y) => {
    const [job, trial] = name.split("."), cell = known[job], row = cell?.trials[trial];
    if (!row) return hide();
    light(name);
    tip.replaceChildren();
    const head = document.createElement("b"), list = document.createElement("dl");
    head.textContent = `${cell.cell} t${trial}: ${cell.metric} ${row[0]}`;
    cell.names.forEach((param, k) => {
      if (row[k + 1] === null) return;
      const term = document.createElement("dt"), text = document.createElement("dd");
      term.textContent = param; text.textContent = row[k + 1];
      list.append(term, text);
    });
    tip.append(head, list);
    tip.hidden = false;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.max(4, Math.min(x + 14, innerWidth - width - 4))}px`;
    tip.style.top = `${y + 14 + height > innerHeight ? Math.max(4, y - height - 10) : y + 14}px`;
  };
  const at = event => {
    const svg = event.target.closest?.("svg");
    if (!svg || !marksOf(svg).length) return null;
    const place = svg.getScreenCTM(), point = new DOMPoint(event.clientX, event.clientY);
    const { x, y } = point.matrixTransform(place.inverse());
    let best = null, least = 24 / place.a;
    for (const one of marksOf(svg)) {
      const far = apart([x, y], one.points);
      if (far < least) [best, least] = [one.mark, far];
    }
    return best;
  };
  document.addEventListener("pointermove", event => {
    if (pinned) return;
    const mark = at(event), row = event.target.closest?.("tr[data-t]");
    if (mark) tell(mark.dataset.t, event.clientX, event.clientY);
    else { tip.hidden = true; light(row ? row.dataset.t : ""); }
  });
  document.addEventListener("click", event => {
    const mark = at(event);
    if (!mark) { if (!event.target.closest?.("#tip")) hide(); return; }
    pinned = false;
    tell(mark.dataset.t, event.clientX, event.clientY);
    pinned = true;
  });
  document.addEventListener("keydown", event => { if (event.key === "Escape") hide(); });
  for (const svg of document.querySelectorAll("svg")) {
    if (!svg.querySelector("[data-t]")) continue;
    svg.setAttribute("tabindex", "0");
    svg.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      const every = marksOf(svg), now = every.findIndex(one => one.mark.dataset.t === shown);
      const next = every[now < 0 ? (step > 0 ? 0 : every.length - 1) : (now + step + every.length) % every.length];
      const place = next.mark.getBoundingClientRect();
      tell(next.mark.dataset.t, place.right, place.bottom);
    });
  }

  // a printed page is read to its end
  const opened = [];
  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details:not([open])")) { fold.open = true; opened.push(fold); }
  });
  addEventListener("afterprint", () => { for (const fold of opened.splice(0)) fold.open = false; });
})();
"""


def hash_of(text: str) -> str:
    """Returns the hash of an element's text as a Content-Security-Policy has it."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def trial_data(study: StudyReport, body: str) -> str:
    """Returns a JSON block with the parameters of every trial in the body, which cannot end its element."""
    shown: dict[int, set[int]] = {}
    for job, trial in OF_TRIAL.findall(body):
        shown.setdefault(int(job), set()).add(int(trial))
    if not shown:
        return ""
    data = {}
    for cell in study.cells:
        mine = [trial for trial in cell.trials if trial.number in shown.get(cell.job.id, ())]
        names = list(dict.fromkeys(name for trial in mine for name in trial.params))[:MOST_NAMES]
        data[str(cell.job.id)] = {
            "cell": cell.name,
            "metric": cell.metric,
            "names": names,
            "trials": {
                str(trial.number): [value(trial.value), *(_param(trial.params.get(name)) for name in names)]
                for trial in mine
            },
        }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json" id="known">{text}</script>\n'


def _param(one: object) -> str | None:
    if one is None:
        return None
    if isinstance(one, float):
        return number(one)
    return shortened(str(one), LONGEST)
