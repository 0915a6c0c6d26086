//! Every point at which something goes wrong, and how the points are dealt out to lives. Pure.
use std::fmt;

use testenv::proxy::Effect;

use crate::components::Component;

/// What happens to a write.
pub const ON_WRITES: [Effect; 5] = [
    Effect::KillAfter,
    Effect::DropResponse,
    Effect::Answer(409),
    Effect::Answer(429),
    Effect::Answer(500),
];

/// What happens to a watch event.
pub const ON_EVENTS: [Effect; 3] = [Effect::SkipEvent, Effect::RepeatEvent, Effect::CutStream];

/// Which story is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Story {
    /// An agent is installed and removed.
    Install,
    /// A Peering is applied, gets ready, sees a rotation and is removed.
    Exchange,
}

/// A component in a story: one row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Part {
    pub story: Story,
    pub component: Component,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let story = match self.story {
            Story::Install => "install",
            Story::Exchange => "exchange",
        };
        write!(f, "{story}, {}", self.component)
    }
}

/// How many writes and watch events a part has in a life in which nothing goes wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub writes: usize,
    pub events: usize,
}

/// One fault of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Point {
    pub part: Part,
    pub effect: Effect,
    /// At which write or event, from 1.
    pub at: usize,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = if self.effect.is_on_events() { "event" } else { "write" };
        write!(f, "{}: {} at {of} {}", self.part, title(self.effect), self.at)
    }
}

/// The name of an effect in the table.
pub fn title(effect: Effect) -> String {
    match effect {
        Effect::KillAfter => "kill".to_owned(),
        Effect::DropResponse => "drop".to_owned(),
        Effect::Answer(code) => code.to_string(),
        Effect::SkipEvent => "skip".to_owned(),
        Effect::RepeatEvent => "repeat".to_owned(),
        Effect::CutStream => "cut".to_owned(),
    }
}

/// All points of a part, dealt out to as few lives as possible so that no life has two faults at one write or event.
///
/// The faults of one life stand close together, at about the same share of its writes and of its events: what comes before
/// them is undisturbed, so the n-th write is the one that it was when they were counted.
pub fn lives(part: Part, counts: Counts) -> Vec<Vec<Point>> {
    /// How many events of one effect a life has. Twice as many events as writes is what was seen.
    const EVENTS: usize = 2;
    let most = counts.writes.max(counts.events.div_ceil(EVENTS)).max(ON_WRITES.len());
    let mut lives = vec![Vec::new(); most];
    for (shift, effect) in ON_WRITES.into_iter().enumerate() {
        for at in 1..=counts.writes {
            lives[(at - 1 + shift) % most].push(Point { part, effect, at });
        }
    }
    for (shift, effect) in ON_EVENTS.into_iter().enumerate() {
        for at in 1..=counts.events {
            lives[((at - 1) / EVENTS + shift) % most].push(Point { part, effect, at });
        }
    }
    lives.retain(|points| !points.is_empty());
    lives
}

/// Points that were not reached, for another try: in few lives, each with few faults of one part.
pub fn again(missed: &[Point]) -> Vec<Vec<Point>> {
    let mut lives: Vec<Vec<Point>> = Vec::new();
    for point in missed {
        let fits = |life: &&mut Vec<Point>| {
            let place = |point: &Point| (point.effect.is_on_events(), point.at);
            life.iter()
                .all(|other| other.part == point.part && other.effect != point.effect && place(other) != place(point))
        };
        match lives.iter_mut().find(fits) {
            Some(life) => life.push(*point),
            None => lives.push(vec![*point]),
        }
    }
    lives
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_point_is_tried_once_and_no_two_at_one_place_in_one_life() {
        let part = Part {
            story: Story::Exchange,
            component: Component::Manager,
        };
        for (writes, events) in [(0, 0), (1, 0), (0, 1), (2, 3), (7, 11), (14, 30), (55, 115), (20, 200)] {
            let lives = lives(part, Counts { writes, events });
            let all: Vec<Point> = lives.concat();
            let different: BTreeSet<Point> = all.iter().copied().collect();
            assert_eq!(all.len(), writes * ON_WRITES.len() + events * ON_EVENTS.len());
            assert_eq!(all.len(), different.len(), "{writes} writes, {events} events");
            for life in &lives {
                let places: BTreeSet<_> = life
                    .iter()
                    .map(|point| (point.effect.is_on_events(), point.at))
                    .collect();
                assert_eq!(places.len(), life.len(), "{life:?}");
            }
        }
    }

    #[test]
    fn missed_points_get_lives_in_which_each_effect_happens_once() {
        let part = |component| Part {
            story: Story::Exchange,
            component,
        };
        let point = |component, effect, at| Point {
            part: part(component),
            effect,
            at,
        };
        let (manager, agent) = (Component::Manager, Component::AgentAtHub("cluster1"));
        let missed = [
            point(manager, Effect::SkipEvent, 8),
            point(manager, Effect::SkipEvent, 9),
            point(manager, Effect::CutStream, 8),
            point(manager, Effect::KillAfter, 8),
            point(agent, Effect::CutStream, 3),
        ];
        let lives = again(&missed);
        assert_eq!(
            lives,
            [vec![missed[0], missed[3]], vec![missed[1], missed[2]], vec![missed[4]]]
        );
    }
}
