//! What became of every point, and the table that is printed in the end.
use std::{collections::BTreeMap, fmt::Write as _};

use testenv::proxy::Effect;

use crate::points::{Counts, ON_EVENTS, ON_WRITES, Part, Point, title};

/// What became of a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It happened, and the end was the same as without it.
    Same,
    /// It happened in a life that ended in another way.
    Different,
    /// It did not happen: the life had fewer writes or events.
    NotReached,
}

/// All outcomes.
#[derive(Debug, Default)]
pub struct Table {
    counts: BTreeMap<Part, Counts>,
    outcomes: BTreeMap<Point, Outcome>,
}

impl Table {
    /// Adds a row.
    pub fn part(&mut self, part: Part, counts: Counts) {
        self.counts.insert(part, counts);
    }

    /// How much a part did undisturbed.
    pub fn counts(&self, part: Part) -> Counts {
        self.counts.get(&part).copied().unwrap_or_default()
    }

    /// Records what became of a point; a later life decides.
    pub fn record(&mut self, point: Point, outcome: Outcome) {
        self.outcomes.insert(point, outcome);
    }

    /// How many points had this outcome, of one part and effect or of all.
    pub fn count(&self, of: Option<(Part, Effect)>, outcome: Outcome) -> usize {
        let wanted = |point: &Point| of.is_none_or(|of| of == (point.part, point.effect));
        self.outcomes
            .iter()
            .filter(|(point, found)| wanted(point) && **found == outcome)
            .count()
    }

    /// How many points happened.
    pub fn tried(&self, of: Option<(Part, Effect)>) -> usize {
        self.count(of, Outcome::Same) + self.count(of, Outcome::Different)
    }

    /// The table: a row for each part, a column for each effect.
    pub fn render(&self) -> String {
        let effects = ON_WRITES.into_iter().chain(ON_EVENTS);
        let mut text = format!(
            "{:<42}{:>7}{:>7}",
            "points with the same end / points tried", "writes", "events"
        );
        for effect in effects.clone() {
            let _ = write!(text, "{:>9}", title(effect));
        }
        for (part, counts) in &self.counts {
            let _ = write!(
                text,
                "\n{:<42}{:>7}{:>7}",
                part.to_string(),
                counts.writes,
                counts.events
            );
            for effect in effects.clone() {
                let of = Some((*part, effect));
                let _ = write!(
                    text,
                    "{:>9}",
                    format!("{}/{}", self.count(of, Outcome::Same), self.tried(of))
                );
            }
        }
        let _ = write!(
            text,
            "\n{} points tried, {} with the same end; {} not reached, as their lives had fewer writes or events",
            self.tried(None),
            self.count(None, Outcome::Same),
            self.count(None, Outcome::NotReached),
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{components::Component, points::Story};

    #[test]
    fn a_row_tells_what_was_tried_and_what_ended_the_same() {
        let part = Part {
            story: Story::Exchange,
            component: Component::Manager,
        };
        let mut table = Table::default();
        table.part(part, Counts { writes: 3, events: 0 });
        for (at, outcome) in [
            (1, Outcome::NotReached),
            (2, Outcome::Different),
            (3, Outcome::NotReached),
            (1, Outcome::Same),
        ] {
            let effect = Effect::KillAfter;
            table.record(Point { part, effect, at }, outcome);
        }
        let text = table.render();
        assert!(
            text.contains("exchange, addon-manager at hub") && text.contains("1/2"),
            "{text}"
        );
        assert!(
            text.ends_with(
                "2 points tried, 1 with the same end; 1 not reached, as their lives had fewer writes or events"
            ),
            "{text}"
        );
    }
}
