"""Models and deployments: ``[deployments]``, ``[models]`` and ``[defaults]``, or the environment."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, get_args

from chukei.azure import ALL_V1, V1
from chukei.config.bounds import Seconds, Whole
from chukei.config.endpoints import clean_endpoint, is_project, scope_of
from chukei.config.model_facts import OF_WHAT_IS_TOLD
from chukei.config.parameters import PARAMETERS
from chukei.config.prices import read_prices
from chukei.config.reader import Document, Problem, Reader, closest
from chukei.config.sections import read_section
from chukei.config.settings import CredentialSettings
from chukei.model import Api, Deployment, Model

SIMULATED_MODEL = "chat"
"""The default model on the simulator."""

DEPLOYMENT_NAME = re.compile(r"[\w.-]{1,128}", re.ASCII)
"""The form of a deployment's name on its resource."""

MODEL_NAME = re.compile(r"[\w.:/@ -]{1,128}")
"""The form of a model's name."""

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(-preview)?", re.ASCII)
_DEPLOYMENT = ("AZURE_OPENAI_DEPLOYMENT", "AZURE_OPENAI_DEPLOYMENT_NAME")
_CHAT_DEPLOYMENT = ("AZURE_OPENAI_CHAT_DEPLOYMENT", "AZURE_OPENAI_CHAT_DEPLOYMENT_NAME")
_API_VERSION = ("AZURE_OPENAI_API_VERSION", "OPENAI_API_VERSION")


@dataclass(slots=True)
class ServedModels:
    """The models that the configuration serves; see Settings for the fields."""

    models: dict[str, Model] = field(default_factory=dict)
    credentials: dict[str, CredentialSettings] = field(default_factory=dict)
    default_model: str | None = None
    open: Deployment | None = None
    simulated: bool = False
    notices: list[str] = field(default_factory=list)


def read_upstreams(root: Reader, document: Document, *, plain_http: bool) -> ServedModels:
    """Read ``[deployments]``, ``[models]`` and ``[defaults]``, else the environment, else choose the simulator."""
    served = ServedModels()
    defaults = root.table("defaults")
    default_model = defaults.string("model")
    defaults.done()
    deployments = {}
    for name, table in root.tables("deployments"):
        deployment, credential = _deployment(name, table, plain_http=plain_http)
        deployments[name] = deployment
        served.credentials[name] = credential
    for name, table in root.tables("models"):
        if model := _model(name, table, deployments):
            served.models[name] = model
    if not deployments:
        _read_environment(served, document, plain_http=plain_http)
        served.default_model = default_model or served.default_model
        return served
    _check(served, root, default_model, deployments, document)
    return served


def _check(
    served: ServedModels,
    root: Reader,
    default_model: str | None,
    deployments: Mapping[str, Deployment],
    document: Document,
) -> None:
    """Check models and deployments together. If there are no models, each deployment is a model of the same name."""
    used = {deployment.name for model in served.models.values() for deployment in model.deployments}
    if not served.models:
        served.models = {name: Model(name, (deployment,)) for name, deployment in deployments.items()}
    else:
        served.notices += [f"deployment {name} serves no model" for name in deployments if name not in used]
    for model in served.models.values():
        if not any(deployment.weight for deployment in model.deployments):
            document.problem(
                ("models", model.name, "deployments"), "have weight 0, all of them, so that none is chosen"
            )
    _check_groups(deployments, document)
    if default_model is not None and default_model not in served.models:
        document.problem(
            ("defaults", "model"),
            f"names {default_model!r}, which is not one of the models: {', '.join(served.models)}",
        )
    served.default_model = default_model or (next(iter(served.models)) if len(served.models) == 1 else None)


def _check_groups(deployments: Mapping[str, Deployment], document: Document) -> None:
    """Refuse two entries for the same deployment with different quota groups."""
    quotas: dict[str, Deployment] = {}
    for name, deployment in deployments.items():
        other = quotas.setdefault(deployment.identity, deployment)
        if other.quota_group != deployment.quota_group:
            message = f"differs from that of {other.name}, which is the same deployment on the same resource"
            document.problem(("deployments", name, "quota_group"), message)


def _deployment(name: str, table: Reader, *, plain_http: bool) -> tuple[Deployment, CredentialSettings]:
    given = table.string("endpoint")
    if given is None and not table.has("endpoint"):
        table.problem("endpoint", "is missing; write the resource's address, https://NAME.openai.azure.com")
    api: Api = "anthropic" if table.string("api", choices=get_args(Api)) == "anthropic" else "openai"
    endpoint, fault = clean_endpoint(given or "https://missing.invalid", plain_http=plain_http, api=api)
    if fault:
        table.problem("endpoint", fault)
    version = table.string("api_version")
    if version is not None and not _is_version(version):
        table.problem("api_version", f'{version!r} is not a version; write "v1", or a dated one such as "2024-10-21"')
    elif version is not None and api == "anthropic":
        table.problem("api_version", 'has no meaning with api = "anthropic"; remove it')
    elif fault is None and is_project(endpoint):
        if version is not None and version not in ALL_V1:
            table.problem("api_version", 'must be "v1" for a project, which does not have the classic API')
        version = version or V1
    credential = _credential(table, scope_of(endpoint, api))
    deployment = read_section(
        table,
        Deployment,
        name=name,
        endpoint=endpoint,
        deployment=table.string("deployment") or name,
        api_version=version,
        api=api,
        priority=Whole(0, 1000),
        weight=Whole(0, 1_000_000),
        max_concurrent=Whole(1, 1_000_000),
        spillover=_spillover,
    )
    return deployment, credential


def _is_version(text: str) -> bool:
    """Whether a text is an api-version: ``v1``, one of its previews, or a date, perhaps with ``-preview``."""
    if text in ALL_V1:
        return True
    if not _VERSION.fullmatch(text):
        return False
    try:
        return bool(date.fromisoformat(text[:10]))
    except ValueError:
        return False


def _spillover(table: Reader) -> str | None:
    name = table.string("spillover")
    if name is not None and not DEPLOYMENT_NAME.fullmatch(name):
        table.problem("spillover", f"{name!r} is not the name of a deployment on the same resource")
    return name


def _credential(table: Reader, usual_scope: str) -> CredentialSettings:
    key = table.secret("api_key")
    identity = table.boolean("identity", False)
    scope = table.string("scope")
    client_id = table.string("client_id")
    if identity and table.has("api_key"):
        table.problem("identity", "is true although api_key is set; keep one of the two")
    elif not identity and not table.has("api_key"):
        table.problem("api_key", 'is missing; write api_key = { env = "NAME" }, or identity = true for Entra ID')
    if not identity and (scope or client_id):
        table.problem("scope" if scope else "client_id", "only means something together with identity = true")
    return CredentialSettings(api_key=key, scope=(scope or usual_scope) if identity else None, client_id=client_id)


def _model(name: str, table: Reader, deployments: Mapping[str, Deployment]) -> Model | None:
    names = table.strings("deployments")
    if not table.has("deployments"):
        table.problem("deployments", 'is missing; write deployments = ["NAME"] with a name from [deployments.NAME]')
    elif not names:
        table.problem("deployments", "is empty, so that nothing serves this model")
    for wanted in names:
        if wanted not in deployments:
            table.problem("deployments", f"names {wanted!r}, but there is no [deployments.{wanted}]")
    if len(set(names)) != len(names):
        table.problem("deployments", "names one deployment twice; use weight to give it more")
    if not MODEL_NAME.fullmatch(name):
        table.problem("deployments", "the model's name has characters that clients could not send in a path")
    images, batches = table.strings("image_deployments"), table.string("batch_deployment")
    for key, given in (*(("image_deployments", each) for each in images), ("batch_deployment", batches)):
        if given is not None and not DEPLOYMENT_NAME.fullmatch(given):
            table.problem(key, f"{given!r} is not the name of a deployment on the same resource")
    if len({deployments[wanted].api for wanted in names if wanted in deployments}) > 1:
        table.problem("deployments", "have different APIs, so no request could go to all of them")
    found = sorted((deployments[wanted] for wanted in names if wanted in deployments), key=lambda item: item.priority)
    model = read_section(
        table,
        Model,
        name=name,
        deployments=tuple(found),
        parameters=read_parameters,
        caps=read_caps,
        prices=lambda table: read_prices(table.table("prices")),
        first_token_seconds=Seconds(),
        image_deployments=images,
        batch_deployment=batches,
        **OF_WHAT_IS_TOLD,
    )
    return model if found else None


def read_parameters(table: Reader) -> dict[str, Any]:
    """Read default values of request parameters, for clients that do not set them."""
    parameters = table.mapping("parameters")
    for key in {"model", "messages", "input", "prompt", "stream", "stream_options"} & set(parameters):
        table.problem("parameters", f"must not hold {key}, which is the client's or the relay's to set")
    for key, value in parameters.items():
        if not _has_json(value):
            table.problem("parameters", f"holds a date, nan or inf in {key}, which a request cannot carry as JSON")
        if key not in PARAMETERS:
            close = closest(key, PARAMETERS)
            table.notice(
                f"parameters.{key}", f"is no parameter of OpenAI's APIs{f'; did you mean {close}?' if close else ''}"
            )
    return parameters


def _has_json(value: object) -> bool:
    """Whether a value of TOML, which has dates and numbers that are none, can be written as JSON."""
    if isinstance(value, dict):
        return all(map(_has_json, value.values()))
    if isinstance(value, list):
        return all(map(_has_json, value))
    return value is None or isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def read_caps(table: Reader) -> dict[str, int | float]:
    """Read the highest values of request parameters that a client may set."""
    caps = table.mapping("caps")
    for key, value in caps.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            table.problem("caps", f"{key} must be a number that is not negative")
    return caps


def _read_environment(served: ServedModels, document: Document, *, plain_http: bool) -> None:
    """Read the one resource that AZURE_OPENAI_… variables name, or choose the simulator."""
    environment = document.environment
    if served.models or "models" in document.tables:
        document.problem(("models",), "are set without any deployment; add [deployments.NAME] tables for them")
        return
    given = environment.get("AZURE_OPENAI_ENDPOINT", "").strip()
    if not given:
        for name in ("AZURE_OPENAI_API_KEY", "AZURE_OPENAI_AD_TOKEN"):
            if environment.get(name):
                document.problems.append(Problem(name, "", "is set without AZURE_OPENAI_ENDPOINT; set that as well"))
        served.simulated = True
        served.default_model = SIMULATED_MODEL
        return
    endpoint, fault = clean_endpoint(given, plain_http=plain_http)
    if fault:
        document.problems.append(Problem("AZURE_OPENAI_ENDPOINT", "", fault))
    version = _first(environment, _API_VERSION)
    if version is not None and not _is_version(version):
        document.problems.append(Problem(_API_VERSION[0], "", f"{version!r} is not a version such as 2024-10-21 or v1"))
    default = _first(environment, _CHAT_DEPLOYMENT) or _first(environment, _DEPLOYMENT)
    if version not in ALL_V1 and is_project(endpoint):
        version = V1
    served.open = Deployment("azure", endpoint, default or "", api_version=version)
    served.default_model = default
    if default is not None:
        served.models = {default: Model(default, (served.open,))}
    served.credentials = {"azure": _environment_credential(document, endpoint)}


def _environment_credential(document: Document, endpoint: str) -> CredentialSettings:
    extra = {
        key: {"env": name}
        for key, name in (("api_key", "AZURE_OPENAI_API_KEY"), ("token", "AZURE_OPENAI_AD_TOKEN"))
        if name in document.environment
    }
    reader = Reader(document, extra, ())
    key, token = reader.secret("api_key"), reader.secret("token")
    if extra:
        return CredentialSettings(api_key=key, token=None if key else token)
    return CredentialSettings(scope=scope_of(endpoint), client_id=document.environment.get("AZURE_CLIENT_ID"))


def _first(environment: Mapping[str, str], names: tuple[str, ...]) -> str | None:
    for name in names:
        if value := environment.get(name, "").strip():
            return value
    return None
