"""A simulator of Azure OpenAI: streams like it, answers pleasantly, and fails on demand.

    simulator   start, stop, and who answers a request     chat, responses, completions, media: the operations
    operations  the paths and what answers each            answers, prose, schemas: what the model says
    server      connections, parsing, sending              faults, injection: failures on demand
    exchanges   a request, its reply, the record of it     azure: what Azure puts around a model's words

It imports nothing else of chukei, so that it checks the relay independently.
"""

from chukei.simulator.exchanges import Exchange
from chukei.simulator.settings import SimulatorSettings
from chukei.simulator.simulator import Simulator, serve

__all__ = ["Exchange", "Simulator", "SimulatorSettings", "serve"]
