//! The pure core of the exchange: what is to be handed over, how it is sealed, what a CA bundle becomes, and when a
//! link is ready. No client, no clock, no randomness of its own, no async: time and random bytes are arguments.
//!
//! Read in this order to follow a secret: [`lint`] (is the profile any good), [`plan`] (who hands what to whom), [`rights`] (what agents may do for it),
//! [`expression`] (what profiles compute), [`source`] (is the source any good; besides objects there are [`endpoint`]s and
//! [`certificate`]s, and [`refresh`] says when to renew), [`content`] and [`envelope`] (packed and sealed), [`carry`] (the
//! `ManifestWork`), [`ca`] (bundles), [`object`] (targets of any kind), [`wire`] (what consumers of a target are told),
//! [`probe`] (does it work), [`state`] (what people see).
pub mod ca;
pub mod carry;
pub mod certificate;
pub mod content;
pub mod endpoint;
pub mod envelope;
pub mod expression;
pub mod key;
pub mod lint;
pub mod object;
pub mod plan;
pub mod probe;
pub mod refresh;
pub mod revision;
pub mod rights;
pub mod source;
pub mod state;
pub mod value;
pub mod wire;
