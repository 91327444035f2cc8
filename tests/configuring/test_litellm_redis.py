"""The Redis of a source becomes the store that replicas share, without its password."""

import tomllib
from typing import Any

from tests.configuring.imported import entry, litellm
from tests.rows import rows

MODELS = (
    "model_list: [{model_name: m, litellm_params: {model: azure/d, api_base: a.azure.com, api_key: os.environ/K}}]\n"
)


@rows(
    ("text", "quota", "variables"),
    [
        ("router_settings: {redis_host: cache, redis_port: 6380}", "redis://cache:6380/0", {}),
        ("router_settings: {redis_host: cache, redis_db: 2, redis_ssl: true}", "rediss://cache:6379/2", {}),
        ("router_settings: {redis_url: 'rediss://cache:6380/1'}", "rediss://cache:6380/1", {}),
        ("router_settings: {redis_url: os.environ/CACHE}", {"env": "CACHE"}, {"CACHE": None}),
        ("router_settings: {redis_url: 'redis://:hunter2@cache'}", {"env": "REDIS_URL"}, {"REDIS_URL": None}),
        ("router_settings: {redis_url: 'redis://cache?password=hunter2'}", {"env": "REDIS_URL"}, {"REDIS_URL": None}),
        (
            "router_settings: {redis_host: os.environ/HOST, redis_port: os.environ/P, redis_password: os.environ/PW}",
            {"env": "REDIS_URL"},
            {"PW": None, "REDIS_URL": '"redis://:${PW}@${HOST}:${P}/0"'},
        ),
        (
            "router_settings: {redis_host: c, redis_password: hunter2, cache_kwargs: {username: me, ssl: true}}",
            {"env": "REDIS_URL"},
            {
                "REDIS_USERNAME": None,
                "REDIS_PASSWORD": None,
                "REDIS_URL": '"rediss://${REDIS_USERNAME}:${REDIS_PASSWORD}@c:6379/0"',
            },
        ),
        ("router_settings: {redis_host: 'hunter2@cache/'}", {"env": "REDIS_URL"}, {"REDIS_URL": None}),
        ("router_settings: {redis_port: 1}", None, {}),
        ("litellm_settings: {cache_params: {type: redis, host: cache}}", "redis://cache:6379/0", {}),
        ("litellm_settings: {cache_params: {type: local, host: cache}}", None, {}),
        ("litellm_settings: {cache_params: {type: redis, ttl: 5}}", None, {}),
        ("general_settings: {coordination_redis: {host: cache}}", "redis://cache:6379/0", {}),
        (
            "router_settings: {redis_host: first}\nlitellm_settings: {cache_params: {type: redis, host: second}}",
            "redis://first:6379/0",
            {},
        ),
    ],
)
def test_each_way_to_name_a_redis(text: str, quota: Any, variables: dict[str, str | None]) -> None:
    imported = litellm(MODELS + text)

    assert tomllib.loads(imported.toml or "").get("stores", {}).get("quota") == quota
    found = {name: each.value for name, each in imported.report.variables.items() if name != "K"}
    assert found == variables
    assert ("redis" in imported.report.extras) == (quota is not None)
    assert "hunter2" not in (imported.toml or "") + imported.report.json()


def test_what_belongs_to_a_cache_of_answers_is_dropped_as_such() -> None:
    imported = litellm(MODELS + "litellm_settings: {cache: true, cache_params: {type: redis, host: cache, ttl: 600}}")

    assert entry(imported, "litellm_settings.cache_params.host").target == "stores.quota"
    assert "caches no answers" in entry(imported, "litellm_settings.cache_params.ttl").message


def test_sign_in_to_redis_by_entra_id_is_refused_aloud() -> None:
    imported = litellm(MODELS + "router_settings: {redis_host: c, cache_kwargs: {azure_redis_ad_token: true}}")
    found = entry(imported, "router_settings.cache_kwargs.azure_redis_ad_token")
    assert found.message == "the relay signs in to one Redis server, by user name and password"
