"""From records to batches: samples, their order, and what the network takes."""
