"""Any network that transformers loads by `AutoModelForImageTextToText`, by one set of rules for all of them.

What differs between them is asked of transformers: the chat form is the folder's template, inputs are what the folder's
processor makes, parts are found by the network's own getters.
"""

from artquant.models.auto.family import TESTED, AutoFamily
from artquant.models.auto.processing import AutoChatProcessor, load_processor
from artquant.models.auto.tiny import TinySettings, write_tiny

__all__ = ["TESTED", "AutoChatProcessor", "AutoFamily", "TinySettings", "load_processor", "write_tiny"]
