//! What is checked in is what comes out, and users get with OLM and Helm what they get with kustomize.
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::{
    DEFAULT_IMAGE,
    base::{self, kind, name, of_kind, only},
    bundle, chart, checked_in,
    csv::{Release, csv},
    read, sbom, schema, stale, workspace_version,
};

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn hub() -> Vec<Value> {
    base::objects(&repository().join("manifests/hub")).unwrap()
}

fn version() -> String {
    workspace_version(&read(&repository().join("Cargo.toml")).unwrap()).unwrap()
}

fn release() -> Release {
    Release {
        image: "registry:5000/me/multicluster-orchestrator:v9".to_owned(),
        version: version(),
        replaces: Some("odf-multicluster-orchestrator.v0.0.9".to_owned()),
    }
}

fn yaml(path: &str) -> Vec<Value> {
    let path = repository().join(path);
    base::documents(&path, &read(&path).unwrap()).unwrap()
}

fn the_csv() -> Value {
    let path = format!("bundle/manifests/{}.clusterserviceversion.yaml", crate::PACKAGE);
    yaml(&path).pop().unwrap()
}

#[test]
fn what_is_checked_in_is_what_comes_out() {
    let files = checked_in(&repository(), &version()).unwrap();
    let stale = stale(&repository(), &files).unwrap();
    assert!(stale.is_empty(), "run `make manifests`: {stale:?}");
}

#[test]
fn olm_grants_what_kustomize_grants() {
    let (hub, csv) = (hub(), the_csv());
    let spec = &csv["spec"]["install"]["spec"];
    let granted = spec["clusterPermissions"].as_array().unwrap();
    let roles: Vec<&Value> = of_kind(&hub, "ClusterRole").map(|role| &role["rules"]).collect();
    assert_eq!(
        granted.iter().map(|granted| &granted["rules"]).collect::<Vec<_>>(),
        roles
    );
    let accounts: Vec<_> = of_kind(&hub, "ServiceAccount").map(name).collect();
    assert!(
        granted
            .iter()
            .all(|granted| accounts.contains(&granted["serviceAccountName"].as_str().unwrap()))
    );
    assert_eq!(
        of_kind(&hub, "Role").count(),
        spec["permissions"].as_array().map_or(0, Vec::len)
    );
}

#[test]
fn olm_installs_the_deployment_of_the_manifests() {
    let (hub, csv) = (hub(), the_csv());
    let deployment = only(&hub, "Deployment").unwrap();
    let installed = &csv["spec"]["install"]["spec"]["deployments"];
    assert_eq!(installed.as_array().unwrap().len(), 1);
    assert_eq!(
        (&installed[0]["name"], &installed[0]["spec"]),
        (&deployment["metadata"]["name"], &deployment["spec"])
    );
}

#[test]
fn a_bundle_names_the_image_of_its_release_only() {
    let source = bundle::source(&repository()).unwrap();
    let files = bundle::bundle(&hub(), &source, &release()).unwrap();
    assert!(files.values().all(|text| !text.contains(DEFAULT_IMAGE)));
    let (_, text) = files
        .iter()
        .find(|(path, _)| path.contains("clusterserviceversion"))
        .unwrap();
    let csv: Value = serde_saphyr::from_str(text).unwrap();
    let image = release().image;
    let pod = &csv["spec"]["install"]["spec"]["deployments"][0]["spec"]["template"]["spec"];
    assert_eq!(pod["containers"][0]["image"], image.as_str());
    assert!(
        pod["containers"][0]["env"]
            .as_array()
            .unwrap()
            .contains(&json!({"name": "AGENT_IMAGE", "value": image}))
    );
    assert_eq!(csv["spec"]["relatedImages"][0]["image"], image.as_str());
    assert_eq!(csv["spec"]["replaces"], "odf-multicluster-orchestrator.v0.0.9");
}

#[test]
fn every_owned_crd_has_a_description_and_an_example_that_its_schema_allows() {
    let (hub, csv) = (hub(), the_csv());
    let examples: Vec<Value> =
        serde_json::from_str(csv["metadata"]["annotations"]["alm-examples"].as_str().unwrap()).unwrap();
    let owned = csv["spec"]["customresourcedefinitions"]["owned"].as_array().unwrap();
    assert_eq!(owned.len(), of_kind(&hub, "CustomResourceDefinition").count());
    assert_eq!(examples.len(), owned.len());
    for owned in owned {
        let crd = of_kind(&hub, "CustomResourceDefinition")
            .find(|crd| owned["name"] == name(crd))
            .unwrap();
        let example = examples.iter().find(|example| example["kind"] == owned["kind"]);
        let example = example.unwrap_or_else(|| panic!("no example of {}", owned["kind"]));
        assert_eq!(schema::problems(crd, example), [""; 0], "{}", owned["kind"]);
        let descriptors = ["specDescriptors", "statusDescriptors"].map(|half| owned[half].as_array().unwrap().clone());
        let texts = descriptors.iter().flatten().chain([owned]);
        for text in texts {
            assert!(
                text["description"].as_str().is_some_and(|text| !text.is_empty()),
                "{} {text}",
                owned["kind"]
            );
            assert!(
                text["displayName"].as_str().is_some_and(|text| !text.is_empty()),
                "{text}"
            );
        }
    }
}

#[test]
fn olm_may_install_it_in_its_own_namespace_and_for_all() {
    let csv = the_csv();
    let modes = csv["spec"]["installModes"].as_array().unwrap();
    let supported: Vec<_> = modes
        .iter()
        .filter(|mode| mode["supported"] == true)
        .map(|mode| mode["type"].clone())
        .collect();
    assert_eq!(supported, ["OwnNamespace", "AllNamespaces"]);
    assert_eq!(modes.len(), 4);
}

#[test]
fn what_a_base_may_not_hold_is_refused() {
    let mut objects = hub();
    objects.push(json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}));
    let source = bundle::source(&repository()).unwrap();
    let error = bundle::bundle(&objects, &source, &release()).unwrap_err().to_string();
    assert!(
        error.contains("Service s of the base has no place in a bundle"),
        "{error}"
    );

    objects.pop();
    let binding = objects
        .iter_mut()
        .find(|object| kind(object) == "ClusterRoleBinding")
        .unwrap();
    binding["roleRef"]["name"] = json!("other");
    assert!(csv(&objects, &source, &release()).is_err());

    let overlay = base::objects(&repository().join("manifests/overlays/default")).unwrap_err();
    assert!(overlay.to_string().contains("only plain resources"), "{overlay}");
}

#[test]
fn the_schema_check_finds_what_the_api_server_would_drop_or_refuse() {
    let crd = json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
    "type": "object", "required": ["spec"], "properties": {"spec": {"type": "object", "required": ["a"], "properties": {
        "a": {"type": "string", "enum": ["x"]},
        "list": {"type": "array", "items": {"type": "integer"}},
        "map": {"type": "object", "additionalProperties": {"type": "string"}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}}}}}]}});
    let problems = |spec: Value| schema::problems(&crd, &json!({"apiVersion": "g/v1", "kind": "K", "spec": spec}));
    let fine = json!({"a": "x", "list": [1], "map": {"k": "v"}, "open": {"k": 1}});
    assert_eq!(problems(fine), [""; 0]);
    for (spec, problem) in [
        (json!({}), ".spec: \"a\" is missing"),
        (json!({"a": 1}), ".spec.a: not of type"),
        (json!({"a": "y"}), ".spec.a: \"y\" is none of"),
        (json!({"a": "x", "b": 1}), ".spec.b: unknown field"),
        (json!({"a": "x", "list": ["1"]}), ".spec.list[0]: not of type"),
        (json!({"a": "x", "map": {"k": 1}}), ".spec.map.k: not of type"),
    ] {
        let found = problems(spec);
        assert!(found.len() == 1 && found[0].starts_with(problem), "{found:?}");
    }
    assert_eq!(schema::problems(&crd, &json!({"apiVersion": "g/v2"})).len(), 1);
}

/// Empty lists that the chart names and the manifests leave out.
fn without_empty(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, field| *field != json!([]));
            fields.values_mut().for_each(without_empty);
        }
        Value::Array(items) => items.iter_mut().for_each(without_empty),
        _ => {}
    }
}

#[test]
fn helm_installs_what_kustomize_installs() {
    let files = chart::chart(&hub(), &version()).unwrap();
    let values: Value = serde_saphyr::from_str(&files["values.yaml"]).unwrap();
    let mut rendered = chart::render(&files, &values, "multicluster-orchestrator").unwrap();
    let mut wanted: Vec<Value> = hub().into_iter().filter(|object| kind(object) != "Namespace").collect();
    for crd in wanted
        .iter_mut()
        .filter(|object| kind(object) == "CustomResourceDefinition")
    {
        crd["metadata"]["annotations"] = json!({"helm.sh/resource-policy": "keep"});
    }
    for objects in [&mut rendered, &mut wanted] {
        objects.iter_mut().for_each(without_empty);
        objects.sort_by_key(|object| format!("{} {}", kind(object), name(object)));
    }
    assert_eq!(rendered, wanted);
}

#[test]
fn values_of_the_chart_arrive() {
    let files = chart::chart(&hub(), &version()).unwrap();
    let mut values: Value = serde_saphyr::from_str(&files["values.yaml"]).unwrap();
    values["image"] = json!("other:1");
    values["resources"] = json!({"limits": {"memory": "1Gi"}});
    values["tolerations"] = json!([{"operator": "Exists"}]);
    values["crds"]["install"] = json!(false);
    values["networkPolicy"]["enabled"] = json!(false);
    let rendered = chart::render(&files, &values, "elsewhere").unwrap();
    assert_eq!(of_kind(&rendered, "CustomResourceDefinition").count(), 0);
    assert_eq!(of_kind(&rendered, "NetworkPolicy").count(), 0);
    let deployment = only(&rendered, "Deployment").unwrap();
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(deployment["metadata"]["namespace"], "elsewhere");
    assert_eq!(pod["containers"][0]["image"], "other:1");
    assert_eq!(pod["containers"][0]["env"][0]["value"], "other:1");
    assert_eq!(pod["containers"][0]["resources"]["limits"]["memory"], "1Gi");
    assert_eq!(pod["tolerations"][0]["operator"], "Exists");
    let binding = only(&rendered, "ClusterRoleBinding").unwrap();
    assert_eq!(binding["subjects"][0]["namespace"], "elsewhere");
}

/// The rules of the `restricted` Pod Security level, as far as a pod of ours can break them.
fn breaks_restricted(pod: &Value) -> Vec<String> {
    let mut broken = Vec::new();
    for field in [
        "hostNetwork",
        "hostPID",
        "hostIPC",
        "initContainers",
        "ephemeralContainers",
    ] {
        if pod.get(field).is_some() {
            broken.push(field.to_owned());
        }
    }
    let security = &pod["securityContext"];
    if security["runAsNonRoot"] != true || security["seccompProfile"]["type"] != "RuntimeDefault" {
        broken.push("securityContext".to_owned());
    }
    for volume in pod["volumes"].as_array().into_iter().flatten() {
        let allowed = ["configMap", "secret", "projected", "emptyDir", "downwardAPI"];
        if !allowed.iter().any(|kind| volume.get(kind).is_some()) {
            broken.push(format!("volume {}", volume["name"]));
        }
    }
    for container in pod["containers"].as_array().into_iter().flatten() {
        let security = &container["securityContext"];
        let fine = security["allowPrivilegeEscalation"] == false
            && security["readOnlyRootFilesystem"] == true
            && security["capabilities"] == json!({"drop": ["ALL"]})
            && security.get("privileged").is_none()
            && security.get("runAsUser").is_none();
        let ports = container["ports"].as_array().into_iter().flatten();
        if !fine || ports.clone().any(|port| port.get("hostPort").is_some()) {
            broken.push(format!("container {}", container["name"]));
        }
    }
    broken
}

#[test]
fn pods_pass_the_restricted_level_and_have_probes_and_resources() {
    let mut objects = hub();
    objects.extend(yaml("manifests/agent/agent.yaml"));
    let pods: Vec<_> = of_kind(&objects, "Deployment")
        .map(|deployment| &deployment["spec"]["template"]["spec"])
        .collect();
    assert_eq!(pods.len(), 2);
    for pod in pods {
        assert_eq!(breaks_restricted(pod), [""; 0], "{pod}");
        let container = &pod["containers"][0];
        for probe in ["livenessProbe", "readinessProbe"] {
            assert!(container[probe].is_object(), "{probe} of {}", container["name"]);
        }
        let resources = &container["resources"];
        assert!(resources["requests"]["cpu"].is_string() && resources["requests"]["memory"].is_string());
        assert!(resources["limits"]["memory"].is_string());
        assert!(!breaks_restricted(&json!({"containers": [{"name": "c"}]})).is_empty());
    }
}

/// What is wrong with the names by which objects of a Deployment's manifests find it, and it them.
fn loose_ends(objects: &[Value]) -> Vec<&'static str> {
    let deployment = only(objects, "Deployment").unwrap();
    let (labels, pod) = (
        &deployment["spec"]["template"]["metadata"]["labels"],
        &deployment["spec"]["template"]["spec"],
    );
    let policy = &only(objects, "NetworkPolicy").unwrap()["spec"];
    let mut budgets = of_kind(objects, "PodDisruptionBudget");
    let found = [
        ("selector", &deployment["spec"]["selector"]["matchLabels"] == labels),
        (
            "budget",
            budgets.all(|budget| &budget["spec"]["selector"]["matchLabels"] == labels),
        ),
        ("policy", &policy["podSelector"]["matchLabels"] == labels),
        (
            "port",
            policy["ingress"][0]["ports"][0]["port"] == pod["containers"][0]["ports"][0]["name"],
        ),
        (
            "priority",
            pod["priorityClassName"] == only(objects, "PriorityClass").unwrap()["metadata"]["name"],
        ),
        (
            "account",
            pod["serviceAccountName"] == only(objects, "ServiceAccount").unwrap()["metadata"]["name"],
        ),
    ];
    let loose = found.into_iter().filter(|(_, fits)| !fits);
    loose.map(|(what, _)| what).collect()
}

#[test]
fn names_in_the_manifests_of_manager_and_agent_fit_together() {
    let hub = hub();
    assert_eq!(of_kind(&hub, "PodDisruptionBudget").count(), 1);
    for mut objects in [hub, yaml("manifests/agent/agent.yaml")] {
        assert_eq!(loose_ends(&objects), [""; 0]);
        let deployment = objects.iter_mut().find(|object| kind(object) == "Deployment").unwrap();
        deployment["spec"]["template"]["metadata"]["labels"] = json!({"app.kubernetes.io/name": "other"});
        deployment["spec"]["template"]["spec"]["priorityClassName"] = json!("other");
        deployment["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"] = json!("other");
        assert!(
            ["selector", "policy", "port", "priority"]
                .iter()
                .all(|what| loose_ends(&objects).contains(what))
        );
    }
}

#[test]
fn the_bill_of_materials_names_what_is_linked() {
    let package = |name: &str, kind: &str| json!({"id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0", "targets": [{"kind": [kind]}]});
    let dep = |name: &str, kind: Value| json!({"pkg": name, "dep_kinds": [{"kind": kind}]});
    let metadata = json!({
        "packages": [package("addon-manager", "bin"), package("addon-agent", "bin"), package("linked", "lib"), package("deep", "lib"),
            package("macros", "proc-macro"), package("built", "lib"), package("tested", "lib"), package("unused", "lib")],
        "resolve": {"nodes": [
            {"id": "addon-manager", "deps": [dep("linked", Value::Null), dep("built", json!("build")), dep("tested", json!("dev"))]},
            {"id": "addon-agent", "deps": [dep("macros", Value::Null)]},
            {"id": "linked", "deps": [dep("deep", Value::Null)]},
            {"id": "deep", "deps": []}, {"id": "macros", "deps": []}, {"id": "unused", "deps": []},
        ]},
    });
    let lock = "[[package]]\nname = \"deep\"\nversion = \"1.0.0\"\nsource = \"registry\"\nchecksum = \"abc\"\n";
    let bill = sbom::sbom(&metadata, lock, "1.2.3").unwrap();
    let components = bill["components"].as_array().unwrap();
    let names: Vec<_> = components
        .iter()
        .map(|component| component["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["addon-agent", "addon-manager", "deep", "linked"]);
    assert_eq!(components[2]["hashes"], json!([{"alg": "SHA-256", "content": "abc"}]));
    assert_eq!(components[2]["licenses"], json!([{"expression": "MIT OR Apache-2.0"}]));
    assert_eq!(
        bill["dependencies"][3],
        json!({"ref": "pkg:cargo/linked@1.0.0", "dependsOn": ["pkg:cargo/deep@1.0.0"]})
    );
    assert!(sbom::sbom(&json!({"packages": [], "resolve": {"nodes": []}}), lock, "1").is_err());
}

/// A restored hub gets what has the label: what it cannot make anew, and nothing that holds keys.
#[test]
fn profiles_and_samples_are_backed_up_and_nothing_else() {
    let label = |object: &Value| object["metadata"]["labels"]["cluster.open-cluster-management.io/backup"].clone();
    let profiles = base::objects(&repository().join("manifests/profiles")).unwrap();
    let samples = ["mesh", "peering", "rook", "star"].map(|name| yaml(&format!("manifests/samples/{name}.yaml")));
    for object in profiles.iter().chain(samples.iter().flatten()) {
        if ["ExchangeProfile", "Peering"].contains(&kind(object)) {
            assert_eq!(label(object), "resource", "{} {}", kind(object), name(object));
        }
    }
    for object in hub() {
        assert!(label(&object).is_null(), "{} {}", kind(&object), name(&object));
    }
}

#[test]
fn the_catalog_leads_from_release_to_release() {
    let source = bundle::source(&repository()).unwrap();
    let first = Release {
        version: "0.1.0".to_owned(),
        replaces: None,
        ..release()
    };
    let second = Release {
        version: "0.2.0".to_owned(),
        replaces: Some(first.name()),
        ..release()
    };
    let text = bundle::catalog(&source, &[first, second]).unwrap();
    let documents = base::documents(Path::new("catalog"), &text).unwrap();
    let documents: Vec<_> = documents.into_iter().filter(Value::is_object).collect();
    assert_eq!(
        (&documents[0]["schema"], &documents[0]["defaultChannel"]),
        (&json!("olm.package"), &json!("alpha"))
    );
    assert_eq!(
        documents[1]["entries"][1]["replaces"],
        "odf-multicluster-orchestrator.v0.1.0"
    );
    assert_eq!(
        documents[1]["entries"][0]["name"],
        "odf-multicluster-orchestrator.v0.1.0"
    );
}
