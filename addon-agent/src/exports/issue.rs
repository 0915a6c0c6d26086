//! Has tokens, certificates and answers issued, and publishes them.
use addon_framework::runtime::Outcome;
use exchange::{
    certificate,
    key::KeyPair,
    refresh::Policy,
    source::{Inputs, Issued, Signer, issued_certificate, issued_token},
};
use jiff::Timestamp;
use peering_api::{
    names,
    peering::{CertificateInput, PeerExport},
};
use tracing::{info, warn};

use super::{ExportError, conclude, fetch};
use crate::{
    context::Context,
    decide::export::{
        Pass,
        issue::{Answer, Order, Request, Unit, policy},
        signing::Wanted,
    },
    hub::Hub,
    spoke::{
        signing::{self, Progress},
        token,
    },
};

/// Has issued what is to be issued now, and writes what came of it.
pub(super) async fn issue(
    context: &Context,
    hub: &Hub,
    export: &PeerExport,
    keys: &KeyPair,
    inputs: &Inputs<'_>,
) -> Result<Outcome, ExportError> {
    let now = Timestamp::now();
    let pass = Pass::new(export, keys, now);
    let asked = inputs.signer().and_then(|signer| Ok((signer, pass.units(inputs)?)));
    let (signer, units) = match asked {
        Ok(asked) => asked,
        Err(bad) => return conclude(context, hub, export, &pass.refuse(&bad)).await,
    };
    let mut issuer = Issuer {
        context,
        peering: &export.spec.peering,
        inputs,
        signer,
        policy: policy(export.spec.refresh.as_ref()),
        now,
        signed: Vec::new(),
    };
    let mut answered = Vec::new();
    for unit in units {
        let answer = issuer.answer(&unit).await;
        answered.push((unit, answer));
    }
    let decision = pass.conclude(inputs, &answered, &mut rand::rng())?;
    let concluded = conclude(context, hub, export, &decision).await;
    // Only what has been handed over: until then it can be read once more.
    if !matches!(concluded, Err(ExportError::Status(_))) {
        issuer.clean_up().await;
    }
    concluded
}

struct Issuer<'c> {
    context: &'c Context,
    peering: &'c str,
    inputs: &'c Inputs<'c>,
    signer: Option<Signer>,
    policy: Policy,
    now: Timestamp,
    /// Names and uids of signing requests that have served.
    signed: Vec<(String, String)>,
}

impl Issuer<'_> {
    async fn answer(&mut self, unit: &Unit<'_>) -> Answer {
        let mut issued = Issued::new();
        let mut first = None;
        match &unit.order {
            Order::Nothing(_) | Order::Held(_) => return Answer::Nothing,
            Order::Tokens => {}
            Order::Certificate(request) => {
                let Some((alias, asked)) = self.inputs.certificate() else {
                    return Answer::Nothing;
                };
                let (chain, expires_at) = match self.certificate(asked, request).await {
                    Ok(certificate) => certificate,
                    Err(answer) => return answer,
                };
                let ca = self.signer.as_ref().map(|signer| signer.ca.as_str());
                issued.insert(alias.to_owned(), issued_certificate(&chain, expires_at, ca));
                first = Some(expires_at);
            }
        }
        for (alias, input) in self.inputs.tokens() {
            let token = match token::request(&self.context.spoke.request, self.peering, input).await {
                Ok(token) => token,
                Err(why) => return Answer::Failed(why),
            };
            // A token is text; one that is not would be no token.
            let text = String::from_utf8_lossy(token.token.expose());
            issued.insert(alias.to_owned(), issued_token(&text, token.expires_at));
            first = Some(first.map_or(token.expires_at, |first: Timestamp| first.min(token.expires_at)));
        }
        for (alias, request) in self.inputs.requests() {
            let (value, expires_at) =
                match fetch::fetch(self.context, self.peering, self.inputs, (alias, request)).await {
                    Ok(answer) => answer,
                    Err(why) => return Answer::Failed(why),
                };
            issued.insert(alias.to_owned(), value);
            first = Some(first.map_or(expires_at, |first: Timestamp| first.min(expires_at)));
        }
        info!(peering = self.peering, inputs = ?issued.keys(), "issued");
        first.map_or(Answer::Nothing, |expires_at| Answer::Issued(issued, expires_at))
    }

    /// The chain for one request, and when it expires.
    async fn certificate(
        &mut self,
        asked: &CertificateInput,
        request: &Request<'_>,
    ) -> Result<(String, Timestamp), Answer> {
        let cluster = &request.recipient.cluster;
        let failed = |why: &dyn std::fmt::Display| Answer::Failed(format!("cluster {cluster}: {why}"));
        if let Some(signer) = &self.signer {
            let chain = signer.sign(&request.checked, self.now, rand::random());
            let chain = chain.map_err(|error| failed(&error))?;
            let issued = certificate::issued(&chain, request.checked.key()).map_err(|error| failed(&error))?;
            return Ok((chain, issued.not_after));
        }
        let link = &request.recipient.link;
        let wanted = Wanted {
            name: names::signing_request_name(link, &request.hash),
            peering: self.peering,
            link,
            pem: request.pem,
            checked: &request.checked,
            lifetime: asked.expiration_seconds,
        };
        match signing::advance(&self.context.spoke.request, &wanted, &self.policy, self.now).await {
            Progress::Signed(chain, expires_at, uid) => {
                self.signed.push((wanted.name, uid));
                Ok((chain, expires_at))
            }
            Progress::Waiting(since) => Err(Answer::Pending(wanted.name, since)),
            Progress::Refused(why) => Err(failed(&why)),
        }
    }

    async fn clean_up(self) {
        for (name, uid) in self.signed {
            if let Err(refusal) = signing::remove(&self.context.spoke.request, &name, uid).await {
                warn!(name, %refusal, "a signing request that has served could not be removed");
            }
        }
    }
}
