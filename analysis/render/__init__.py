"""How figures are shown: pages, charts, terminal."""
