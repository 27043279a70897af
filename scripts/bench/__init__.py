"""How fast artquant is, as ratios within one run: `python -m scripts.bench --help`."""
