"""A view to show: the example of the API's description, changed as a test needs it."""

from typing import Any

from msgspec import structs

from chukei.admin.live_example import LIVE
from chukei.liveview.schema import CallerNow, DeploymentNow, FailedRequest, Live

HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eevil\r\nnext\x00<img src=x onerror=alert(1)>"
"""A name that would set the title, erase the screen, turn the text around and end the line."""


def view(**fields: Any) -> Live:
    """Return a view that no other test shares."""
    return structs.replace(LIVE, **fields)


def deployment(name: str = "east", **fields: Any) -> DeploymentNow:
    """Return a deployment of a view."""
    return structs.replace(LIVE.deployments[0], deployment=name, **fields)


def caller(name: str, **fields: Any) -> CallerNow:
    """Return a caller of a view."""
    return structs.replace(LIVE.callers[0], caller=name, **fields)


def failure(**fields: Any) -> FailedRequest:
    """Return a failed request of a view."""
    return structs.replace(LIVE.failures[0], **fields)


def hostile() -> Live:
    """Return a view in which every text that comes from outside is hostile."""
    bad = failure(request_id=HOSTILE, caller=HOSTILE, deployment=HOSTILE, code=HOSTILE, model=HOSTILE)
    finding = structs.replace(LIVE.verdict, text=HOSTILE, subject=HOSTILE)
    return view(
        verdict=finding,
        findings=[finding, finding],
        deployments=[deployment(HOSTILE, models=[HOSTILE], why=HOSTILE, codes={HOSTILE: 3})],
        callers=[caller(HOSTILE)],
        reasons=[structs.replace(LIVE.reasons[0], code=HOSTILE, last=bad)],
        failures=[bad],
    )
