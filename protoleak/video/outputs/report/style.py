"""What the report of a video looks like, besides what all reports have in common."""

from __future__ import annotations

from protoleak.video.outputs.verdict_style import LOOKS

_LIGHT = " ".join(f"--{answer}: {look.light};" for answer, look in LOOKS.items())
_DARK = " ".join(f"--{answer}: {look.dark};" for answer, look in LOOKS.items())
_BADGES = "\n".join(f".badge.{answer} {{ color: var(--{answer}); }}" for answer in LOOKS)

STYLE = f"""
:root {{ {_LIGHT} }}
@media screen and (prefers-color-scheme: dark) {{ :root {{ {_DARK} }} }}
h4 {{ font-size: .95rem; margin: 1.3rem 0 .3rem; }}
.badge {{ display: inline-block; border: 1.5px solid currentColor; border-radius: 1em; padding: 0 .7em;
          font-size: .85em; font-weight: 600; line-height: 1.7; white-space: nowrap; vertical-align: middle;
          max-width: 100%; overflow: hidden; text-overflow: ellipsis; }}
{_BADGES}
.answers {{ display: flex; flex-wrap: wrap; gap: .5rem 1rem; padding: 0; margin: .8rem 0; list-style: none; }}
.track {{ border: 1px solid var(--faint); border-radius: 10px; padding: .2rem 1.2rem 1rem; margin: 1.2rem 0; }}
.track h3 {{ display: flex; flex-wrap: wrap; align-items: center; gap: .3rem .7rem; margin: 1rem 0 .2rem;
             font-size: 1.1rem; }}
.track > p {{ max-width: 80ch; margin: .5rem 0; }}
.faces {{ display: flex; flex-wrap: wrap; gap: 1rem; margin: .8rem 0; }}
figure {{ margin: 0; width: 160px; }}
figure img {{ border-radius: 6px; display: block; background: var(--faint); }}
figcaption {{ font-size: 12px; line-height: 1.4; color: var(--weak); margin-top: .3rem; }}
.plot-title {{ font-size: 14px; color: var(--weak); }}
td.hash {{ font: 11px/1.4 ui-monospace, monospace; white-space: normal; overflow-wrap: anywhere; min-width: 15rem;
           text-align: left; }}
.plain {{ background: var(--raised); border-radius: 8px; padding: .6rem 1.1rem; margin: 1rem 0; }}
.plain p {{ margin: .4rem 0; max-width: 85ch; }}
a {{ color: inherit; }}
@media print {{ .track {{ border: 0; border-top: 1px solid var(--faint); border-radius: 0; padding: 0; }}
                td.hash {{ font-size: 8px; overflow-wrap: anywhere; }} }}
"""
