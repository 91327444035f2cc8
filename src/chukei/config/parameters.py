"""Names of the APIs' parameters, so that a typing error in the configuration is reported at the start.

Source: OpenAI's API reference and Microsoft's for Azure OpenAI (data plane, v1), November 2026.
"""

PARAMETERS = frozenset(
    """
    audio background best_of chunking_strategy context_management conversation data_sources dimensions echo
    encoding_format enhancements frequency_penalty function_call functions include input_fidelity instructions
    known_speaker_names known_speaker_references language logit_bias logprobs mask max_completion_tokens
    max_output_tokens max_tokens max_tool_calls metadata modalities moderation n output_compression output_format
    parallel_tool_calls partial_images prediction presence_penalty previous_response_id prompt_cache_key
    prompt_cache_options prompt_cache_retention quality reasoning reasoning_effort response_format safety_identifier
    seed service_tier size speed stop store stream_format style suffix temperature text timestamp_granularities
    tool_choice tools top_logprobs top_p truncation user user_security_context verbosity voice web_search_options
    """.split()  # noqa: SIM905 - a list of so many words is easier to read as text
)
