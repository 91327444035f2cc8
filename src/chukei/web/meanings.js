/**
 * What an error code means to a reader of the chat: many codes of operators share one sentence here.
 * The sentences are in words/failures.js, as `error.MEANING`, with what to do as `error.MEANING.do`.
 */

/**
 * The codes of each meaning: the relay's, as docs/errors.md lists them, then those of Azure OpenAI and of
 * the Responses API. What is not a reader's to mend is said in general; the code itself is in the details.
 */
export const CODES = {
  access: ["invalid_api_key"],
  key_ended: ["key_expired", "key_revoked", "token_expired"],
  lockout: ["too_many_failures"],
  not_permitted: ["missing_permission", "not_allowed", "service_tier_not_allowed", "PermissionDenied", "forbidden"],
  model_not_permitted: ["model_not_allowed"],
  address: ["origin_not_allowed", "unknown_host"],
  busy: ["rate_limit_exceeded", "too_many_unknown_ids", "too_many_requests", "RateLimitReached", "tokens", "requests"],
  model_busy: [
    ...["all_deployments_busy", "stateful_deployment_busy", "no_capacity", "NoCapacity"],
    ...["engine_overloaded", "overloaded_error", "server_is_overloaded"],
  ],
  relay_busy: ["relay_busy"],
  quota: ["insufficient_quota", "quota_exceeded", "billing_hard_limit_reached"],
  above_limit: ["request_exceeds_limit"],
  too_long: ["context_length_exceeded", "string_above_max_length", "model_max_prompt_tokens_exceeded"],
  too_large: ["request_too_large", "headers_too_large", "image_too_large", "image_file_too_large"],
  picture: [
    ...["invalid_image", "invalid_image_format", "invalid_base64_image", "invalid_image_url", "invalid_image_mode"],
    ...["image_too_small", "image_parse_error", "unsupported_image_media_type", "empty_image_file"],
    ...["failed_to_download_image", "image_file_not_found"],
  ],
  content_filter: [
    ...["content_filter", "ResponsibleAIPolicyViolation", "content_policy_violation"],
    ...["image_content_policy_violation", "invalid_prompt"],
  ],
  no_model: ["model_not_found", "missing_model", "invalid_model", "DeploymentNotFound"],
  no_chat: ["wrong_api", "not_a_stream", "OperationNotSupported"],
  setting: [
    ...["invalid_value", "unsupported_parameter", "unsupported_value"],
    ...["integer_above_max_value", "integer_below_min_value", "decimal_above_max_value", "decimal_below_min_value"],
  ],
  refused: [
    ...["invalid_json", "invalid_type", "missing_messages", "duplicate_field", "too_many_fields", "ambiguous_field"],
    ...["too_many_references", "unknown_parameter", "missing_required_parameter", "invalid_request_error"],
    ...["invalid_request", "BadRequest"],
  ],
  gone: [
    ...["previous_response_not_found", "conversation_not_found", "item_not_found", "file_not_found"],
    ...["vector_store_not_found", "container_not_found", "object_not_found", "object_elsewhere"],
    ...["object_resource_gone", "invalid_encrypted_content"],
  ],
  garbled: [
    ...["invalid_http", "ambiguous_request", "ambiguous_credentials", "unsupported_media_type"],
    ...["unsupported_content_encoding", "invalid_content_encoding", "invalid_query", "invalid_api_version"],
  ],
  mismatch: ["unknown_route", "route_not_served", "method_not_allowed"],
  upload: ["request_timeout"],
  restart: ["server_shutdown"],
  relay_part: [
    ...["objects_unavailable", "keys_unavailable", "identity_unavailable", "quota_unavailable"],
    ...["ledger_unavailable", "ledger_full"],
  ],
  relay_fault: ["internal_error", "misconfigured"],
  unreachable: ["connect_error", "connect_timeout", "tls_error", "tls_unverified"],
  relay_not_let_in: ["upstream_identity_unavailable", "upstream_unauthorized", "upstream_forbidden"],
  no_deployment: ["no_deployment_available"],
  no_answer: [
    ...["unexpected_answer", "unexpected_content_type", "unexpected_encoding", "unexpected_status"],
    ...["unexpected_redirect", "event_too_large"],
  ],
  lost: ["upstream_lost"],
  cut: ["stream_incomplete"],
  timeout: ["upstream_timeout", "Timeout", "timeout", "RequestTimeout", "GatewayTimeout", "vector_store_timeout"],
  service_fault: [
    ...["upstream_error", "server_error", "internal_server_error", "InternalServerError"],
    ...["service_unavailable", "ServiceUnavailable"],
  ],
};

/** What a status means where the code says no more than the status. @type {Record<string, string>} */
const STATUSES = {
  401: "access",
  403: "not_permitted",
  404: "no_model",
  408: "timeout",
  413: "too_large",
  429: "busy",
  500: "service_fault",
  502: "service_fault",
  503: "service_fault",
  504: "timeout",
};

/** Sentences that are too general to stand without the service's own words. */
const GENERAL = new Set(["setting", "refused"]);

/** @type {Map<string, string>} */
const BY_CODE = new Map(Object.entries(CODES).flatMap(([meaning, codes]) => codes.map((code) => [code, meaning])));

/**
 * @param {{code?: string, status?: number}} failure
 * @returns {string | null} null where neither the code nor the status is known well enough
 */
export function meaningOf({ code, status }) {
  const known = BY_CODE.get(code ?? "");
  if (known !== undefined) return known;
  const saysNoMore = code === undefined || /^(upstream_)?\d{3}$/.test(code);
  return (saysNoMore && STATUSES[status ?? ""]) || null;
}

/**
 * Whether the service's own words are needed beside the sentence.
 * @param {string | null} meaning
 */
export function needsOwnWords(meaning) {
  return meaning === null || GENERAL.has(meaning);
}
