"""LiteLLM's settings of logs, callbacks and traces, as the relay's log, metrics and telemetry."""

from chukei.configuring.import_draft import Draft
from chukei.configuring.import_source import Node
from chukei.configuring.litellm_reasons import GENERAL, LITELLM
from chukei.configuring.report import Variable

_SAME = "the relay does so by default"


def json_logs(draft: Draft, node: Node) -> None:
    """``json_logs``."""
    if node.flag:
        draft.set(("log",), "format", "json", f"from {node.path}")
    draft.report.mapped(node, "log.format", "JSON lines" if node.flag else _SAME)


def verbose(draft: Draft, node: Node) -> None:
    """``set_verbose``."""
    if node.flag:
        draft.set(("log",), "level", "debug", f"from {node.path}")
        draft.report.approximated(node, "log.level", "the relay's debug level never shows content")
    else:
        draft.report.mapped(node, "log.level", _SAME)


def no_content(draft: Draft, node: Node) -> None:
    """``turn_off_message_logging`` and its like; ``message_logging`` says the opposite."""
    wanted = node.flag if node.path.endswith("message_logging") and "turn_off" not in node.path else node.flag is False
    if wanted:
        draft.report.dropped(node, GENERAL["store_prompts_in_spend_logs"])
    else:
        draft.report.mapped(node, "log", "no log, trace or metric of the relay holds prompts or answers")


def no_names(draft: Draft, node: Node) -> None:
    """``redact_user_api_key_info``."""
    if node.flag is False:
        draft.set(("telemetry",), "callers", True, f"from {node.path}")
    draft.report.mapped(node, "telemetry.callers", "spans name callers only if this is true")


def no_telemetry(draft: Draft, node: Node) -> None:
    """``telemetry``: LiteLLM's reports about itself."""
    draft.report.mapped(node, None, "the relay sends nothing about itself to anybody")


def callbacks(draft: Draft, node: Node) -> None:
    """``callbacks``, ``success_callback``, ``failure_callback`` and ``service_callback``."""
    for each in node.items or [node]:
        name = each.text or ""
        if name in {"prometheus", "prometheus_system"}:
            draft.report.mapped(each, "metrics", "/metrics is on; metrics.api_key opens it to other machines")
        elif name in {"otel", "opentelemetry"}:
            draft.report.extras.add("otel")
            meaning = "the collector's address for OTLP over HTTP; LiteLLM has it in OTEL_ENDPOINT"
            draft.report.need(Variable("OTEL_EXPORTER_OTLP_ENDPOINT", meaning, '"$OTEL_ENDPOINT"'))
            message = "traces and metrics go to a collector, over HTTP only"
            draft.report.approximated(each, "telemetry.endpoint", message)
        else:
            draft.report.rest_dropped(each, LITELLM["audit_log_callbacks"])
