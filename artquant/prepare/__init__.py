"""Published annotation files (APDDv2, BAID, AVA, KonIQ, JSON lists, spreadsheets) -> training and test files.

Readers (`importers`) yield `Annotation`s, `scale` puts their scores on the scale of the rating words, `split` divides
them, `write` makes the prepared folder and `card` describes it.
"""
