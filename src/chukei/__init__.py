"""chukei: a streaming relay between clients and Azure OpenAI."""

__version__ = "0.1.0"
