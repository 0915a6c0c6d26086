//! Keeps the probes of delivered links running, and tells what they say.
use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use peering_api::peering::PeerLink;

use super::scene::Scene;
use crate::{
    context::Context,
    decide::{
        Decision,
        link::{Outcome, Report, Said, Stages},
        prove,
    },
    probe::runner,
};

/// What is to be said about it. While a link is not delivered, what was delivered before goes on being probed.
pub fn stage(
    context: &Arc<Context>,
    scene: &Scene,
    decision: &Decision,
    (link, outcome): (&PeerLink, &Outcome),
    stages: &mut Stages,
) {
    let held = decision.held.as_ref().filter(|_| matches!(outcome.report, Report::Delivered(_)));
    let spec = &link.spec;
    let network = match held {
        None => context.probes.known(&spec.id),
        Some(held) => {
            let network = prove::network(spec, held, context.probes.loopback());
            let (queue, place) = (context.queues.targets.clone(), scene.place.clone());
            let whose = runner::Link {
                id: spec.id.clone(),
                peering: spec.peering.clone(),
                artefact: spec.artefact.clone(),
                from: spec.from.cluster.clone(),
            };
            context.probes.want(&whose, &network, &move || queue.add(place.clone()));
            stages.overlap_until = Said::all(decision.overlap_until.map(Time));
            network
        }
    };
    if network.is_empty() && prove::asks_the_network(spec) {
        // Nothing is known of what was delivered before this process started.
        return;
    }
    let proofs = prove::proofs(
        link,
        &network,
        &|index| context.probes.history(&spec.id, index),
        &|place| context.pool.read(place),
        decision.overlap_until,
        Timestamp::now(),
    );
    (stages.trusted, stages.connected) = (proofs.trusted, proofs.connected);
}
