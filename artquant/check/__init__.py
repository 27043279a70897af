"""Looking for broken records and pictures before a run."""
