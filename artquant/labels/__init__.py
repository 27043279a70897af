"""Rating scales, true scores and distributions over rating words."""
