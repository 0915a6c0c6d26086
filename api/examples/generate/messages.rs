//! The page `docs/messages.md`: one table per condition, from the catalogue in `api/src/peering/reasons/`.
use peering_api::peering::reasons::{CATALOGUE, Catalogue};

/// What stands before the tables.
const INTRODUCTION: &str = include_str!("messages-introduction.md");
/// Conditions on foreign kinds, which belong to the addon framework.
const FRAMEWORK: &str = include_str!("messages-framework.md");

/// The whole page.
pub fn page() -> String {
    let conditions: String = CATALOGUE.iter().map(section).collect();
    format!("{INTRODUCTION}\n{conditions}{FRAMEWORK}")
}

fn section(condition: &Catalogue) -> String {
    let head = format!(
        "## {}: {}\n\nWritten by {}: {}\n\n| reason | status | meaning | likely cause | what to do |\n|---|---|---|---|---|\n",
        condition.kinds.join(" and "),
        condition.type_,
        condition.writer,
        condition.question,
    );
    let rows = condition.reasons.iter().map(|reason| {
        format!(
            "| `{}` | {} | {} | {} | {} |\n",
            reason.name,
            reason.status.as_str(),
            reason.meaning,
            reason.cause,
            reason.action
        )
    });
    let note = match condition.note {
        "" => String::new(),
        note => format!("\n{note}\n"),
    };
    format!("{head}{}{note}\n", rows.collect::<String>())
}
