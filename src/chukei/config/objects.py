"""Reads ``[objects]``."""

from chukei.config.reader import Reader
from chukei.config.sections import read_section
from chukei.config.settings import ObjectSettings
from chukei.config.upstreams import SIMULATED_MODEL, ServedModels
from chukei.request.object_routes import FAMILIES, USUAL_FAMILIES


def read_objects(table: Reader, served: ServedModels) -> ObjectSettings:
    """Read which objects are served, and note mistakes. On the simulator everything is, with its first model."""
    model = table.string("model")
    if model is None and served.simulated:
        model = served.default_model or SIMULATED_MODEL
    usual = FAMILIES if served.simulated else USUAL_FAMILIES
    objects = read_section(table, ObjectSettings, model=model, serve=table.strings("serve", usual if model else ()))
    if model is None and objects.serve:
        table.notice("model", "is not set, so nothing that objects.serve names is served")
    elif model is not None and served.models and served.open is None and model not in served.models:
        table.problem("model", f"{model!r} is not a model of this configuration")
    for name in objects.serve:
        if name not in FAMILIES:
            table.problem("serve", f"{name!r} is none of {', '.join(FAMILIES)}")
    return objects
