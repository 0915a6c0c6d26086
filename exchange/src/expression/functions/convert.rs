//! Functions that turn a value into another form of it.
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
    prelude::BASE64_STANDARD,
};
use peering_api::names::hex;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{Fault, MISMATCH, Work, raw, texts};
use crate::value::Value;

/// Standard alphabet, padding or not.
const BASE64_LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters of a string, bytes of bytes, items of a list, entries of a map.
pub(super) fn size(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let size = match arguments {
        [Value::Text(text)] => text.chars().count(),
        [Value::Bytes(bytes)] => bytes.expose().len(),
        [Value::List(items)] => items.len(),
        [Value::Map(entries)] => entries.len(),
        _ => return Err(MISMATCH),
    };
    i64::try_from(size).map(Value::Int).map_err(|_| MISMATCH)
}

pub(super) fn string(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    Ok(Value::Text(match arguments {
        [Value::Text(text)] => text.clone(),
        [Value::Bytes(bytes)] => std::str::from_utf8(bytes.expose())
            .map_err(|_| Fault::Problem("the bytes are not UTF-8"))?
            .to_owned(),
        [Value::Int(value)] => value.to_string(),
        [Value::Float(value)] => value.to_string(),
        [Value::Bool(value)] => value.to_string(),
        _ => return Err(MISMATCH),
    }))
}

pub(super) fn bytes(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [value] = arguments else {
        return Err(MISMATCH);
    };
    Ok(Value::Bytes(raw(value)?.to_vec().into()))
}

pub(super) fn int(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    // 2^63. Neither end is included: so do all implementations of CEL, since both may be rounded values.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    match arguments {
        [Value::Int(value)] => Ok(Value::Int(*value)),
        #[allow(clippy::cast_possible_truncation)]
        [Value::Float(value)] if value.abs() < LIMIT => Ok(Value::Int(value.trunc() as i64)),
        [Value::Float(_)] => Err(Fault::Problem("the number does not fit into 64 bits")),
        [Value::Text(text)] => text
            .parse()
            .map(Value::Int)
            .map_err(|_| Fault::Problem("the text is not a whole number of 64 bits")),
        _ => Err(MISMATCH),
    }
}

pub(super) fn double(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    match arguments {
        [Value::Float(value)] => Ok(Value::Float(*value)),
        #[allow(clippy::cast_precision_loss)]
        [Value::Int(value)] => Ok(Value::Float(*value as f64)),
        [Value::Text(text)] => text
            .parse()
            .map(Value::Float)
            .map_err(|_| Fault::Problem("the text is not a number")),
        _ => Err(MISMATCH),
    }
}

pub(super) fn bool(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    match arguments {
        [Value::Bool(value)] => Ok(Value::Bool(*value)),
        // The spellings of cel-spec.
        [Value::Text(text)] => match text.as_str() {
            "true" | "TRUE" | "True" | "t" | "1" => Ok(Value::Bool(true)),
            "false" | "FALSE" | "False" | "f" | "0" => Ok(Value::Bool(false)),
            _ => Err(Fault::Problem("the text is neither true nor false")),
        },
        _ => Err(MISMATCH),
    }
}

/// Lower-case hexadecimal SHA-256.
pub(super) fn sha256(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [value] = arguments else {
        return Err(MISMATCH);
    };
    Ok(hex(&Sha256::digest(raw(value)?)).into())
}

/// Standard alphabet, with padding.
pub(super) fn base64_encode(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [value] = arguments else {
        return Err(MISMATCH);
    };
    Ok(BASE64_STANDARD.encode(raw(value)?).into())
}

/// Standard alphabet; padding may be missing, and white space is skipped.
pub(super) fn base64_decode(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [text] = texts(arguments)?;
    let text: Zeroizing<Vec<u8>> = Zeroizing::new(text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect());
    let bytes = BASE64_LENIENT
        .decode(&*text)
        .map_err(|_| Fault::Problem("the text is not base64"))?;
    Ok(Value::Bytes(bytes.into()))
}

/// JSON with sorted keys; bytes as base64.
pub(super) fn json_encode(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [value] = arguments else {
        return Err(MISMATCH);
    };
    Ok(value.to_json().to_string().into())
}

pub(super) fn json_decode(arguments: &[&Value], _: &mut Work) -> Result<Value, Fault> {
    let [value] = arguments else {
        return Err(MISMATCH);
    };
    let json: serde_json::Value =
        serde_json::from_slice(raw(value)?).map_err(|_| Fault::Problem("the text is not JSON"))?;
    Ok(Value::from(json))
}
