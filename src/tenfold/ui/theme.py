"""Colors and the style sheet of every page: one palette for light, one for dark."""

from collections.abc import Mapping
from types import MappingProxyType

LIGHT: Mapping[str, str] = MappingProxyType(
    {
        "page": "#f5f7fa",
        "card": "#ffffff",
        "line": "#dfe3ea",
        "text": "#14171c",
        "muted": "#56606e",
        "ok": "#137245",
        "warn": "#8a5a00",
        "bad": "#b3211f",
        "info": "#1f5fc0",
        "none": "#56606e",
        "ok-soft": "#e2f4e9",
        "warn-soft": "#fdf0cd",
        "bad-soft": "#fde4e3",
        "info-soft": "#e1ecfb",
        "none-soft": "#eceff4",
        "bar": "#aeb5c0",
        "heat-0": "#edf0f5",
        "heat-1": "#cfe0f5",
        "heat-2": "#f5d489",
        "heat-3": "#e58e48",
        "heat-4": "#ad2622",
        "heat-dot": "#ffffff",
        "series-0": "#1f5fc0",
        "series-1": "#b3211f",
        "series-2": "#137245",
        "series-3": "#8a5a00",
        "series-4": "#7440b8",
        "series-5": "#56606e",
    }
)
"""Colors on a light page; also what a chart falls back to outside of a page."""

DARK: Mapping[str, str] = MappingProxyType(
    {
        "page": "#0f1217",
        "card": "#171b22",
        "line": "#2b313b",
        "text": "#e8ebf0",
        "muted": "#a0a9b6",
        "ok": "#55c98b",
        "warn": "#e6b450",
        "bad": "#ff8a80",
        "info": "#7fb0ff",
        "none": "#a0a9b6",
        "ok-soft": "#14301f",
        "warn-soft": "#33280d",
        "bad-soft": "#3b1917",
        "info-soft": "#16294a",
        "none-soft": "#242a33",
        "bar": "#5b6573",
        "heat-0": "#222832",
        "heat-1": "#2c4a72",
        "heat-2": "#b58a2c",
        "heat-3": "#dd7a33",
        "heat-4": "#f0524b",
        "heat-dot": "#0f1217",
        "series-0": "#7fb0ff",
        "series-1": "#ff8a80",
        "series-2": "#55c98b",
        "series-3": "#e6b450",
        "series-4": "#c39bff",
        "series-5": "#a0a9b6",
    }
)
"""Colors on a dark page."""

_TEXT = 'color:var(--text);font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif'
_SHEET = """
*{box-sizing:border-box}
header,main,footer{max-width:76rem;margin:0 auto;padding:0 1.25rem}
header{padding-top:1.75rem;padding-bottom:1.1rem}
h1{font-size:1.5rem;line-height:1.25;margin:0;letter-spacing:-.01em}
h2{font-size:.95rem;line-height:1.4;margin:0}
.subtitle{margin:.3rem 0 0;color:var(--muted)}
main{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:1rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.15rem 1.1rem;min-width:0}
.wide{grid-column:1/-1}
.top{display:flex;flex-wrap:wrap;justify-content:space-between;align-items:baseline;gap:.1rem 1rem;margin-bottom:.8rem}
.note,footer{color:var(--muted);font-size:.82rem}
footer{padding-top:1rem;padding-bottom:2rem;overflow-wrap:anywhere}
p{margin:.5rem 0}
.scroll{overflow-x:auto;background:linear-gradient(90deg,var(--card) 35%,transparent) 0 0/2.5rem 100% no-repeat local,
linear-gradient(270deg,var(--card) 35%,transparent) 100% 0/2.5rem 100% no-repeat local,
linear-gradient(90deg,var(--line),transparent) 0 0/.8rem 100% no-repeat scroll,
linear-gradient(270deg,var(--line),transparent) 100% 0/.8rem 100% no-repeat scroll}
.scroll:focus-visible{outline:2px solid var(--info);outline-offset:3px;border-radius:4px}
svg{display:block;font-family:inherit}
table{border-collapse:collapse;width:100%;font-size:.9rem;font-variant-numeric:tabular-nums}
th,td{padding:.45rem .9rem .45rem 0;text-align:left;vertical-align:middle;border-bottom:1px solid var(--line)}
th:last-child,td:last-child{padding-right:0}
tbody tr:last-child>*{border-bottom:0}
thead th{font-weight:500;color:var(--muted);font-size:.82rem;white-space:nowrap}
tbody th{font-weight:600;white-space:nowrap}
.r{text-align:right;white-space:nowrap}.c{text-align:center}
td:not(.r){min-width:6.5rem}.far,.long{min-width:12rem;white-space:normal;overflow-wrap:anywhere}.long{min-width:17rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;margin:0}
.tile{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:.7rem .95rem .75rem}
.card .tile{padding:.1rem 0 .1rem .8rem;border-width:0 0 0 3px;border-radius:0;background:none}
.tile dt{color:var(--muted);font-size:.82rem}
.tile dd{margin:0}
.tile .value{font-size:1.45rem;font-weight:650;line-height:1.35;letter-spacing:-.01em;font-variant-numeric:tabular-nums}
.tile .say{font-size:.82rem;color:var(--muted)}
.badge{display:inline-block;padding:.05rem .6rem;border-radius:1rem;font-size:.82rem;font-weight:600;white-space:nowrap}
.ok{color:var(--ok)!important}.warn{color:var(--warn)!important}.bad{color:var(--bad)!important}.info{color:var(--info)!important}
.badge.ok{background:var(--ok-soft)}.badge.warn{background:var(--warn-soft)}.badge.bad{background:var(--bad-soft)}
.badge.info{background:var(--info-soft)}.badge.none{background:var(--none-soft);color:var(--none)}
summary{cursor:pointer;color:var(--info);font-size:.9rem;width:fit-content}
details{margin-top:.7rem}
details[open]>summary{margin-bottom:.5rem}
code,pre{font:.82rem/1.45 ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
pre{margin:.5rem 0 0;padding:.7rem .9rem;background:var(--none-soft);border-radius:8px;overflow-x:auto;white-space:pre-wrap}
ul.plain,ol.plain{margin:0;padding-left:1.2rem}ul.plain{list-style:none;padding-left:0}
.plain li+li{margin-top:.45rem}
figure{margin:1rem 0 0}figure img{max-width:100%;background:#fff;border-radius:6px}figcaption{color:var(--muted);font-size:.82rem}
.sr{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media(max-width:64rem){main{grid-template-columns:minmax(0,1fr)}}
@media(max-width:30rem){header,main,footer{padding-left:.75rem;padding-right:.75rem}
.card{padding:.85rem .85rem .9rem}h1{font-size:1.25rem}.tiles{grid-template-columns:repeat(2,minmax(0,1fr));gap:.5rem}
.tile{padding:.55rem .7rem}.tile .value{font-size:1.2rem}th,td{padding-right:.7rem}}
@media print{body{background:none}.card,.tile{break-inside:avoid}}
"""


def color(name: str) -> str:
    """Return a palette color for an attribute: the page's variable, or the light color where there is no page.

    Examples
    --------
    >>> color("ok")
    'var(--ok,#137245)'
    """
    return f"var(--{name},{LIGHT[name]})"


_DARK_NOTEBOOK = '[data-jp-theme-light="false"] .tenfold,.vscode-dark .tenfold,[data-theme="dark"] .tenfold'
"""Where a notebook (JupyterLab, VS Code, marimo) says that it is dark; what the system prefers it may not follow."""


def part_sheet() -> str:
    """Return the style sheet of a part of somebody else's page, nested so that it reaches nothing outside of the part."""
    light, dark = _variables()
    return f".tenfold{{{light}{_TEXT};{_SHEET}}}{_DARK_NOTEBOOK}{{{dark}}}"


def _variables() -> list[str]:
    return ["".join(f"--{name}:{value};" for name, value in palette.items()) for palette in (LIGHT, DARK)]


def style_sheet() -> str:
    """Return the style sheet of a page."""
    light, dark = _variables()
    return f":root{{color-scheme:light dark;{light}}}@media(prefers-color-scheme:dark){{:root{{{dark}}}}}body{{margin:0;background:var(--page);{_TEXT}}}{_SHEET}"
