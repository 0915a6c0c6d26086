//! From a Deployment to what is to be run: pure, so that what a container gets can be read and tested here.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use k8s_openapi::{
    api::{
        apps::v1::Deployment,
        core::v1::{Container, ObjectFieldSelector, PodSpec, PodTemplateSpec},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};
use kube::ResourceExt;

use super::{
    DEFAULT_GRACE,
    volumes::{self, Volume},
};

/// Where the kubelet mounts the service account's token.
pub(super) const SERVICE_ACCOUNT_MOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The volume of the service account's token.
pub(super) const SERVICE_ACCOUNT_VOLUME: &str = "kube-api-access";

/// Where the value of an environment variable comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    /// It is known.
    Literal(String),
    /// A key of a Secret or `ConfigMap`: secret?, name, key, optional.
    Key(bool, String, String, bool),
}

/// An HTTP readiness probe.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Probe {
    pub(super) path: String,
    pub(super) port: u16,
    pub(super) period: Duration,
    pub(super) failures: u32,
}

/// What one pod of a Deployment is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plan {
    pub(super) namespace: String,
    pub(super) deployment: String,
    pub(super) pod: String,
    pub(super) service_account: String,
    pub(super) program: String,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, Value)>,
    pub(super) volumes: Vec<Volume>,
    /// Mount path and the place in the pod's volume directory.
    pub(super) mounts: Vec<(String, PathBuf)>,
    pub(super) ports: Vec<u16>,
    pub(super) readiness: Option<Probe>,
    pub(super) grace: Duration,
    pub(super) kubeconfig: bool,
}

/// Whether the last path element of an image, without tag and digest, is `name`.
fn is_image(image: &str, name: &str) -> bool {
    let image = image.split('@').next().unwrap_or(image);
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split(':').next() == Some(name)
}

/// The container of a template that runs our image.
fn container<'a>(template: &'a PodTemplateSpec, image: &str) -> Option<(&'a PodSpec, &'a Container)> {
    let spec = template.spec.as_ref()?;
    let ours = |container: &&Container| container.image.as_deref().is_some_and(|actual| is_image(actual, image));
    Some((spec, spec.containers.iter().find(ours)?))
}

/// A text that changes exactly when the pod has to be made anew, or nothing when no pod is wanted here.
pub(super) fn identity(deployment: &Deployment, image: &str) -> Option<String> {
    let spec = deployment.spec.as_ref()?;
    if spec.replicas == Some(0) || deployment.metadata.deletion_timestamp.is_some() {
        return None;
    }
    container(&spec.template, image)?;
    let template = serde_json::to_string(&spec.template).ok()?;
    Some(format!("{} {template}", deployment.uid().unwrap_or_default()))
}

impl Plan {
    /// Plans the pod of a Deployment that [`identity`] wants.
    pub(super) fn new(deployment: &Deployment, image: &str, node: &str, serial: u32) -> Result<Self> {
        let template = deployment.spec.as_ref().map(|spec| &spec.template).context("no spec")?;
        let (spec, container) = container(template, image).context("no container of ours")?;
        let mut hasher = DefaultHasher::new();
        identity(deployment, image).hash(&mut hasher);
        let (namespace, name) = (deployment.namespace().unwrap_or_default(), deployment.name_any());
        let pod = format!("{name}-{:08x}-{serial:05}", hasher.finish() & 0xffff_ffff);
        let account = spec
            .service_account_name
            .clone()
            .unwrap_or_else(|| "default".to_owned());
        let facts = Facts {
            template,
            namespace: &namespace,
            pod: &pod,
            node,
            account: &account,
        };

        let command = [
            container.command.clone().unwrap_or_default(),
            container.args.clone().unwrap_or_default(),
        ]
        .concat();
        let (program, args) = command
            .split_first()
            .ok_or_else(|| anyhow!("the container has no command"))?;
        let program = program.rsplit('/').next().unwrap_or(program).to_owned();

        let mut volumes: Vec<Volume> = Vec::new();
        for volume in spec.volumes.iter().flatten() {
            volumes.push(volumes::plan(volume, &|field| facts.field(field))?);
        }
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let mut place = PathBuf::from(&mount.name);
            // Joining an empty path would add a slash.
            place.extend(mount.sub_path.iter().filter(|path| !path.is_empty()));
            mounts.push((mount.mount_path.clone(), place));
        }
        let kubeconfig = spec.automount_service_account_token.unwrap_or(true);
        if kubeconfig && !mounts.iter().any(|(mount, _)| mount == SERVICE_ACCOUNT_MOUNT) {
            volumes.push(volumes::service_account(SERVICE_ACCOUNT_VOLUME, &namespace));
            mounts.push((SERVICE_ACCOUNT_MOUNT.to_owned(), PathBuf::from(SERVICE_ACCOUNT_VOLUME)));
        }

        let ports = container.ports.iter().flatten();
        let ports = ports
            .map(|port| u16::try_from(port.container_port))
            .collect::<Result<_, _>>()?;
        let grace = spec
            .termination_grace_period_seconds
            .and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Self {
            env: facts.env(container)?,
            readiness: readiness(container)?,
            namespace: namespace.clone(),
            deployment: name,
            pod: pod.clone(),
            service_account: account.clone(),
            program,
            args: args.to_vec(),
            volumes,
            mounts,
            ports,
            grace: grace.map_or(DEFAULT_GRACE, Duration::from_secs),
            kubeconfig,
        })
    }
}

/// What a pod can be told about itself.
struct Facts<'a> {
    template: &'a PodTemplateSpec,
    namespace: &'a str,
    pod: &'a str,
    node: &'a str,
    account: &'a str,
}

impl Facts<'_> {
    fn field(&self, path: &str) -> Result<String> {
        let labels = || {
            self.template
                .metadata
                .as_ref()
                .and_then(|metadata| metadata.labels.clone())
        };
        let annotations = || {
            self.template
                .metadata
                .as_ref()
                .and_then(|metadata| metadata.annotations.clone())
        };
        let entry = |map: Option<BTreeMap<String, String>>, rest: &str| {
            let key = rest.trim_end_matches(']').trim_matches('\'');
            map.and_then(|mut map| map.remove(key)).unwrap_or_default()
        };
        Ok(match path {
            "metadata.name" => self.pod.to_owned(),
            "metadata.namespace" => self.namespace.to_owned(),
            "metadata.uid" => format!("uid-of-{}", self.pod),
            "status.podIP" | "status.podIPs" | "status.hostIP" | "status.hostIPs" => "127.0.0.1".to_owned(),
            "spec.nodeName" => self.node.to_owned(),
            "spec.serviceAccountName" => self.account.to_owned(),
            _ => match (
                path.strip_prefix("metadata.labels["),
                path.strip_prefix("metadata.annotations["),
            ) {
                (Some(rest), _) => entry(labels(), rest),
                (_, Some(rest)) => entry(annotations(), rest),
                _ => bail!("the node knows no field {path}"),
            },
        })
    }

    fn env(&self, container: &Container) -> Result<Vec<(String, Value)>> {
        if container.env_from.as_ref().is_some_and(|sources| !sources.is_empty()) {
            bail!("the node knows no envFrom");
        }
        let mut env = Vec::new();
        for variable in container.env.iter().flatten() {
            let source = variable.value_from.as_ref();
            let field = source.and_then(|source| source.field_ref.as_ref());
            let secret = source.and_then(|source| source.secret_key_ref.as_ref());
            let config = source.and_then(|source| source.config_map_key_ref.as_ref());
            let value = match (field, secret, config) {
                (Some(ObjectFieldSelector { field_path, .. }), _, _) => Value::Literal(self.field(field_path)?),
                (_, Some(key), _) => Value::Key(
                    true,
                    key.name.clone(),
                    key.key.clone(),
                    key.optional.unwrap_or_default(),
                ),
                (_, _, Some(key)) => Value::Key(
                    false,
                    key.name.clone(),
                    key.key.clone(),
                    key.optional.unwrap_or_default(),
                ),
                _ if source.is_some() => bail!("the node does not know where {} comes from", variable.name),
                _ => Value::Literal(variable.value.clone().unwrap_or_default()),
            };
            env.push((variable.name.clone(), value));
        }
        Ok(env)
    }
}

fn readiness(container: &Container) -> Result<Option<Probe>> {
    let Some(probe) = &container.readiness_probe else {
        return Ok(None);
    };
    let Some(get) = &probe.http_get else {
        bail!("the node knows no readiness probe but httpGet")
    };
    let port = match &get.port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            let mut ports = container.ports.iter().flatten();
            let named = ports.find(|port| port.name.as_deref() == Some(name));
            named
                .ok_or_else(|| anyhow!("the container has no port {name}"))?
                .container_port
        }
    };
    Ok(Some(Probe {
        path: get.path.clone().unwrap_or_else(|| "/".to_owned()),
        port: u16::try_from(port)?,
        period: Duration::from_secs(
            probe
                .period_seconds
                .and_then(|s| u64::try_from(s).ok())
                .unwrap_or(10)
                .max(1),
        ),
        failures: probe.failure_threshold.and_then(|n| u32::try_from(n).ok()).unwrap_or(3),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(changes: &serde_json::Value) -> Deployment {
        let mut container = json!({
            "name": "agent",
            "image": "registry.example/x/multicluster-orchestrator:v1",
            "command": ["/addon-agent"],
            "args": ["--hub-kubeconfig=/hub/kubeconfig"],
        });
        for (key, value) in changes.as_object().unwrap() {
            container[key] = value.clone();
        }
        serde_json::from_value(json!({
            "metadata": {"name": "d", "namespace": "n", "uid": "u"},
            "spec": {"selector": {}, "template": {
                "metadata": {"labels": {"a/b": "c"}},
                "spec": {
                    "serviceAccountName": "sa",
                    "volumes": [{"name": "hub", "secret": {"secretName": "hub-kubeconfig"}}],
                    "containers": [container],
                },
            }},
        }))
        .unwrap()
    }

    fn plan(changes: &serde_json::Value) -> Result<Plan> {
        Plan::new(&deployment(changes), "multicluster-orchestrator", "node", 1)
    }

    #[test]
    fn our_image_is_known_by_the_last_element_of_its_path() {
        for (image, ours) in [
            ("multicluster-orchestrator", true),
            ("localhost:5000/a/multicluster-orchestrator:v1@sha256:0", true),
            ("a/multicluster-orchestrator-cli:v1", false),
            ("multicluster-orchestrator/other", false),
        ] {
            assert_eq!(is_image(image, "multicluster-orchestrator"), ours, "{image}");
        }
    }

    #[test]
    fn the_container_gets_its_command_its_mounts_and_a_token() {
        let plan = plan(&json!({"volumeMounts": [{"name": "hub", "mountPath": "/hub"}], "ports": [{"containerPort": 8080, "name": "h"}],
            "readinessProbe": {"httpGet": {"path": "/readyz", "port": "h"}}}))
        .unwrap();
        assert_eq!(
            (plan.program.as_str(), plan.service_account.as_str()),
            ("addon-agent", "sa")
        );
        assert_eq!(plan.mounts[0], ("/hub".to_owned(), PathBuf::from("hub")));
        assert_eq!(plan.mounts[1].0, SERVICE_ACCOUNT_MOUNT);
        assert_eq!(plan.readiness.unwrap().port, 8080);
        assert!(plan.kubeconfig);
    }

    #[test]
    fn the_environment_knows_the_pod() {
        let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
        let plan = plan(&json!({"env": [
            {"name": "V", "value": "1"}, field("NS", "metadata.namespace"), field("L", "metadata.labels['a/b']"),
            {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        ]}))
        .unwrap();
        let literal = |name: &str, value: &str| (name.to_owned(), Value::Literal(value.to_owned()));
        assert_eq!(
            plan.env[..3],
            [literal("V", "1"), literal("NS", "n"), literal("L", "c")]
        );
        assert_eq!(plan.env[3].1, Value::Key(true, "s".to_owned(), "k".to_owned(), false));
    }

    #[test]
    fn what_the_node_does_not_know_is_an_error_and_not_left_out() {
        for changes in [
            json!({"command": [], "args": []}),
            json!({"env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "status.startTime"}}}]}),
            json!({"readinessProbe": {"exec": {"command": ["true"]}}}),
            json!({"envFrom": [{"secretRef": {"name": "s"}}]}),
        ] {
            assert!(plan(&changes).is_err(), "{changes}");
        }
    }

    #[test]
    fn a_pod_is_made_anew_when_the_template_changes_and_only_then() {
        let image = "multicluster-orchestrator";
        let mut changed = deployment(&json!({}));
        let before = identity(&changed, image);
        changed.metadata.annotations = Some(BTreeMap::from([("x".to_owned(), "y".to_owned())]));
        assert_eq!(identity(&changed, image), before);
        assert_ne!(identity(&deployment(&json!({"args": ["--other"]})), image), before);
        changed.spec.as_mut().unwrap().replicas = Some(0);
        assert_eq!(identity(&changed, image), None);
        assert_eq!(identity(&deployment(&json!({"image": "nginx"})), image), None);
    }
}
