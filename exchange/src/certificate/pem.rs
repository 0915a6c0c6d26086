//! PEM blocks, written and read in the strict form of RFC 7468: what other programs read must be what was checked here.
use base64::{Engine, prelude::BASE64_STANDARD};

/// Width of a line of base64 (RFC 7468, section 2).
const LINE: usize = 64;

/// One block.
pub(super) fn write(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    let base64 = BASE64_STANDARD.encode(der);
    for (index, character) in base64.chars().enumerate() {
        if index > 0 && index % LINE == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text + &format!("\n-----END {label}-----\n")
}

/// Reads a text that is one block and nothing else but white space around it.
pub(super) fn read_only(label: &str, text: &str) -> Option<Vec<u8>> {
    let body = text
        .trim()
        .strip_prefix(&format!("-----BEGIN {label}-----"))?
        .strip_suffix(&format!("-----END {label}-----"))?;
    let line_end = ['\r', '\n'];
    if !body.starts_with(line_end) || !body.ends_with(line_end) {
        return None;
    }
    let base64: String = body.split(line_end).collect();
    BASE64_STANDARD.decode(base64).ok()
}
