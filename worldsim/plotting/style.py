"""How reports look: one style sheet for all HTML pages, light and dark."""

STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1c2430, #e4e8ee); --soft: light-dark(#5b6675, #9aa5b4);
        --back: light-dark(#fff, #14181e); --line: light-dark(#d8dee6, #303842); --bar: light-dark(#3b76c4, #6ea3e6);
        --bad: light-dark(#b3261e, #ff8a80); --warn: light-dark(#8a5a00, #ffca66);
        --good: light-dark(#1b6e3a, #7fd49b) }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
       background: var(--back) }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line) }
h3 { font-size: 1rem; margin-bottom: .3rem }
table { border-collapse: collapse } td, th { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
.failure { color: var(--bad); font-weight: 600 } .warning { color: var(--warn) } .note, .soft { color: var(--soft) }
.good { color: var(--good); font-weight: 600 }
img { max-width: 100%; image-rendering: pixelated } figure { margin: .6rem 0 } figcaption { color: var(--soft) }
svg { width: 100%; max-width: 640px; font-size: 12px } svg text { fill: var(--ink) } svg rect { fill: var(--bar) }
svg rect.marked { fill: var(--good) } svg line { stroke: var(--soft) }
svg circle { fill: var(--bar) }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem } .charts > div { flex: 1 1 26rem }
svg polyline { fill: none; stroke-width: 2 } svg polygon { opacity: .16; stroke: none }
video { width: 100%; max-width: 620px; image-rendering: pixelated }
"""
# The same for charts that stand alone as one SVG file: such a file is seen without the page's variables.
SVG_STYLE = """
text { font-family: system-ui, "DejaVu Sans", Arial, sans-serif; font-size: 12px; fill: #1c2430 }
line { stroke: #5b6675 } circle { fill: #3b76c4 }
polyline { fill: none; stroke-width: 2 } .back { fill: #fff } .head { font-size: 14px; font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e8ee } line { stroke: #9aa5b4 } circle { fill: #6ea3e6 } .back { fill: #14181e } }
"""
# Colours of curves, readable on light and dark, told apart by people who see few colours (Okabe and Ito).
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
