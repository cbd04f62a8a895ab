"""The style sheet of the report: light, dark and print, a desk and a phone."""

STYLE = """
:root { color-scheme:light dark; --paper:#fff; --ink:#1f2328; --soft:#57606a; --grey:#8c959f; --line:#d8dee4;
  --wash:#f3f5f7; --good:#116329; --warn:#7d4e00; --blue:#0b62b0; --pale:#c4d4e4; --star:#c2410c; }
@media (prefers-color-scheme:dark) { :root { --paper:#14181d; --ink:#e6e9ec; --soft:#a3acb6; --grey:#7d8894;
  --line:#3a424b; --wash:#20262d; --good:#56c271; --warn:#e0a84f; --blue:#6cb2f5; --pale:#35516b; --star:#ff9d5c; } }
@media print { :root { color-scheme:light; --paper:#fff; --ink:#1f2328; --soft:#57606a; --grey:#8c959f; --line:#d8dee4;
  --wash:#f3f5f7; --good:#116329; --warn:#7d4e00; --blue:#0b62b0; --pale:#c4d4e4; --star:#c2410c; } }
* { box-sizing:border-box; }
body { margin:0; color:var(--ink); background:var(--paper);
  font:15px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; }
main { max-width:1060px; margin:0 auto; padding:40px 28px 60px; }
h1 { font:600 29px/1.2 Georgia,"Times New Roman",serif; margin:0 0 6px; overflow-wrap:anywhere; }
h2 { font:600 20px/1.3 Georgia,"Times New Roman",serif; margin:44px 0 6px; padding-top:14px;
  border-top:1px solid var(--line); }
h3 { font-size:14px; margin:20px 0 4px; overflow-wrap:anywhere; }
p.lead, p.note { color:var(--soft); margin:0 0 14px; max-width:92ch; }
p.note { font-size:13px; }
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
.told .rule { font-size:12px; color:var(--soft); padding-top:2px; overflow-wrap:anywhere; }
.told div > span { display:block; } .told span, .told code { overflow-wrap:anywhere; }
table { border-collapse:collapse; font-size:13px; font-variant-numeric:tabular-nums; margin:8px 0; }
th { text-align:left; font-weight:600; padding:4px 12px 4px 0; vertical-align:bottom; }
tr:first-child > th { border-bottom:1.5px solid var(--ink); white-space:nowrap; }
td { border-bottom:1px solid var(--line); padding:5px 12px 5px 0; vertical-align:top; }
td.n, th.n { text-align:right; white-space:nowrap; }
table.heat td { padding:7px 12px; min-width:92px; border:2px solid var(--paper); border-radius:4px; }
table.heat th { padding:4px 10px 4px 0; vertical-align:middle; }
th, td { max-width:460px; overflow-wrap:break-word; }
table.heat td b { font-size:15px; font-weight:600; } .sub { color:var(--soft); font-size:12px; display:block; }
table.heat td .sub { color:inherit; opacity:.82; }
.wide, .scroll { overflow-x:auto; background:  /* a shadow at the right edge while there is more to scroll to */
  linear-gradient(to left, var(--paper) 45%, transparent) right / 48px 100% no-repeat local,
  linear-gradient(to left, var(--line), transparent) right / 18px 100% no-repeat scroll; }
.charts { display:flex; flex-wrap:wrap; gap:14px 18px; margin:10px 0; }
svg { display:block; max-width:100%; height:auto; overflow:visible; }
svg text { font:11px system-ui,-apple-system,"Segoe UI",Roboto,sans-serif; fill:var(--soft); }
svg text.title { font-weight:600; fill:var(--ink); } svg text.label { fill:var(--ink); }
svg text.tick { font-size:10px; paint-order:stroke; stroke:var(--paper); stroke-width:3px; stroke-linejoin:round; }
svg .grid { stroke:var(--line); stroke-width:.6; fill:none; } svg .axis { stroke:var(--grey); fill:none; }
svg .dot { fill:var(--grey); opacity:.6; } svg .star { fill:var(--star); }
svg .best { stroke:var(--blue); stroke-width:1.8; fill:none; }
svg .thin { stroke:var(--grey); stroke-width:.7; fill:none; opacity:.5; }
svg .cut { stroke:var(--star); stroke-width:.7; fill:none; opacity:.45; }
svg .base { stroke:var(--warn); stroke-width:1.2; stroke-dasharray:5 4; fill:none; }
svg .bar { fill:var(--blue); } svg .pale { fill:var(--pale); } svg .none { fill:var(--grey); opacity:.5; }
svg .area { fill:var(--blue); } svg .ring { fill:var(--paper); stroke:var(--ink); stroke-width:.8; }
svg .way { fill:none; stroke:var(--blue); }
svg .way.q1 { opacity:.95; stroke-width:1.3; } svg .way.q2 { opacity:.4; stroke-width:.8; }
svg .way.q3 { opacity:.25; stroke-width:.7; } svg .way.q4 { opacity:.16; stroke-width:.7; }
svg .way.q5 { opacity:.1; stroke-width:.7; }
code, pre { font:12px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace; }
pre { background:var(--wash); padding:9px 12px; border-radius:4px; white-space:pre-wrap; overflow-wrap:anywhere;
  margin:4px 0 10px; }
details { margin:8px 0; } summary { cursor:pointer; font-size:13px; color:var(--soft); }
footer { margin-top:52px; padding-top:14px; border-top:1px solid var(--line); color:var(--soft); font-size:12px;
  overflow-wrap:anywhere; }
@media (max-width:640px) { main { padding:22px 16px; } .told li { grid-template-columns:1fr; gap:0; }
  h1 { font-size:24px; } .charts { display:block; } .charts svg { margin:0 auto 18px; width:100%; max-width:430px; }
  .wide th, .wide td { max-width:45vw; } .wide tr:first-child > th { white-space:normal; }
  .wide td:last-child:not(.n) { min-width:230px; } .scroll svg { max-width:none; width:auto; } }
@media print { body { font-size:11px; } main { padding:0; max-width:none; } nav { display:none; }
  h2, h3 { break-after:avoid; } svg, tr, .box li, pre { break-inside:avoid; } }
"""
