"""chukei (中継, "relay"): a streaming relay between clients and Azure OpenAI.

The packages follow the path of a request:

    hosts      adapt a platform's request to Incoming and Reply: the relay's own server, ASGI, Azure Functions
    gateway    the path of one request from its first byte to its last; read it first
    request    parsing of the head, the route and the body
    callers    authentication
    accounts   quotas, estimates, settlement, the ledger
    upstream   requests to deployments, with failover, until the answer begins; pool balances the load
    objects    what resources keep under an id: whose it is, where it is, and what goes on in the background
    stream     processing of the answer's bytes

Around them:

    azure, errors, model, ports, record, trace, usage    types that all of them share
    adapters   HTTP client, WebSockets, Redis, databases, credentials, logs
    admin      the admin API
    config     settings: read once, validated as a whole
    wiring     a relay from settings, and from changed settings
    cli, configuring,
    ledger_commands, doctor         the command line
    simulator  a simulated Azure OpenAI resource; imports no other module of the package

docs/architecture.md defines which package may import which.
"""

__version__ = "0.1.0"
