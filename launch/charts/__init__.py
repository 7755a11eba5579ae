"""Charts as SVG, for pages and as files: axes, a chart, line charts, pictures of several."""
