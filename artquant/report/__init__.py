"""One HTML page on predictions: figures with intervals, charts, and the pictures behind them."""
