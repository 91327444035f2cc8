"""chukei (中継, "relay"): a streaming relay between clients and Azure OpenAI.

The packages are the path of a request, in the order in which it meets them:

    hosts      a platform's request becomes an Incoming and a Reply: our server, ASGI, Azure Functions
    gateway    the path of one request, from its first byte to its last; read this first
    request    what came: head, route, body
    callers    who calls
    accounts   what the caller may use, and what it used
    upstream   whom to ask, and how, until the answer begins; pool chooses among the deployments
    stream     the bytes of the answer

Around them:

    azure, errors, model, ports, record, usage    the words that all of them share
    adapters   the outside world: HTTP client, Redis, databases, credentials, logs
    admin      what administrators ask over HTTP
    config     settings: read once, checked as a whole
    app        the one place that wires
    cli, ledger_commands, doctor    the command line
    simulator  an Azure OpenAI resource on a laptop; imports nothing of the rest

docs/architecture.md says who may import whom.
"""

__version__ = "0.1.0"
