"""chukei on Azure Functions. Everything is configured through app settings: see docs/deploy-functions.md.

One HTTP function takes every path and method; the worker indexes the `app` object below.
"""

from chukei.hosts.functions import create

app = create()
