"""transformers' common tests of processors, on mPLUG-Owl2's."""

import shutil
import tempfile
import unittest
from pathlib import Path

from suite import mixin

from artquant.models.mplug_owl2 import MPLUGOwl2Processor, register_auto_classes

ProcessorTesterMixin = mixin("test_processing_common", "ProcessorTesterMixin")


class ProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    """A processor of 4 positions a picture."""

    processor_class = MPLUGOwl2Processor

    @classmethod
    def setUpClass(cls):
        register_auto_classes()
        cls.model_id = str(cls.write_base())
        super().setUpClass()

    @classmethod
    def tearDownClass(cls):
        super().tearDownClass()
        shutil.rmtree(cls.base_parent)

    @classmethod
    def write_base(cls) -> Path:
        from golden import write_base

        cls.base_parent = tempfile.mkdtemp()
        return write_base(Path(cls.base_parent) / "base")

    @staticmethod
    def prepare_processor_dict():
        return {"image_sequence_length": 4}
