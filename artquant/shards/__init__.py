"""Collections: a plan cuts a list into shards, workers score them one after the other, a merge proves the count."""
