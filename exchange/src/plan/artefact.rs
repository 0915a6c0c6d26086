//! The two halves of a link: what its source reads and makes, and what its destination writes and changes.
use peering_api::{
    names,
    peering::{
        ApiServer, ArtefactKind, CaSigner, CertificateInput, CertificateSubject, EndpointInput, HttpRequestInput,
        Input, LinkEnd, Named, ObjectRef, ObjectTemplate, PeerExportSpec, PeerLinkSpec, Probe, Selector,
        ServiceAccountToken, ServicePort, Target, TokenRequestInput, Wire, reasons::Accepted,
    },
};
use serde_json::Value;

use super::{
    Context, Problem,
    members::Member,
    names_check::{is_label, is_subdomain},
};
use crate::{
    expression::{self, Scope, Text},
    rights::consumers,
};

/// Key under which the certificates of a bundle stand where the profile names none.
pub const DEFAULT_BUNDLE_KEY: &str = "ca-bundle.crt";

/// How many former consumers a link names at most, as its schema says. Agents take back what they find within seconds.
const MAX_UNWIRE: usize = 32;

/// Resolves the texts of one artefact in one scope; errors name the field.
struct Resolver<'a> {
    artefact: &'a str,
    scope: &'a Scope,
}

impl Resolver<'_> {
    fn invalid(&self, field: &str, problem: &str) -> Problem {
        let message = format!("artefact {:?}, {field}: {problem}", self.artefact);
        Problem::new(Accepted::InvalidProfile, message)
    }

    fn text(&self, field: &str, text: &str) -> Result<String, Problem> {
        expression::resolve(text, self.scope).map_err(|error| self.invalid(field, &error.to_string()))
    }

    fn texts<'t>(&self, field: &str, texts: impl IntoIterator<Item = &'t String>) -> Result<Vec<String>, Problem> {
        texts.into_iter().map(|text| self.text(field, text)).collect()
    }

    fn checked(&self, field: &str, text: &str, valid: fn(&str) -> bool) -> Result<String, Problem> {
        let resolved = self.text(field, text)?;
        if valid(&resolved) {
            return Ok(resolved);
        }
        let message = format!(
            "artefact {:?}, {field}: {resolved:?} is not a valid Kubernetes name: correct the parameters",
            self.artefact
        );
        Err(Problem::new(Accepted::InvalidParameters, message))
    }

    fn namespace(&self, field: &str, text: &str) -> Result<String, Problem> {
        self.checked(field, text, is_label)
    }

    fn name(&self, field: &str, text: &str) -> Result<String, Problem> {
        self.checked(field, text, is_subdomain)
    }

    /// A name that may depend on inputs stays a text: only the source's agent can resolve it.
    fn source_name(&self, field: &str, text: &str) -> Result<String, Problem> {
        if depends_on_inputs(text) {
            return Ok(text.to_owned());
        }
        self.name(field, text)
    }

    fn object(&self, field: &str, object: &ObjectRef) -> Result<ObjectRef, Problem> {
        Ok(ObjectRef {
            namespace: object
                .namespace
                .as_ref()
                .map(|text| self.namespace(&format!("{field}.namespace"), text))
                .transpose()?,
            name: self.name(&format!("{field}.name"), &object.name)?,
            ..object.clone()
        })
    }

    /// Resolves where the object of a template stands; the rest of it is filled in by the agent.
    fn template(&self, field: &str, template: &ObjectTemplate) -> Result<ObjectTemplate, Problem> {
        let mut template = template.clone();
        for part in ["apiVersion", "kind"] {
            if !template.template.get(part).is_some_and(Value::is_string) {
                return Err(self.invalid(field, &format!("the template has no {part}: set it")));
            }
        }
        let Some(metadata) = template.template.get_mut("metadata").and_then(Value::as_object_mut) else {
            return Err(self.invalid(field, "the template has no metadata: set metadata.name"));
        };
        let Some(name) = metadata.get("name").and_then(Value::as_str) else {
            return Err(self.invalid(field, "the template has no metadata.name: set it"));
        };
        let name = self.name(&format!("{field}.metadata.name"), name)?;
        let namespace = metadata.get("namespace").and_then(Value::as_str);
        let namespace = namespace
            .map(|text| self.namespace(&format!("{field}.metadata.namespace"), text))
            .transpose()?;
        metadata.insert("name".to_owned(), name.into());
        if let Some(namespace) = namespace {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        Ok(template)
    }
}

/// Whether a text needs the inputs of the source, which only its agent sees. What cannot be read is said elsewhere.
fn depends_on_inputs(text: &str) -> bool {
    let references = Text::parse(text).map(|text| text.references()).unwrap_or_default();
    references.iter().any(|reference| reference.variable == "inputs")
}

impl Context<'_> {
    fn scope(&self, from: &Member<'_>, to: Option<&Member<'_>>) -> Scope {
        Scope {
            params: to.unwrap_or(from).parameters.clone(),
            peering: self.name.to_owned(),
            source: from.cluster.to_owned(),
            destination: to.map(|to| to.cluster.to_owned()),
            ..Scope::default()
        }
    }

    /// The source half, without recipients.
    pub(super) fn export(&self, from: &Member<'_>) -> Result<PeerExportSpec, Problem> {
        let scope = self.scope(from, None);
        let artefact = self.artefact;
        let resolver = Resolver {
            artefact: &artefact.name,
            scope: &scope,
        };
        let provision = artefact.provision.iter().enumerate();
        let inputs = artefact.inputs.iter().enumerate();
        let trust = self
            .peering
            .trust
            .as_ref()
            .filter(|_| artefact.kind == ArtefactKind::CaBundle);
        let overridden = trust.and_then(|trust| trust.ca_overrides.iter().find(|entry| entry.cluster == from.cluster));
        Ok(PeerExportSpec {
            peering: self.name.to_owned(),
            profile: self.peering.profile.clone(),
            artefact: artefact.name.clone(),
            kind: artefact.kind,
            confidential: artefact.confidential,
            parameters: from.parameters.clone(),
            provision: provision
                .map(|(index, template)| resolver.template(&format!("provision[{index}]"), template))
                .collect::<Result<_, _>>()?,
            inputs: inputs
                .map(|(index, input)| resolver.input(index, input))
                .collect::<Result<_, _>>()?,
            ready_when: artefact.ready_when.clone(),
            payload: artefact.payload.clone(),
            refresh: artefact.refresh.clone(),
            api_server: self.api_server(from),
            ca_override: overridden.map(|entry| entry.ca_bundle.clone()),
            revision_floor: None,
            recipients: Vec::new(),
        })
    }

    /// How the source's API server is reached, where the artefact asks for it.
    fn api_server(&self, from: &Member<'_>) -> Option<ApiServer> {
        let asks = |input: &Input| {
            input
                .endpoint
                .as_ref()
                .is_some_and(|endpoint| endpoint.api_server.is_some())
        };
        let asked = self.artefact.inputs.iter().any(asks);
        from.facts.api_server.clone().filter(|_| asked)
    }

    /// The destination half.
    pub(super) fn link(&self, from: &Member<'_>, to: &Member<'_>) -> Result<PeerLinkSpec, Problem> {
        let (artefact, scope) = (self.artefact, self.scope(from, Some(to)));
        let resolver = Resolver {
            artefact: &artefact.name,
            scope: &scope,
        };
        let id = names::link_id(self.name, &artefact.name, from.cluster, to.cluster);
        let known = self.facts.links.get(&id);
        let carrier = known.and_then(|known| known.carrier.clone());
        let is_bundle = artefact.kind == ArtefactKind::CaBundle;
        let target = self.target(&resolver)?;
        // The first that is not the target now. Links that share a bundle are withdrawn and made anew instead.
        let previous = known
            .into_iter()
            .flat_map(|known| &known.targets)
            .find(|known| **known != target.object);
        let sender = end(from);
        let awaited = known.and_then(|known| known.awaited_sender.clone());
        // A key that counts no more is not made to count by what it has sealed before.
        let awaited = awaited.filter(|awaited| from.trusted && sender.public_key.as_ref() != Some(awaited));
        let overlap = self.peering.trust.as_ref().and_then(|trust| trust.overlap.clone());
        let known = known.into_iter().flat_map(|known| &known.wired);
        let of = |of: &Option<String>, object: &Option<ObjectRef>, field: &str| {
            self.consumer(&resolver, of.as_deref(), object.as_ref(), field)
        };
        let wire: Vec<_> = artefact
            .wire
            .iter()
            .enumerate()
            .map(|(index, wire)| resolver.wire(index, wire, &of))
            .collect::<Result<_, _>>()?;
        let wanted = consumers(&wire);
        let no_longer = known.filter(|known| wanted.iter().all(|wanted| wanted.object.bare() != known.object.bare()));
        Ok(PeerLinkSpec {
            peering: self.name.to_owned(),
            profile: self.peering.profile.clone(),
            artefact: artefact.name.clone(),
            kind: artefact.kind,
            confidential: artefact.confidential,
            from: LinkEnd {
                previous_public_key: sender.previous_public_key.or(awaited),
                ..sender
            },
            to: end(to),
            parameters: to.parameters.clone(),
            carrier: carrier.unwrap_or_else(|| names::carrier_name(self.name, 0)),
            certificate: resolver.certificate(&artefact.inputs, &self.scope(from, None), to)?,
            previous: previous.filter(|_| !is_bundle).cloned(),
            target,
            unwire: no_longer.take(MAX_UNWIRE).cloned().collect(),
            wire,
            probes: artefact
                .probes
                .iter()
                .enumerate()
                .map(|(index, probe)| Resolver::probe(index, probe, &of))
                .collect::<Result<_, _>>()?,
            overlap: overlap.filter(|_| is_bundle),
            id,
        })
    }

    fn target(&self, resolver: &Resolver<'_>) -> Result<Target, Problem> {
        let deliver = &self.artefact.deliver;
        let object = ObjectRef {
            api_version: deliver.api_version.clone(),
            kind: deliver.kind.clone(),
            resource: deliver.resource.clone(),
            namespace: deliver.namespace.clone(),
            name: deliver.name.clone(),
        };
        let key = (self.artefact.kind == ArtefactKind::CaBundle)
            .then(|| deliver.key.clone().unwrap_or_else(|| DEFAULT_BUNDLE_KEY.to_owned()));
        Ok(Target {
            object: resolver.object("deliver", &object)?,
            type_: deliver.type_.clone(),
            key,
            data: deliver.data.clone(),
            template: deliver.template.clone(),
            labels: deliver.labels.clone(),
            on_conflict: deliver.on_conflict,
            deletion_policy: deliver.deletion_policy,
            used_when: deliver.used_when.clone(),
        })
    }

    /// The object that `of` or `object` denotes on the destination.
    fn consumer(
        &self,
        resolver: &Resolver<'_>,
        of: Option<&str>,
        object: Option<&ObjectRef>,
        field: &str,
    ) -> Result<ObjectRef, Problem> {
        if let Some(object) = object {
            return resolver.object(field, object);
        }
        let of = of.unwrap_or_default();
        let input = self.artefact.inputs.iter().find(|input| input.alias == of);
        let named = input.and_then(|input| {
            Some(ObjectRef {
                api_version: input.api_version.clone()?,
                kind: input.kind.clone()?,
                resource: input.resource.clone(),
                namespace: input.namespace.clone(),
                name: input.name.clone()?,
            })
        });
        let Some(named) = named else {
            let problem = format!("{of:?} is not an input that names an object: correct 'of', or use 'object'");
            return Err(resolver.invalid(&format!("{field}.of"), &problem));
        };
        if depends_on_inputs(&named.name) {
            let problem = format!(
                "the name of input {of:?} depends on other inputs, which this cluster does not see: use 'object'"
            );
            return Err(resolver.invalid(&format!("{field}.of"), &problem));
        }
        resolver.object(field, &named)
    }
}

fn end(member: &Member<'_>) -> LinkEnd {
    let usable = |key: &Option<String>| key.clone().filter(|_| member.trusted);
    LinkEnd {
        cluster: member.cluster.to_owned(),
        public_key: usable(&member.facts.public_key),
        previous_public_key: usable(&member.facts.previous_public_key),
    }
}

type Consumer<'a> = dyn Fn(&Option<String>, &Option<ObjectRef>, &str) -> Result<ObjectRef, Problem> + 'a;

impl Resolver<'_> {
    fn input(&self, index: usize, input: &Input) -> Result<Input, Problem> {
        let field = |part: &str| format!("inputs[{index}].{part}");
        let mut resolved = input.clone();
        if let Some(namespace) = &input.namespace {
            resolved.namespace = Some(self.namespace(&field("namespace"), namespace)?);
        }
        if let Some(name) = &input.name {
            resolved.name = Some(self.source_name(&field("name"), name)?);
        }
        if let Some(selector) = &input.selector {
            resolved.selector = Some(self.selector(&field("selector"), selector)?);
        }
        if let Some(token) = &input.token_request {
            resolved.token_request = Some(TokenRequestInput {
                namespace: self.namespace(&field("tokenRequest.namespace"), &token.namespace)?,
                service_account: self.name(&field("tokenRequest.serviceAccount"), &token.service_account)?,
                ..token.clone()
            });
        }
        if let Some(certificate) = &input.certificate
            && let Some(ca) = &certificate.signer.ca
        {
            let named = self.named(&field("certificate.signer.ca"), &ca.namespace, &ca.name)?;
            let mut certificate = certificate.clone();
            certificate.signer.ca = Some(CaSigner {
                namespace: named.namespace,
                name: named.name,
                usage: ca.usage,
            });
            resolved.certificate = Some(certificate);
        }
        if let Some(request) = &input.http_request {
            resolved.http_request = Some(self.http_request(&field("httpRequest"), request)?);
        }
        if let Some(endpoint) = &input.endpoint {
            resolved.endpoint = Some(self.endpoint(&field("endpoint"), endpoint)?);
        }
        Ok(resolved)
    }

    fn http_request(&self, field: &str, request: &HttpRequestInput) -> Result<HttpRequestInput, Problem> {
        let token = request.token.as_ref().map(|token| {
            Ok(ServiceAccountToken {
                namespace: self.namespace(&format!("{field}.token.namespace"), &token.namespace)?,
                service_account: self.name(&format!("{field}.token.serviceAccount"), &token.service_account)?,
                ..token.clone()
            })
        });
        Ok(HttpRequestInput {
            url: self.text(&format!("{field}.url"), &request.url)?,
            token: token.transpose()?,
            ..request.clone()
        })
    }

    fn selector(&self, field: &str, selector: &Selector) -> Result<Selector, Problem> {
        let labels = selector.match_labels.iter();
        let labels = labels.map(|(key, text)| Ok((key.clone(), self.text(&format!("{field}.matchLabels"), text)?)));
        Ok(Selector {
            match_labels: labels.collect::<Result<_, Problem>>()?,
        })
    }

    fn named(&self, field: &str, namespace: &str, name: &str) -> Result<Named, Problem> {
        Ok(Named {
            namespace: self.namespace(&format!("{field}.namespace"), namespace)?,
            name: self.name(&format!("{field}.name"), name)?,
        })
    }

    fn endpoint(&self, field: &str, endpoint: &EndpointInput) -> Result<EndpointInput, Problem> {
        let service = |part: &str, port: &Option<ServicePort>| {
            port.as_ref()
                .map(|port| {
                    let named = self.named(&format!("{field}.{part}"), &port.namespace, &port.name)?;
                    Ok(ServicePort {
                        namespace: named.namespace,
                        name: named.name,
                        port: port.port.clone(),
                    })
                })
                .transpose()
        };
        let named = |part: &str, named: &Option<Named>| {
            let named = named.as_ref();
            named
                .map(|named| self.named(&format!("{field}.{part}"), &named.namespace, &named.name))
                .transpose()
        };
        Ok(EndpointInput {
            api_server: endpoint.api_server,
            service: service("service", &endpoint.service)?,
            route: named("route", &endpoint.route)?,
            ingress: named("ingress", &endpoint.ingress)?,
            nodes: service("nodes", &endpoint.nodes)?,
            r#static: endpoint
                .r#static
                .as_ref()
                .map(|text| self.text(&format!("{field}.static"), text))
                .transpose()?,
        })
    }

    /// What the destination has to ask for. Names are the source's business: they see its parameters.
    fn certificate(
        &self,
        inputs: &[Input],
        source: &Scope,
        to: &Member<'_>,
    ) -> Result<Option<CertificateSubject>, Problem> {
        let found = inputs
            .iter()
            .enumerate()
            .find_map(|(index, input)| Some((index, input.certificate.as_ref()?)));
        let Some((index, asked)) = found else {
            return Ok(None);
        };
        let scope = Scope {
            destination: Some(to.cluster.to_owned()),
            ..source.clone()
        };
        let resolver = Resolver {
            artefact: self.artefact,
            scope: &scope,
        };
        resolver
            .subject(&format!("inputs[{index}].certificate"), asked)
            .map(Some)
    }

    fn subject(&self, field: &str, asked: &CertificateInput) -> Result<CertificateSubject, Problem> {
        Ok(CertificateSubject {
            common_name: self.text(&format!("{field}.commonName"), &asked.common_name)?,
            organizations: self.texts(&format!("{field}.organizations"), &asked.organizations)?,
            dns_names: self.texts(&format!("{field}.dnsNames"), &asked.dns_names)?,
        })
    }

    fn wire(&self, index: usize, wire: &Wire, consumer: &Consumer<'_>) -> Result<Wire, Problem> {
        let field = |part: &str| format!("wire[{index}].{part}");
        let mut resolved = wire.clone();
        if let Some(apply) = &wire.apply {
            resolved.apply = Some(self.template(&field("apply"), apply)?);
        }
        if let Some(add) = &mut resolved.add_to_list {
            add.object = Some(consumer(&add.of, &add.object, &field("addToList"))?);
            add.of = None;
        }
        if let Some(set) = &mut resolved.set_field {
            set.object = Some(consumer(&set.of, &set.object, &field("setField"))?);
            set.of = None;
        }
        if let Some(annotate) = &mut resolved.annotate {
            annotate.object = Some(consumer(&annotate.of, &annotate.object, &field("annotate"))?);
            annotate.of = None;
        }
        Ok(resolved)
    }

    fn probe(index: usize, probe: &Probe, consumer: &Consumer<'_>) -> Result<Probe, Problem> {
        let mut resolved = probe.clone();
        if let Some(object) = &mut resolved.object {
            object.object = Some(consumer(
                &object.of,
                &object.object,
                &format!("probes[{index}].object"),
            )?);
            object.of = None;
        }
        Ok(resolved)
    }
}
