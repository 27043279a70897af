"""Any network that transformers loads by `AutoModelForImageTextToText`, by one set of rules for all of them.

What differs between them is asked of transformers: the chat form is the folder's template, inputs are what the folder's
processor makes, parts are found by the network's own getters.
"""

from artquant.models.auto.family import AutoFamily
from artquant.models.auto.processing import AutoChatProcessor
from artquant.models.auto.tiny_settings import TESTED, TinySettings, Transformer

__all__ = ["TESTED", "AutoChatProcessor", "AutoFamily", "TinySettings", "Transformer"]
