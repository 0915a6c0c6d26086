//! What scenarios share: the product on the shared environment, and a namespace, a Peering and helpers per scenario.
pub mod end;
pub mod objects;
pub mod scenario;
pub mod world;

pub use self::{
    scenario::{Scenario, Side},
    world::World,
};
