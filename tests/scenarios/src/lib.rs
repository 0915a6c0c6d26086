//! What scenarios share: the product on the shared environment, and a namespace, a Peering and helpers per scenario. And what
//! benchmarks share.
pub mod bench;
pub mod demo;
pub mod end;
pub mod fleet;
pub mod kinds;
pub mod objects;
pub mod odf;
pub mod odf_client;
pub mod quiet;
pub mod rook;
pub mod s3;
pub mod scenario;
pub mod tls;
pub mod witness;
pub mod world;

pub use self::{
    fleet::Fleet,
    kinds::Pools,
    scenario::{Scenario, Side},
    witness::Witness,
    world::World,
};
