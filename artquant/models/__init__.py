"""Networks, their files and their families.

Importing it makes the networks that are our own known to transformers' Auto classes.
"""

from artquant.models import families as families
