//! The text of Ramen's configuration, `ramen_manager_config.yaml`, which belongs to Ramen, to its upgrades and to users.
//!
//! Of that text only our fields of our entries in `s3StoreProfiles` are changed. Everything else keeps its bytes: comments,
//! order, fields that nobody here knows. The text is edited by lines ([`lines`]), and what comes out is parsed and compared
//! with what should come out ([`meaning`]); where that differs, nothing is written. What is ours is written down in a
//! [`Record`] beside the text, so that exactly that is taken back.
mod lines;
mod meaning;
mod record;

use std::collections::{BTreeMap, BTreeSet};

use peering_api::odf::S3StoreProfile;
use serde_json::Value;
use thiserror::Error;

pub use self::record::{Entry, Record};

/// The list that is edited.
const LIST: &str = "s3StoreProfiles";
/// The field that tells one entry from another.
const KEY: &str = "s3ProfileName";
/// The field that users may set themselves.
const CA: &str = "caCertificates";

/// Why the configuration is left as it is.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RamenError {
    /// It is no YAML.
    #[error("Ramen's configuration is not valid YAML, it is left as it is: {0}")]
    Malformed(String),
    /// It has another structure than Ramen's.
    #[error("Ramen's configuration has another structure than expected, it is left as it is: {0}")]
    Structure(&'static str),
    /// It is written in a way that cannot be edited without harm.
    #[error(
        "Ramen's configuration is written in a way that cannot be edited without touching what is not ours: write {LIST} as a plain list, one field per line"
    )]
    Unsupported,
}

/// A changed configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The text.
    pub text: String,
    /// What of it is ours.
    pub record: Record,
}

/// Makes the entries say what is wanted. Of those in the record that are not `wanted`, the ones in `keep` stay as they are and
/// the others go. `None` if nothing is to be written.
pub fn edit(
    text: &str,
    record: &Record,
    wanted: &BTreeMap<String, S3StoreProfile>,
    keep: &BTreeSet<String>,
) -> Result<Option<Edited>, RamenError> {
    let mut draft = Draft {
        text: text.to_owned(),
        document: meaning::read(text)?,
        record: record.clone(),
    };
    for (name, profile) in wanted {
        draft.upsert(name, profile)?;
    }
    let gone = record.profiles.keys();
    for name in gone.filter(|name| !wanted.contains_key(*name) && !keep.contains(*name)) {
        draft.remove(name)?;
    }
    let Draft {
        text: new,
        record: ours,
        ..
    } = draft;
    Ok((new != text || ours != *record).then_some(Edited {
        text: new,
        record: ours,
    }))
}

/// What the configuration says in an entry.
pub fn profile(text: &str, name: &str) -> Result<Option<S3StoreProfile>, RamenError> {
    let document = meaning::read(text)?;
    let found = meaning::entry(&document, name).cloned();
    Ok(found.and_then(|entry| serde_json::from_value(entry).ok()))
}

/// The fields of an entry that are ours, in the order in which a new one has them.
fn fields(profile: &S3StoreProfile, ca: Option<&String>) -> Vec<(&'static str, Value)> {
    let text = |text: &String| Value::String(text.clone());
    let mut fields = vec![
        (KEY, text(&profile.s3_profile_name)),
        ("s3Bucket", text(&profile.s3_bucket)),
        ("s3Region", text(&profile.s3_region)),
        ("s3CompatibleEndpoint", text(&profile.s3_compatible_endpoint)),
        ("s3SecretRef", serde_json::json!({"name": profile.s3_secret_ref.name})),
    ];
    fields.extend(ca.map(|ca| (CA, text(ca))));
    fields
}

/// A configuration that is being edited: its text and what that says.
struct Draft {
    text: String,
    document: Value,
    record: Record,
}

impl Draft {
    fn upsert(&mut self, name: &str, profile: &S3StoreProfile) -> Result<(), RamenError> {
        let present = meaning::entry(&self.document, name);
        let held = present.and_then(|entry| entry.get(CA)).filter(|held| !held.is_null());
        let known = self.record.profiles.get(name);
        // Certificates that somebody else has written there stay, and so do ours once somebody has changed them.
        let ours = held.map(Value::as_str).is_none_or(|held| {
            let written = known.and_then(|known| known.ca.as_deref());
            held.is_some_and(|held| written == Some(record::fingerprint(held).as_str()))
                || held.is_some() && profile.ca_certificates.as_deref() == held
        });
        let ca = profile.ca_certificates.as_ref().filter(|_| ours);
        // Those that we wrote and that are not handed over any more go.
        let dropped = (ours && held.is_some() && profile.ca_certificates.is_none()).then_some(CA);
        let fields = fields(profile, ca);
        let expected = meaning::with(&self.document, name, &fields, dropped)?;
        if expected != self.document {
            let original = meaning::is_empty(&self.document).then(|| lines::list_line(&self.text));
            let edited = lines::upsert(&self.text, name, &fields, dropped);
            self.becomes(edited, expected.clone())
                .or_else(|_| self.becomes(lines::rewrite(&self.text, &expected), expected))?;
            if let Some(original) = original {
                self.record.original = Some(original);
            }
        }
        let entry = Entry {
            ca: ca.map(|ca| record::fingerprint(ca)),
        };
        self.record.profiles.insert(name.to_owned(), entry);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> Result<(), RamenError> {
        self.record.profiles.remove(name);
        if meaning::entry(&self.document, name).is_some() {
            let expected = meaning::without(&self.document, name);
            let last = meaning::is_empty(&expected);
            let original = self.record.original.clone().filter(|_| last);
            let edited = lines::remove(&self.text, name, last, original.as_deref());
            self.becomes(edited, meaning::emptied(&expected, original.as_deref()))
                .or_else(|_| self.becomes(lines::rewrite(&self.text, &expected), expected))?;
        }
        if self.record.profiles.is_empty() {
            self.record.original = None;
        }
        Ok(())
    }

    /// Takes a text over if it says what it should say.
    fn becomes(&mut self, text: Option<String>, expected: Value) -> Result<(), RamenError> {
        let text = text.ok_or(RamenError::Unsupported)?;
        let said = meaning::read(&text).map_err(|_| RamenError::Unsupported)?;
        if said != expected {
            return Err(RamenError::Unsupported);
        }
        (self.text, self.document) = (text, expected);
        Ok(())
    }
}

#[cfg(test)]
mod props;
#[cfg(test)]
mod tests;
