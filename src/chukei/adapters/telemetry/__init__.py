"""Traces and metrics for OpenTelemetry and Azure Monitor, made from finished records; nothing of it runs for an event.

genai      the names of the conventions for generative AI, by version
spans      a record as spans
protobuf   spans in the format of OTLP, written without the SDK
exporters  OTLP over HTTP, and Azure Monitor
batches    a bounded queue and the thread that empties it
telemetry  all of it together: the hook, the start and the end
"""
