//! Makes the keys of certificates that links ask for, and tells what is to be signed.
use peering_api::{Sensitive, peering::PeerLink};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use tracing::{info, warn};

use super::{TargetError, links::is_live, scene::Scene};
use crate::{
    context::Context,
    decide::{
        certificate::{self, Key},
        link::{Said, Stages},
    },
    spoke::write::act,
};

/// Makes the keys that are missing. Each is used from the next pass on, which the watch of its Secret brings.
pub async fn make(context: &Context, scene: &Scene) -> Result<(), TargetError> {
    for link in scene.links.iter().filter(|link| is_live(link)) {
        let Some(place) = certificate::place(&link.spec, &context.namespace) else {
            continue;
        };
        if scene.keys.get(&link.spec.id) != Some(&Key::Make) {
            continue;
        }
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(TargetError::Key)?;
        let key: Sensitive = key.serialize_pem().into_bytes().into();
        let seen = context.pool.read(&place);
        let action = certificate::keep(&link.spec, key, &seen);
        act(&context.spoke.request, &place, &action, seen.present()).await?;
        info!(object = %place, "key for a certificate made");
    }
    Ok(())
}

/// What is to be said about it.
pub fn stage(context: &Context, link: &PeerLink, stages: &mut Stages) {
    let Some((subject, place)) = link
        .spec
        .certificate
        .as_ref()
        .zip(certificate::place(&link.spec, &context.namespace))
    else {
        stages.certificate_request = Said::Gone;
        return;
    };
    let Key::Ready(key) = certificate::key(&link.spec, &place, &context.pool.read(&place)) else {
        return;
    };
    let before = link
        .status
        .as_ref()
        .and_then(|status| status.certificate_request.as_deref());
    match certificate::request(subject, &key, before) {
        Ok(request) => stages.certificate_request = Said::This(request),
        Err(error) => warn!(link = link.spec.id, "no certificate can be asked for: {error}"),
    }
}
