"""Pictures, records, score distributions and batches."""
