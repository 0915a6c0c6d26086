//! Client and server identities whose private key never leaves the cluster that uses it.
//!
//! The receiver makes a key pair (outside of this crate: that draws random bytes) and a [`request()`]. The source side
//! [`check`]s the request and has it signed: by its API server, or by a CA whose key it holds ([`Authority`]). The
//! receiver takes what was [`issued()`] if it belongs to its key.
//!
//! Requests and certificates are encoded here (`der`) and signed by rcgen's keys. Rcgen's own builders keep one value per
//! attribute of a name: they would lose the second organisation of a subject, and all but one `OU` or `DC` of a CA's
//! name, which breaks the chain.
//!
//! ECDSA signatures draw a nonce from the system: the same arguments give another signature, and nothing else differs.
//! No error quotes key material.
mod authority;
mod der;
mod issued;
mod key;
mod pem;
mod request;
mod spki;
mod subject;
#[cfg(test)]
mod tests;

pub use self::{
    authority::{Authority, AuthorityError, BACKDATE, MIN_LIFETIME, Terms},
    issued::{Issued, IssuedError, issued},
    key::{KeyError, PublicKey},
    request::{Checked, MAX_REQUEST, RequestError, check, request},
    subject::{Subject, SubjectError, Usage},
};
