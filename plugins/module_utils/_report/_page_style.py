# Copyright: the mapswipe.walg contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page's style sheet: dark and light by what the reader prefers, phone to wide, and for paper."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#f4f5f8;--card:#fff;--ink:#1b2330;--dim:#5a6576;--line:#dde1e8;--soft:#eef0f4;--ok:#1a7f37;
--warning:#8a5a00;
--no:#c21f2e;--unknown:#6b3fc4;--band:#2f6fd6;--code:#f0f2f6;--okb:#e3f4e8;--warningb:#fbf0d6;--nob:#fde5e6;--unknownb:#eee7fb}
@media (prefers-color-scheme:dark){:root{--bg:#0f141b;--card:#171e28;--ink:#e5eaf1;--dim:#9aa6b6;--line:#2b3543;--soft:#1f2835;
--ok:#4fc06f;
--warning:#e0ab45;--no:#ff7a80;--unknown:#b79bf5;--band:#5b95ee;--code:#111822;--okb:#15301f;--warningb:#33280f;--nob:#3b191d;
--unknownb:#2a2046}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
-webkit-text-size-adjust:100%}
.page{max-width:1240px;margin:0 auto;padding:20px 16px 48px}
h1{font-size:1.5rem;line-height:1.2;margin:0}h2{font-size:1.12rem;margin:0;overflow-wrap:anywhere}h3{font-size:.8rem;margin:0 0 8px;
color:var(--dim);font-weight:600;text-transform:uppercase;letter-spacing:.05em}
p{margin:0}a{color:inherit;text-underline-offset:2px}
header .made{color:var(--dim);margin-top:4px}
.stale{margin-top:12px;padding:10px 14px;border:2px solid var(--unknown);border-radius:8px;background:var(--unknownb);font-weight:600}
.counts{display:flex;flex-wrap:wrap;gap:8px;margin:16px 0;padding:0;list-style:none}
.counts li{display:flex;align-items:center;gap:8px;padding:6px 12px;border-radius:999px;background:var(--card);
border:1px solid var(--line)}
.light{width:1.25em;height:1.25em;flex:none;vertical-align:-.25em;fill:currentColor}
symbol .in{stroke:var(--card);fill:none;stroke-width:2.6;stroke-linecap:round;stroke-linejoin:round}
.ok{color:var(--ok)}.warning{color:var(--warning)}.no,.critical{color:var(--no)}.unknown{color:var(--unknown)}.info{color:var(--dim)}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;margin-top:16px;overflow:hidden}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.9rem}
th,td{text-align:left;padding:7px 12px;border-top:1px solid var(--line);vertical-align:top;white-space:nowrap}
thead th{border-top:0;color:var(--dim);font-weight:600;font-size:.8rem}
td.n,th.n{text-align:right}td.w{white-space:normal;min-width:15em;overflow-wrap:anywhere}td.name,.mono{font-family:ui-monospace,
"DejaVu Sans Mono",monospace;font-size:.82em}
td.delta{padding-left:28px}
.instance>summary{display:flex;gap:12px;align-items:flex-start;padding:16px 18px;cursor:pointer;list-style:none;
border-left:6px solid currentColor}
.instance>summary::-webkit-details-marker{display:none}
.instance>summary .light{width:2em;height:2em}
.instance>summary .head{flex:1;min-width:0}
.instance>summary .head *{color:var(--ink)}
.instance>summary .head .word{color:inherit;font-weight:700}
.instance>summary .until{color:var(--dim)!important;overflow-wrap:anywhere}
.instance>summary::after{content:"\\25B8";color:var(--dim);font-size:1.1em}
.instance[open]>summary::after{content:"\\25BE"}
.in>section{padding:14px 18px;border-top:1px solid var(--line)}
summary:focus-visible,.bar:focus-visible,input:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid var(--band);
outline-offset:2px}
.reasons{list-style:none;margin:0;padding:0;display:grid;gap:8px}
.reasons li{display:grid;grid-template-columns:6.6em 1fr;gap:12px;padding:8px 12px;border-radius:8px;background:var(--soft)}
.reasons .level{font-weight:700;font-size:.85rem}
.reasons .what{color:var(--ink);overflow-wrap:anywhere;min-width:0}
.reasons .todo{color:var(--dim)}.reasons .todo::before{content:"What to do: ";font-weight:600}
.reasons li.critical{background:var(--nob)}.reasons li.warning{background:var(--warningb)}.reasons li.unknown{
background:var(--unknownb)}
.bar{position:relative;height:38px;border-radius:6px;overflow:hidden;border:1px solid var(--line);touch-action:manipulation;
background:repeating-linear-gradient(-45deg,var(--soft) 0 5px,var(--line) 5px 7px)}
.js .bar{cursor:crosshair}
.band{position:absolute;top:0;bottom:0;background:var(--band);min-width:2px}
.bar svg{position:absolute;inset:0;width:100%;height:100%}
.bar svg path{stroke:var(--card);stroke-width:1.2;vector-effect:non-scaling-stroke;opacity:.75}
.cursor{position:absolute;top:0;bottom:0;width:3px;margin-left:-1.5px;background:var(--ink);box-shadow:0 0 0 1.5px var(--card)}
.axis{display:flex;justify-content:space-between;color:var(--dim);font-size:.8rem;margin-top:4px;font-variant-numeric:tabular-nums}
.key{display:flex;flex-wrap:wrap;gap:4px 18px;color:var(--dim);font-size:.82rem;margin-top:6px}
.key i{display:inline-block;width:20px;height:11px;border-radius:2px;margin-right:6px;vertical-align:-1px;border:1px solid var(--line)}
.key .b{background:var(--band)}.key .h{background:repeating-linear-gradient(-45deg,var(--soft) 0 3px,var(--line) 3px 5px)}
.key .t{background:linear-gradient(90deg,var(--band) 9px,var(--card) 9px 11px,var(--band) 11px)}
.holes{margin:8px 0 0;padding-left:20px;font-size:.9rem;overflow-wrap:anywhere}
.choose{display:flex;flex-wrap:wrap;gap:8px 12px;align-items:center;margin-top:12px}
.choose[hidden]{display:none}
.choose input,.choose button,.copy{font:inherit;color:inherit;background:var(--card);border:1px solid var(--dim);border-radius:6px;
padding:5px 9px;
min-height:36px;max-width:100%}
.choose button,.copy{cursor:pointer}
.said{flex-basis:100%;font-weight:600}
.type{display:flex;gap:8px;align-items:flex-start;margin-top:8px}
.copy[hidden]{display:none}
pre{margin:0;flex:1;min-width:0;padding:10px 12px;background:var(--code);border:1px solid var(--line);border-radius:8px;
white-space:pre-wrap;
overflow-wrap:anywhere;font:.84rem/1.5 ui-monospace,"DejaVu Sans Mono",monospace}
.facts{display:grid;grid-template-columns:repeat(auto-fill,minmax(170px,1fr));gap:12px}
.fact{background:var(--soft);border-radius:8px;padding:9px 12px;min-width:0}
.fact b{display:block;font-size:1.06rem;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}.fact span{color:var(--dim);
font-size:.84rem;overflow-wrap:anywhere}
.fact .level{font-weight:700;font-size:.84rem}
.meter{display:block;height:6px;margin:5px 0 2px;border-radius:3px;background:var(--line);overflow:hidden}
.fact .meter{color:inherit}.meter i{display:block;height:100%;background:currentColor}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(260px,1fr));gap:16px}
.chart{min-width:0}.chart svg{display:block;width:100%;height:84px;background:var(--soft);border-radius:6px}
.chart path{fill:var(--band)}.chart .title{display:flex;flex-wrap:wrap;justify-content:space-between;gap:0 8px;font-size:.86rem;
margin-bottom:4px}
.chart .title span{color:var(--dim)}
.more>summary{cursor:pointer;padding:8px 0;color:var(--dim)}
.runs{display:grid;gap:6px}
.strip{display:flex;align-items:center;gap:10px;min-width:0}.strip>.info{font-size:.85rem}.strip b{flex:0 0 4.5em;font-weight:600}
.strip .cells{display:flex;flex-wrap:wrap;gap:2px;min-width:0}
.cell{width:12px;height:18px;border-radius:2px;background:var(--ok);display:inline-block}
.cell.warning{background:var(--warning);height:14px;margin-top:4px}.cell.no{background:var(--no);
box-shadow:inset 0 0 0 3px var(--card),0 0 0 2px var(--no);margin:0 2px}
.cell.unknown{background:none;border:2px dashed var(--unknown)}
footer{color:var(--dim);font-size:.85rem;margin-top:24px}
@media (max-width:640px){.page{padding:14px 10px 40px}.reasons li{grid-template-columns:1fr;gap:2px}.axis span:nth-child(even){
display:none}
.in>section,.instance>summary{padding:12px}.type{flex-direction:column}.type pre{width:100%}.strip{align-items:flex-start}
td.w{min-width:0}.stacked thead{display:none}.stacked tr{display:block;padding:8px 0;border-top:1px solid var(--line)}
.stacked td{display:inline-block;border:0;padding:0 10px 0 0;white-space:normal;min-width:0;overflow-wrap:anywhere;vertical-align:baseline}
.stacked td:first-child,.stacked td:last-child{display:block}.stacked td.delta{padding-left:14px}.stacked td.n{text-align:left}
.stacked td::before{color:var(--dim)}.backups td:nth-child(4)::before{content:"age "}.backups td:nth-child(5)::before{content:"took "}
.backups td:nth-child(6)::before{content:"stored "}.backups td:nth-child(7)::before{content:"restored "}
.ends td:first-child{font-weight:700}.ends td:nth-child(3)::before{content:"took "}.ends td:nth-child(4)::before{content:"exit code "}
.overview thead{display:none}.overview tr{display:block;padding:8px 12px;border-top:1px solid var(--line)}.overview td{display:inline;
border:0;
padding:0 10px 0 0;white-space:normal}.overview td:first-child,.overview td.w{display:block}.overview td[data-k]::before{
content:attr(data-k) " ";color:var(--dim)}}
@media print{:root{--bg:#fff;--card:#fff;--ink:#000;--dim:#444;--line:#bbb;--soft:#f3f3f3;--ok:#1a7f37;--warning:#8a5a00;--no:#c21f2e;
--unknown:#6b3fc4;
--band:#2f6fd6;--code:#fff;--okb:#fff;--warningb:#fff;--nob:#fff;--unknownb:#fff}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}html{font-size:11px}body{font-size:11px}table{font-size:10px}
td.name{overflow-wrap:anywhere}.page{max-width:none;padding:0}.choose,.copy,
.instance>summary::after{display:none!important}.card{break-inside:auto;border-radius:0}.reasons li,.fact,tr,.chart{break-inside:avoid}
.scroll{overflow:visible}td,th{padding:3px 6px}td.name,td.w,td:last-child{white-space:normal}h2,h3,summary{break-after:avoid}}
@media (prefers-reduced-motion:no-preference){html{scroll-behavior:smooth}}
"""
