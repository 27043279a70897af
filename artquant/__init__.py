"""ArtQuant: judging the aesthetics of artistic images with a multimodal language model."""

__version__ = "0.1.0"
