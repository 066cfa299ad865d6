"""Frozen configs with strict `from_dict`: an unknown or missing key is an error, never ignored."""

from skinxai.configs.checked_fields import SCHEMA_VERSION, check_keys, check_schema
from skinxai.configs.ensemble_config import MAX_MEMBERS, EnsembleConfig, MemberConfig
from skinxai.configs.json_bytes import MAX_JSON_BYTES, canonical_json, strict_json, unique_keys
from skinxai.configs.model_config import ModelConfig
from skinxai.configs.preprocess_config import (
    INTERPOLATIONS,
    PreprocessConfig,
    as_size,
    as_tuple,
    parse_size,
)

__all__ = [
    "INTERPOLATIONS",
    "MAX_JSON_BYTES",
    "MAX_MEMBERS",
    "SCHEMA_VERSION",
    "EnsembleConfig",
    "MemberConfig",
    "ModelConfig",
    "PreprocessConfig",
    "as_size",
    "as_tuple",
    "canonical_json",
    "check_keys",
    "check_schema",
    "parse_size",
    "strict_json",
    "unique_keys",
]
