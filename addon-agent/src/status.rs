//! Small helpers for writing status to the hub.
use serde::Serialize;
use serde_json::{Map, Value};

/// A status as the body of an apply: every field that is set, and nothing else.
#[must_use]
pub fn body(status: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        // Our statuses are structs of strings, numbers and times: they always serialise to an object.
        _ => Map::new(),
    }
}

/// An object that is gone (404) needs no status. A refusal because it has changed or been made anew (409) is an error like
/// others: it is tried again with what the watch brings, and nobody else would come back to it.
pub fn gone_is_fine<K>(written: Result<K, kube::Error>) -> Result<Option<K>, kube::Error> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use peering_api::peering::PeerLinkStatus;
    use serde_json::json;

    use super::*;

    #[test]
    fn unset_fields_are_not_sent() {
        let status = PeerLinkStatus {
            applied_revision: Some(7),
            ..PeerLinkStatus::default()
        };
        assert_eq!(Value::Object(body(&status)), json!({"appliedRevision": 7}));
    }

    #[test]
    fn only_missing_objects_are_fine() {
        for (code, reason, fine) in [
            (404, "NotFound", true),
            (409, "Conflict", false),
            (403, "Forbidden", false),
            (500, "InternalError", false),
        ] {
            let answer = Status::failure("", reason).with_code(code).boxed();
            assert_eq!(
                gone_is_fine::<()>(Err(kube::Error::Api(answer))).is_ok(),
                fine,
                "{code}"
            );
        }
    }
}
