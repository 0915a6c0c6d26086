//! Pieces of schemas that several kinds share and that derive macros cannot express.
use schemars::{Schema, SchemaGenerator, json_schema};

/// Duration as Kubernetes users write it: `24h`, `15m`, `1h30m`, `90s`.
const DURATION: &str = "^([0-9]+h)?([0-9]+m)?([0-9]+s)?$";

/// A duration.
pub(super) fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "minLength": 2, "maxLength": 16, "pattern": DURATION})
}

/// A duration that may be absent.
pub(super) fn optional_duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "nullable": true, "minLength": 2, "maxLength": 16, "pattern": DURATION})
}

/// Texts with expressions, by key of a Secret or `ConfigMap`.
pub(super) fn texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 32, "additionalProperties": {"type": "string", "maxLength": 4096}})
}

/// Values of parameters.
pub(super) fn parameter_values(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 32, "additionalProperties": {"type": "string", "maxLength": 1024}})
}

/// Labels.
pub(super) fn label_map(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "maxProperties": 32, "additionalProperties": {"type": "string", "maxLength": 63}})
}

/// Any JSON value.
pub(super) fn any_value(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"x-kubernetes-preserve-unknown-fields": true})
}

/// An object of any kind.
pub(super) fn object_template(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}
