"""The skeleton and style that all pages share: one file, no script, no request to any server."""

import html

STYLE = """
:root { color-scheme: light dark; --page: #f6f7f8; --card: #fff; --ink: #1b2430; --soft: #586474;
  --line: #dfe3e8; --blue: #145a96; --orange: #b4490a; --green: #00745a; --full: #fff;
  --mid: var(--ink); --alarm: #a4161a }
@media screen and (prefers-color-scheme: dark) { :root { --page: #12161b; --card: #1a2027;
  --ink: #e6eaef; --soft: #9eabb9; --line: #303a45; --blue: #6db3f2; --orange: #f39a5f;
  --green: #5ccba9; --full: #10151a; --mid: #10151a; --alarm: #c1272d } }
* { box-sizing: border-box }
body { font: 1rem/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; margin: 0;
  background: var(--page); color: var(--ink); font-variant-numeric: tabular-nums }
main { max-width: 70rem; margin: 0 auto; padding: 2rem 1.25rem 3rem }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em;
  overflow-wrap: anywhere }
h2 { font-size: 1.12rem; line-height: 1.3; margin: 0 0 .3rem }
p { margin: 0 0 .8rem } p.note, figcaption, .soft { color: var(--soft); font-size: .875rem }
p.note { max-width: 46rem }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .7rem;
  padding: 1.25rem; margin: 1rem 0; break-inside: avoid }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
  gap: 1rem; align-items: stretch } .pair > .card { margin: 0 } .pair { margin: 1rem 0 }
.banner { background: var(--alarm); color: #fff; border-radius: .7rem; padding: 1rem 1.25rem;
  margin: 1rem 0; font-weight: 600; print-color-adjust: exact } .banner b { font-size: 1.3rem }
.error { color: var(--orange); font-weight: 600 }
.scroll { overflow-x: auto } figure { margin: 0 } svg { display: block; width: 100%; height: auto }
table { border-collapse: collapse; width: 100% } td, th { padding: .45rem .7rem .45rem 0;
  border-bottom: 1px solid var(--line); text-align: left; vertical-align: top }
th { font-size: .8rem; font-weight: 600; color: var(--soft) } tr:last-child td { border-bottom: 0 }
details { margin-top: .8rem } summary { cursor: pointer; color: var(--soft); font-size: .875rem }
footer { color: var(--soft); font-size: .875rem; margin-top: 1.5rem }
@media (max-width: 40rem) { main { padding: 1.25rem .9rem 2rem } .card { padding: 1rem .9rem } }
@media print { :root { --page: #fff; color-scheme: light; font-size: 70% }
  main { padding: 0; max-width: none } svg, .card { print-color-adjust: exact }
  .card { break-inside: auto } .chart, figure, tr, .tile { break-inside: avoid }
  .pair { grid-template-columns: 1fr 1fr }
  details::details-content { content-visibility: visible; block-size: auto } }
"""


POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'"
)
"""Content security policy: nothing is fetched, and no script runs, whatever text is on a page."""


def page(title: str, body: str, style: str = "") -> str:
    """A whole HTML page.

    Args:
        title: plain text, escaped here.
        body: HTML.
        style: further CSS.
    """
    return (
        f"<!doctype html>\n<html lang='en'><head><meta charset='utf-8'>"
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<link rel='icon' href='data:,'><title>{html.escape(title)}</title>"
        f"<style>{STYLE}{style}</style></head>\n<body><main>{body}</main></body></html>\n"
    )
