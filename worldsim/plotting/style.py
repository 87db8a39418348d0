"""The look of charts, pictures and HTML reports: colours, matplotlib settings, and one style sheet, light and dark."""

# Text and axes. In SVG this colour becomes ``currentColor``: charts take the text colour of the page around them.
INK = "#1c2430"
PAPER, FAINT = "#fafaf8", "#cdcdc8"
# Colours of curves and branches, readable on light and dark, distinct for colour-blind readers (Okabe and Ito).
CURVES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#968200", "#56b4e9", "#e69f00", "#7f7f7f")
MARKED = "#009e73"

# On top of matplotlib's defaults, whatever the user's own settings are.
CHART_STYLE = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK + "80",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "grid.color": INK,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.8,
    "xtick.color": INK + "80",
    "ytick.color": INK + "80",
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "legend.handlelength": 1.2,
    "legend.columnspacing": 1.4,
    # A dollar sign in a name is a dollar sign.
    "text.parse_math": False,
}

STYLE = """
:root { color-scheme: light dark; --ink: light-dark(#1c2430, #e4e8ee); --soft: light-dark(#5b6675, #9aa5b4);
        --back: light-dark(#fff, #14181e); --line: light-dark(#d8dee6, #303842);
        --bad: light-dark(#b3261e, #ff8a80); --warn: light-dark(#8a5a00, #ffca66);
        --good: light-dark(#1b6e3a, #7fd49b) }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1200px; margin: 2rem auto; padding: 0 1rem; color: var(--ink);
       background: var(--back) }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2.2rem; border-bottom: 1px solid var(--line) }
h3 { font-size: 1rem; margin-bottom: .3rem }
table { border-collapse: collapse } td, th { padding: .25rem .8rem .25rem 0; text-align: left; vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.failure { color: var(--bad); font-weight: 600 } .warning { color: var(--warn) } .note, .soft { color: var(--soft) }
.good { color: var(--good); font-weight: 600 }
img { max-width: 100%; image-rendering: pixelated } figure { margin: .6rem 0 } figcaption { color: var(--soft) }
svg { width: 100%; max-width: 640px; color: var(--ink) }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem } .charts > div { flex: 1 1 26rem }
video { width: 100%; max-width: 620px; image-rendering: pixelated }
"""
# Of charts that are SVG files of their own, which are seen without the page's style sheet.
SVG_STYLE = (
    "svg { color: #1c2430; background: #fff } "
    "@media (prefers-color-scheme: dark) { svg { color: #e4e8ee; background: #14181e } }"
)


def curve_colour(number: int) -> str:
    """The colour of a curve as ``#rrggbb``; colours repeat after the last."""
    return CURVES[number % len(CURVES)]


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue (0 to 255) of ``#rrggbb``."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
