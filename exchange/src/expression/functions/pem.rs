//! Functions on certificates in PEM. Blocks that cannot be read are skipped, as in CA bundles: the check of the source
//! names them.
use super::{Fault, MISMATCH, Work, raw};
use crate::{
    ca::{self, Certificate},
    value::Value,
};

const NONE: Fault = Fault::Problem("there is no certificate in it");

fn parse(arguments: &[&Value]) -> Result<Vec<Certificate>, Fault> {
    let [value] = arguments else {
        return Err(MISMATCH);
    };
    Ok(ca::parse(raw(value)?).certificates)
}

/// All certificates; an empty list where there is none.
pub(super) fn certificates(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let certificates = parse(arguments)?.into_iter().map(|certificate| {
        [
            ("subject", certificate.subject.into()),
            ("fingerprint", certificate.fingerprint.into()),
            ("notBefore", certificate.not_before.to_string().into()),
            ("notAfter", certificate.not_after.to_string().into()),
            ("isCA", Value::Bool(certificate.is_ca)),
        ]
        .into_iter()
        .collect()
    });
    Ok(Value::List(certificates.collect()))
}

/// When the first of them expires.
pub(super) fn not_after(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let first = parse(arguments)?.iter().map(|certificate| certificate.not_after).min();
    Ok(first.ok_or(NONE)?.to_string().into())
}

/// The fingerprint of the one that stands first.
pub(super) fn fingerprint(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let first = parse(arguments)?.into_iter().next();
    Ok(first.ok_or(NONE)?.fingerprint.into())
}
