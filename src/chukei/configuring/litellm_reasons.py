"""Why keys of LiteLLM's file have no counterpart, by section.

The keys are those of LiteLLM 1.108 (November 2026): its documented settings, the fields of its configuration classes,
and what published files contain. A key that stands nowhere is reported as unknown.
"""

from collections.abc import Mapping

UNSERVED_MODES = frozenset(
    "batch guardrail moderation ocr realtime rerank search vector_store video_generation".split()  # noqa: SIM905
)
"""Modes of LiteLLM's entries that name APIs which the relay does not serve."""

_DATABASE = "teams, users and keys live in LiteLLM's database; make keys anew: chukei keys create"
_DESCRIBES = "describes the model to LiteLLM only"
_ROUTING = "LiteLLM's routing; the relay's is the same for all requests: docs/balancing.md"
_OTHERS = "is for another provider"
_TESTS = "answers in place of a model; the relay has a simulator: chukei simulate"
_LOGS = "the relay calls no code and no service of yours; it has a log line, metrics and traces: docs/telemetry.md"
_LIMITS_OF_KEYS = "limits belong to callers and groups: docs/quotas.md"
_RETRIES = "the relay counts attempts for all deployments: pool.attempts"
_REWRITES = "the relay passes requests on as they are"
_DROPS = "the relay needs no such setting: it leaves out a parameter that a deployment refuses, and remembers that"
_NO_HEADERS = "the relay adds no headers of yours to requests for Azure"
_NO_PROBES = "the relay sends no probes; real requests are the trials"
_CONTENT = "the relay has no guardrails; Azure's content filter answers, and the audit can record: docs/logs.md"
_NO_TOOLS = "the relay calls no tools and stores no documents; clients do"
_NOT_SERVED = "the relay does not serve this API"
_NO_CACHE = "the relay caches no answers; Azure caches prompts, and the relay keeps to the deployment that has them"
_UI = "the relay's page for administrators has no such setting: docs/administration.md"
_VAULT = "the relay reads secrets from variables and files; mount the vault's as files: docs/configuration.md#secrets"
_WRITES = "the relay writes its ledger in batches by itself: docs/quotas.md#the-ledger"
_ALERTS = "the relay sends no alerts; Prometheus does, by its rules: docs/metrics.md#dashboard-and-alerts"
_SIGN_IN = "sign-in differs: [auth.entra] accepts Entra ID tokens, docs/access.md#entra-id"
_PROXIED = "the relay believes no header about who calls: docs/access.md"
_BUDGETS = "budgets are by calendar month and in [groups] and [callers]: docs/quotas.md"
_TLS = "certificates are always verified; name a private authority in upstream.ca_file"
_FINE = "the relay has one way of doing this"
_DATABASE_LINK = "the relay's ledger has its own schema and connections"
_FILES = "files are not followed: put what they hold into one file, and import that"


def table_of(*rows: tuple[str, str]) -> Mapping[str, str]:
    """Return the reasons by key, from rows of a reason and its keys.

    Raises:
        ValueError: a key stands in two rows.
    """
    found: dict[str, str] = {}
    for reason, keys in rows:
        for key in keys.split():
            if found.setdefault(key, reason) is not reason:
                raise ValueError(f"{key} has two reasons")
    return found


ENTRY = table_of((_ROUTING, "tpm rpm weight order tags"), (_DESCRIBES, "model_alias description"))
"""Keys of an entry of ``model_list``, beside ``litellm_params``."""

PARAMS = table_of(
    (_DROPS, "drop_params additional_drop_params allowed_openai_params"),
    (_RETRIES, "max_retries num_retries"),
    (_NO_HEADERS, "extra_headers headers forward_client_headers_to_llm_api"),
    ("the relay adds nothing of yours to the address of a request", "extra_query"),
    (_TESTS, "mock_response mock_timeout mock_tool_calls mock_delay"),
    (
        _ROUTING,
        "tags tag_regex itpm otpm cooldown_time region_name provider_affinity_header timeout_by_service_tier "
        "stream_timeout_by_service_tier weight rpm tpm order fallbacks context_window_fallbacks",
    ),
    (_LIMITS_OF_KEYS, "default_api_key_tpm_limit default_api_key_rpm_limit max_budget budget_duration"),
    (_LOGS, "metadata litellm_trace_id success_callback failure_callback callbacks no-log turn_off_message_logging"),
    (_REWRITES, "merge_reasoning_content_in_choices modify_params cache_control_injection_points prompt_id thinking"),
    (_CONTENT, "guardrails"),
    (_NO_CACHE, "cache caching cache_params ttl"),
    (_TLS, "ssl_verify ssl_certificate client_cert"),
    (_NOT_SERVED, "use_in_pass_through vector_store_id vector_store_ids max_file_size_mb"),
    (
        _OTHERS,
        "organization vertex_project vertex_location vertex_credentials aws_access_key_id aws_secret_access_key "
        "aws_region_name keep_alive num_ctx think project hf_model_name",
    ),
    (
        _FINE,
        "configurable_clientside_auth_params keepalive_seconds allow_client_keepalive_override model_info "
        "use_litellm_proxy use_chat_completions_api custom_prompt_dict http2 enable_json_schema_validation",
    ),
    ("requests in flight must be a whole number from 1 to 1000000 here", "max_parallel_requests"),
    ("adds nothing to a request that is not said elsewhere", "extra_body"),
)
"""Keys of ``litellm_params``."""

INFO = table_of(
    (
        _DESCRIBES,
        "base_model max_tokens max_input_tokens max_output_tokens max_completion_tokens description tier version key "
        "litellm_provider output_vector_size context_window knowledge_cutoff owned_by provider_specific_entry "
        "created_at created_by updated_at updated_by db_model metadata display_name tags reasoning_effort_levels "
        "default_reasoning_effort capabilities use_openai_responses_path",
    ),
    ("the client's route decides which API is used", "mode supported_endpoints"),
    (_DATABASE, "team_id team_public_model_name access_groups access_via_team_ids member_auto_router"),
    (_ROUTING, "tpm rpm weight order allowed_fails allowed_fails_policy supported_environments blocked discoverable"),
    (_NO_PROBES, "health_check_timeout health_check_model disable_background_health_check health_check_voice"),
    (
        "the relay counts what tokens cost, not what capacity costs",
        "ptu_count cost_per_ptu_per_hour ptu_effective_from ptu_effective_to ptu_shares",
    ),
    ("who may use a model, and when, is not in the relay's models but in [groups] and [callers]", "access_windows"),
)
"""Keys of ``model_info``; those that begin with ``supports_`` describe the model too."""

LITELLM = table_of(
    (_DROPS, "drop_params"),
    (_REWRITES, "modify_params add_function_to_prompt"),
    (
        "a prompt that is too long, or that the filter refuses, goes back to the client with Azure's answer",
        "context_window_fallbacks content_policy_fallbacks",
    ),
    (_LOGS, "langfuse_default_tags s3_callback_params datadog_params audit_log_callbacks custom_provider_map"),
    (_LOGS, "generic_logger_headers store_audit_logs extra_spend_tag_headers"),
    (_LOGS, "prometheus_metrics_config custom_prometheus_metadata_labels custom_prometheus_tags"),
    (_LOGS, "disable_end_user_cost_tracking disable_end_user_cost_tracking_prometheus_only"),
    (
        _DATABASE,
        "default_team_settings default_team_params default_internal_user_params default_key_generate_params "
        "upperbound_key_generate_params key_generation_settings enable_key_alias_format_validation "
        "default_max_internal_user_budget",
    ),
    (
        _BUDGETS,
        "max_user_budget budget_duration max_internal_user_budget internal_user_budget_duration max_end_user_budget "
        "max_end_user_budget_id tag_budget_config max_ui_session_budget budget_reset_time",
    ),
    (_NO_TOOLS, "mcp_aliases vector_store_registry search_tools"),
    (_CONTENT, "guardrails"),
    (
        _NO_CACHE,
        "cache cache_params enable_caching_on_provider_specific_optional_params disable_copilot_system_to_assistant",
    ),
    (_TLS, "ssl_verify ssl_certificate ssl_security_level"),
    (_UI, "public_model_groups public_model_groups_links"),
    (_ROUTING, "priority_reservation priority_reservation_settings model_group_settings max_fallbacks retry"),
    (_RETRIES, "num_retries_per_request retry_after"),
    (
        _FINE,
        "force_ipv4 request_timeout_by_service_tier enable_json_schema_validation disable_hf_tokenizer_download "
        "enable_preview_features suppress_debug_info max_parallel_requests use_aiohttp_transport "
        "disable_aiohttp_transport aiohttp_trust_env return_response_headers "
        "use_chat_completions_url_for_anthropic_messages responses post_call_rules cost_discount_config "
        "cost_margin_config include_cost_in_streaming_usage LITELLM_DISABLE_STOP_SEQUENCE_LIMIT",
    ),
    ("each deployment of Azure has its own key; name it in the entry", "openai_key azure_key organization"),
    ("is used by the entries that have none of their own", "api_key api_base api_version"),
)
"""Keys of ``litellm_settings``."""

ROUTER = table_of(
    (
        "a prompt that is too long, or that the filter refuses, goes back to the client with Azure's answer",
        "context_window_fallbacks content_policy_fallbacks",
    ),
    ("Azure checks a request itself, and the relay passes on its answer", "enable_pre_call_checks"),
    (
        _ROUTING,
        "routing_strategy_args enable_tag_filtering tag_filtering_match_any tag_routing_prefix max_fallbacks "
        "enable_weighted_failover routing_groups weights plugins provider_budget_config polling_interval "
        "default_priority alerting_config fallback_on_unsupported_params",
    ),
    (
        "the relay decides by kind of failure, in one table: docs/balancing.md#what-a-failure-means",
        "retry_policy allowed_fails_policy model_group_retry_policy",
    ),
    ("Azure's own time to retry counts, and pool.cooldown_seconds without one", "retry_after"),
    (_NO_CACHE, "cache_responses caching_groups client_ttl"),
    ("is for LiteLLM's client of Redis", "cache_kwargs"),
    (_NOT_SERVED, "assistants_config"),
    (_NO_TOOLS, "search_tools"),
    (_CONTENT, "guardrail_list"),
    (_FINE, "set_verbose debug_level router_general_settings ignore_invalid_deployments max_retries"),
    ("applies to all deployments; write what you need of it into [models] by hand", "default_litellm_params"),
)
"""Keys of ``router_settings``."""

GENERAL = table_of(
    (
        _DATABASE,
        "store_model_in_db supported_db_objects custom_key_generate custom_key_update custom_key_policy "
        "disable_auto_add_proxy_admin_to_teams disable_adding_master_key_hash_to_db enforce_user_param "
        "user_api_key_cache_ttl user_api_key_cache_max_size enforced_params role_permissions",
    ),
    (
        _DATABASE_LINK,
        "database_connection_pool_limit database_connection_timeout database_type database_args "
        "database_extra_connection_params allow_requests_on_db_unavailable use_redis_transaction_buffer "
        "disable_prisma_schema_update",
    ),
    (
        _WRITES,
        "proxy_batch_write_at proxy_batch_polling_interval proxy_budget_rescheduler_min_time "
        "proxy_budget_rescheduler_max_time maximum_spend_logs_retention_interval disable_reset_budget "
        "disable_spend_updates use_spend_logs_partitioning spend_logs_metadata_fields",
    ),
    (
        "the relay's ledger holds no prompts, and callers' keys need it too",
        "disable_spend_logs disable_error_logs disable_spend_logs_writes",
    ),
    (
        "prompts and answers are in no log or ledger; the audit writes them, and is off: docs/logs.md#the-audit",
        "store_prompts_in_spend_logs",
    ),
    (_ALERTS, "alerting alert_types alerting_args alerting_threshold alert_to_webhook_url alert_type_config"),
    (_ALERTS, "spend_report_frequency"),
    (
        _NO_PROBES,
        "background_health_checks health_check_interval health_check_details health_check_concurrency "
        "use_shared_health_check enable_health_check_routing model_list_healthy_only",
    ),
    (
        _SIGN_IN,
        "enable_jwt_auth litellm_jwtauth enable_oauth2_auth enable_oauth2_proxy_auth custom_auth custom_sso "
        "custom_ui_sso_sign_in_handler oauth2_config_mappings custom_auth_run_common_checks public_routes",
    ),
    (_VAULT, "key_management_system key_management_settings use_azure_key_vault use_google_kms"),
    (
        _UI,
        "ui_access_mode disable_master_key_return enable_public_model_hub allow_user_auth password_policy_min_length "
        "max_failed_login_attempts_per_source control_plane_url",
    ),
    (
        _PROXIED,
        "user_header_name user_header_mappings trusted_proxy_ranges use_x_forwarded_for litellm_key_header_name",
    ),
    (_NO_HEADERS, "forward_client_headers_to_llm_api add_user_information_to_llm_headers forward_openai_org_id"),
    (
        _NOT_SERVED,
        "pass_through_endpoints use_client_credentials_pass_through_routes pass_through_request_timeout "
        "enable_openai_websocket_passthrough",
    ),
    (_NO_TOOLS, "mcp_internal_ip_ranges user_mcp_management_mode mcp_required_fields mcp_advertised_versions"),
    ("which routes there are is not a setting: docs/http.md#routes", "allowed_routes admin_only_routes disable_routes"),
    ("who may connect is for the network to decide, or for [auth]", "allowed_ips"),
    (_ROUTING, "infer_model_from_keys disable_retry_on_max_parallel_request_limit_error enforce_fallback_model_access"),
    (
        "stored responses belong to the caller that made them, always: docs/balancing.md",
        "disable_responses_id_security",
    ),
    (_FINE, "max_response_size_mb otel max_in_flight_requests_per_worker admission_queue_timeout_seconds"),
    (_FINE, "cancel_on_disconnect reject_clientside_metadata_tags disable_requester_ip_address_logging"),
)
"""Keys of ``general_settings``."""

TOP = table_of(
    (_CONTENT, "guardrails policies policy_attachments"),
    (_NO_TOOLS, "mcp_servers mcp_tools vector_store_registry vector_store_index_registry search_tools sandbox_tools"),
    (_NO_TOOLS, "agent_list agents a2a_agents"),
    (_NOT_SERVED, "files_settings finetune_settings assistant_settings default_vertex_config"),
    (_FILES, "include"),
    (_FINE, "prompts worker_registry custom_sso"),
)
"""Other keys of the top."""
