//! Conditions: built, compared and merged by pure functions, written by server-side apply, only when something changed.
use std::fmt::Debug;

use jiff::Timestamp;
pub use peering_api::Status;
use peering_api::{
    k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time},
    kube::{
        self, Api, Resource, ResourceExt,
        api::{Patch, PatchParams},
    },
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

/// The longest message that the API allows (validation of `metav1.Condition`).
const MAX_MESSAGE: usize = 32_768;

/// A condition without times: what a reconcile has found out. [`merge`] makes it a [`Condition`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The type, such as `Ready`.
    pub type_: String,
    /// Whether it is so.
    pub status: Status,
    /// A stable word in CamelCase.
    pub reason: String,
    /// A sentence for people: what was expected, what was seen, what to do.
    pub message: String,
    /// The `metadata.generation` that was looked at.
    pub observed_generation: Option<i64>,
}

impl Wanted {
    /// A condition which names no generation.
    pub fn new(
        type_: impl Into<String>,
        status: impl Into<Status>,
        reason: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            type_: type_.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            observed_generation: None,
        }
    }

    /// The same, for this generation.
    #[must_use]
    pub fn at(mut self, generation: Option<i64>) -> Self {
        self.observed_generation = generation;
        self
    }
}

/// The condition of this type.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of this type is True.
#[must_use]
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == Status::True.as_str())
}

/// Whether two conditions say the same; the time of the last change is not looked at.
#[must_use]
pub fn same(a: &Condition, b: &Condition) -> bool {
    a.type_ == b.type_
        && a.status == b.status
        && a.reason == b.reason
        && a.message == b.message
        && a.observed_generation == b.observed_generation
}

/// The condition to write, given those which are there: `lastTransitionTime` is `now` only if the status is another one.
#[must_use]
pub fn merge(existing: &[Condition], wanted: &Wanted, now: Timestamp) -> Condition {
    let status = wanted.status.as_str();
    let last_transition_time = find(existing, &wanted.type_)
        .filter(|known| known.status == status)
        .map_or_else(|| Time(to_seconds(now)), |known| known.last_transition_time.clone());
    Condition {
        last_transition_time,
        message: shortened(&wanted.message),
        observed_generation: wanted.observed_generation,
        reason: wanted.reason.clone(),
        status: status.to_owned(),
        type_: wanted.type_.clone(),
    }
}

/// All wanted conditions merged, or `None` if the existing ones say the same already (then nothing is to be written).
#[must_use]
pub fn changed(existing: &[Condition], wanted: &[Wanted], now: Timestamp) -> Option<Vec<Condition>> {
    let merged: Vec<_> = wanted.iter().map(|wanted| merge(existing, wanted, now)).collect();
    let news = merged
        .iter()
        .any(|new| find(existing, &new.type_).is_none_or(|old| !same(old, new)));
    news.then_some(merged)
}

/// Writes a status by server-side apply: everything that `manager` owns in it, as what is left out is removed. Two controllers which
/// own different conditions need different managers. The caller has seen that it differs.
pub async fn apply_status<K>(
    api: &Api<K>,
    object: &K,
    manager: &str,
    status: &Map<String, Value>,
) -> Result<K, kube::Error>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let body = status_body(object, status);
    api.patch_status(
        &object.name_any(),
        &PatchParams::apply(manager).force(),
        &Patch::Apply(body),
    )
    .await
}

fn status_body<K: Resource<DynamicType = ()>>(object: &K, status: &Map<String, Value>) -> Value {
    let mut metadata = Map::new();
    metadata.insert("name".to_owned(), object.name_any().into());
    if let Some(namespace) = object.namespace() {
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    json!({"apiVersion": K::api_version(&()), "kind": K::kind(&()), "metadata": metadata, "status": status})
}

/// Times in conditions have whole seconds, as all of Kubernetes writes them.
fn to_seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

fn shortened(message: &str) -> String {
    if message.len() <= MAX_MESSAGE {
        return message.to_owned();
    }
    let mut end = MAX_MESSAGE - '…'.len_utf8();
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}…", &message[..end])
}

#[cfg(test)]
mod tests {
    use peering_api::k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ready(status: bool, message: &str) -> Wanted {
        Wanted::new("Ready", status, "Checked", message)
    }

    #[test]
    fn the_time_changes_with_the_status_only() {
        let first = merge(&[], &ready(false, "a"), at(100));
        assert_eq!(first.last_transition_time, Time(at(100)));
        let other_text = merge(std::slice::from_ref(&first), &ready(false, "b"), at(200));
        assert_eq!(
            (other_text.last_transition_time, other_text.message.as_str()),
            (Time(at(100)), "b")
        );
        let flipped = merge(&[first], &ready(true, "a"), at(300));
        assert_eq!(flipped.last_transition_time, Time(at(300)));
    }

    #[test]
    fn the_time_has_whole_seconds() {
        let now = Timestamp::from_millisecond(1_700_000_000_999).unwrap();
        assert_eq!(
            merge(&[], &ready(true, ""), now).last_transition_time,
            Time(at(1_700_000_000))
        );
    }

    #[test]
    fn nothing_is_written_when_all_say_the_same() {
        let wanted = [
            ready(true, "a"),
            Wanted::new("Fresh", Status::Unknown, "NoData", "").at(Some(3)),
        ];
        let existing = changed(&[], &wanted, at(1)).unwrap();
        assert_eq!(changed(&existing, &wanted, at(2)), None);
        let newer = [wanted[0].clone(), wanted[1].clone().at(Some(4))];
        let written = changed(&existing, &newer, at(2)).unwrap();
        assert_eq!(
            written.len(),
            2,
            "all owned conditions are sent, or the others would be removed"
        );
        assert_eq!(written[1].last_transition_time, Time(at(1)));
    }

    #[test]
    fn the_body_names_the_object_and_nothing_else_of_it() {
        let mut map = ConfigMap::default();
        map.metadata.name = Some("a".into());
        map.metadata.namespace = Some("b".into());
        map.metadata.uid = Some("c".into());
        let expected =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}, "status": {}});
        assert_eq!(status_body(&map, &Map::new()), expected);
    }

    #[test]
    fn long_messages_are_cut_at_a_character() {
        let message = merge(&[], &ready(true, &"é".repeat(MAX_MESSAGE)), at(1)).message;
        assert!(message.len() <= MAX_MESSAGE && message.ends_with('…'));
    }
}
