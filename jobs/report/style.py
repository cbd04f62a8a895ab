"""The report's style sheet: light, dark and print, desktop and phone. Its colours are data, so that a test can check
them."""

LIGHT = {
    "paper": "#ffffff", "ink": "#1f2328", "soft": "#57606a", "grey": "#7d868f", "line": "#d8dee4", "wash": "#f3f5f7",
    "good": "#116329", "warn": "#7d4e00", "blue": "#0b62b0", "pale": "#b4c8dc", "star": "#c2410c",
}  # fmt: skip
DARK = {
    "paper": "#14181d", "ink": "#e6e9ec", "soft": "#a3acb6", "grey": "#8a949f", "line": "#3a424b", "wash": "#20262d",
    "good": "#56c271", "warn": "#e0a84f", "blue": "#6cb2f5", "pale": "#35516b", "star": "#ff9d5c",
}  # fmt: skip
PRINT = LIGHT | {"ink": "#000000", "soft": "#333333"}
SHADES = tuple(range(6, 47, 4))  # percent of blue in the background of a cell of the matrix, worst to best


def variables(colours: dict[str, str]) -> str:
    return " ".join(f"--{name}:{colour};" for name, colour in colours.items())


STYLE = (
    f"""
:root {{ color-scheme:light dark; {variables(LIGHT)} }}
@media (prefers-color-scheme:dark) {{ :root {{ {variables(DARK)} }} }}
@media print {{ :root {{ color-scheme:light; {variables(PRINT)} }} }}
"""
    + "".join(
        f"table.heat td.h{n} {{ background:color-mix(in srgb, var(--blue) {share}%, var(--paper)); }}\n"
        for n, share in enumerate(SHADES)
    )
    + """
* { box-sizing:border-box; }
body { margin:0; color:var(--ink); background:var(--paper); overflow-wrap:anywhere;
  font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; }
main { max-width:1060px; margin:0 auto; padding:32px 28px 60px; }
h1, h2, .answer { font-family:Georgia,"Times New Roman",serif; }
h1 { font-size:17px; font-weight:600; line-height:1.3; margin:0 0 4px; color:var(--soft); }
.answer { font-size:25px; line-height:1.3; font-weight:600; margin:0 0 14px; max-width:60ch; }
h2 { font-size:20px; font-weight:600; line-height:1.3; margin:44px 0 6px; padding-top:14px;
  border-top:1px solid var(--line); }
h3 { font-size:14px; margin:20px 0 4px; }
h1, h3, td, th, figcaption, summary, .rule, .told span, .answer { unicode-bidi:isolate; }
p.lead, p.note { color:var(--soft); margin:0 0 14px; max-width:92ch; }
p.note, figcaption { font-size:13px; }
figure { margin:0 0 12px; } figcaption { color:var(--soft); max-width:92ch; } .phone { display:none; }
nav { font-size:13px; margin:14px 0 22px; line-height:2; }
nav a { display:inline-block; color:var(--soft); margin-right:14px; text-decoration:none; line-height:1.6;
  border-bottom:1px solid var(--line); }
.box { border-left:4px solid var(--line); padding:2px 0 2px 16px; margin:16px 0; }
.box h3 { margin-top:2px; }
.found { border-color:var(--good); } .found h3 { color:var(--good); }
.caution { border-color:var(--warn); } .caution h3 { color:var(--warn); }
.told { list-style:none; padding:0; margin:6px 0 0; }
.told li { display:grid; grid-template-columns:130px 1fr; gap:12px; padding:5px 0; font-size:14px;
  border-bottom:1px solid var(--wash); }
.told .rule { font-size:12px; color:var(--soft); padding-top:2px; }
.told div > span { display:block; }
table { border-collapse:collapse; font-size:13px; font-variant-numeric:tabular-nums; margin:8px 0;
  overflow-wrap:break-word; }
th { text-align:left; font-weight:600; padding:4px 12px 4px 0; vertical-align:bottom; }
thead th { border-bottom:1.5px solid var(--ink); white-space:nowrap; }
td { border-bottom:1px solid var(--line); padding:5px 12px 5px 0; vertical-align:top; }
td.n, th.n { text-align:right; white-space:nowrap; } tfoot td { font-weight:600; border-bottom:0; }
th, td { max-width:460px; } td:not(.n) { min-width:44px; }
th button { font:inherit; color:inherit; background:none; border:0; padding:0; cursor:pointer; text-align:inherit; }
th button::after { content:" \\2195"; color:var(--grey); font-weight:400; }
th[aria-sort=ascending] button::after { content:" \\2191"; color:var(--blue); }
th[aria-sort=descending] button::after { content:" \\2193"; color:var(--blue); }
section#trials .wide { max-height:460px; overflow:auto; }
section#trials thead th { position:sticky; top:0; background:var(--paper); }
table.heat td { padding:7px 12px; min-width:92px; border:2px solid var(--paper); border-radius:4px; }
table.heat th { padding:4px 10px 4px 0; vertical-align:middle; }
table.heat td b { font-size:15px; font-weight:600; } .sub { color:var(--soft); font-size:12px; display:block; }
table.heat td .sub { color:inherit; }
.wide, .scroll { overflow-x:auto; background:  /* a shadow at the right edge while there is more to scroll to */
  linear-gradient(to left, var(--paper) 45%, transparent) right / 48px 100% no-repeat local,
  linear-gradient(to left, var(--line), transparent) right / 18px 100% no-repeat scroll; }
:focus-visible { outline:2px solid var(--blue); outline-offset:2px; }
.charts { display:flex; flex-wrap:wrap; gap:14px 18px; margin:10px 0; }
svg { display:block; max-width:100%; height:auto; overflow:visible; }
svg text { font:11px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; fill:var(--soft); }
svg text.title { font-weight:600; fill:var(--ink); } svg text.label { fill:var(--ink); }
svg text.tick { font-size:10px; paint-order:stroke; stroke:var(--paper); stroke-width:3px; stroke-linejoin:round; }
svg .grid { stroke:var(--line); stroke-width:.6; fill:none; } svg .axis { stroke:var(--grey); fill:none; }
svg .dot { fill:var(--grey); opacity:.6; } svg .star { fill:var(--star); } svg .mean { fill:var(--blue); }
svg .again { stroke:var(--blue); stroke-width:2.4; fill:none; }
svg .best { stroke:var(--blue); stroke-width:1.8; fill:none; }
svg .thin { stroke:var(--grey); stroke-width:.7; fill:none; opacity:.5; }
svg .cut { stroke:var(--star); stroke-width:.7; fill:none; opacity:.45; }
svg .base { stroke:var(--warn); stroke-width:1.6; stroke-dasharray:4 2; fill:none; }
svg .bar { fill:var(--blue); } svg .pale { fill:var(--pale); } svg .none { fill:var(--grey); opacity:.5; }
svg .area { fill:var(--blue); } svg .ring { fill:var(--paper); stroke:var(--ink); stroke-width:.8; }
svg .way { fill:none; stroke:var(--blue); }
svg .way.q1 { opacity:.95; stroke-width:1.3; } svg .way.q2 { opacity:.4; stroke-width:.8; }
svg .way.q3 { opacity:.25; stroke-width:.7; } svg .way.q4 { opacity:.16; stroke-width:.7; }
svg .way.q5 { opacity:.1; stroke-width:.7; }
svg circle.lit { fill:var(--star); stroke:var(--ink); stroke-width:1.2; opacity:1; }
svg path.lit { stroke:var(--star); stroke-width:2.6; opacity:1; } tr.lit td { background:var(--wash); }
#tip { position:fixed; z-index:2; max-width:min(340px, 92vw); padding:7px 10px; border-radius:4px; font-size:12px;
  color:var(--ink); background:var(--paper); border:1px solid var(--grey); pointer-events:none; }
#tip dl { display:grid; grid-template-columns:auto 1fr; gap:0 10px; margin:3px 0 0; }
#tip dt { color:var(--soft); } #tip dd { margin:0; }
code, pre { font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace; }
pre { background:var(--wash); padding:9px 12px; border-radius:4px; white-space:pre-wrap; margin:4px 0 10px; }
details { margin:8px 0; } summary { cursor:pointer; font-size:13px; color:var(--soft); }
footer { margin-top:52px; padding-top:14px; border-top:1px solid var(--line); color:var(--soft); font-size:12px; }
@media (max-width:640px) { main { padding:18px 16px 40px; } .told li { grid-template-columns:1fr; gap:0; }
  .answer { font-size:20px; } .charts { display:block; } .charts svg { margin:0 auto 18px; width:100%;
  max-width:430px; }
  .desk { display:none; } .phone { display:block; } .phone svg { width:100%; }
  .wide th, .wide td { max-width:45vw; } .wide thead th { white-space:normal; }
  .wide td:last-child:not(.n) { min-width:130px; } .scroll svg { max-width:none; width:auto; } }
@media print { body { font-size:11px; } main { padding:0; max-width:none; }
  nav, #tip, th button::after { display:none; }
  .desk { display:block; } .phone { display:none; } .wide, .scroll, section#trials .wide { overflow:visible;
  max-height:none; background:none; } section#trials thead th { position:static; }
  details::details-content { display:block; content-visibility:visible; block-size:auto; opacity:1; }
  table.heat td { print-color-adjust:exact; -webkit-print-color-adjust:exact; }
  h2, h3 { break-after:avoid; } svg, tr, .box li, pre { break-inside:avoid; } }
"""
)
