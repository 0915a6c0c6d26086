//! The `MirrorPeer` CRD says what users of the Go orchestrator know, and foreign objects are read whatever they hold.
use serde_json::{Value, json};

use super::*;

fn schema() -> Value {
    let crd = serde_json::to_value(MirrorPeer::crd()).unwrap();
    assert_eq!(crd["spec"]["scope"], "Cluster");
    assert_eq!(crd["spec"]["names"]["plural"], "mirrorpeers");
    crd["spec"]["versions"][0].clone()
}

#[test]
fn the_crd_is_the_known_one_field_for_field() {
    let version = schema();
    let columns: Vec<_> = version["additionalPrinterColumns"]
        .as_array()
        .unwrap()
        .iter()
        .map(|column| (column["name"].as_str().unwrap(), column["jsonPath"].as_str().unwrap()))
        .collect();
    for known in [("Type", ".spec.type"), ("Phase", ".status.phase")] {
        assert!(columns.contains(&known), "{columns:?}");
    }
    let spec = &version["schema"]["openAPIV3Schema"]["properties"]["spec"];
    assert_eq!(spec["required"], json!(["items"]));
    let fields = &spec["properties"];
    assert_eq!(fields["type"]["default"], "async");
    assert_eq!(fields["type"]["enum"], json!(["async", "sync"]));
    assert_eq!(fields["type"]["x-kubernetes-validations"][0]["rule"], "self == oldSelf");
    assert_eq!(
        fields["type"]["x-kubernetes-validations"][0]["message"],
        "spec.type is immutable."
    );
    assert_eq!(
        fields["manageS3"],
        json!({"type": "boolean", "default": false, "description": fields["manageS3"]["description"]})
    );
    let items = &fields["items"];
    assert_eq!((&items["minItems"], &items["maxItems"]), (&json!(2), &json!(2)));
    assert_eq!(items["x-kubernetes-list-type"], "map");
    assert_eq!(items["x-kubernetes-list-map-keys"], json!(["clusterName"]));
    assert_eq!(
        items["x-kubernetes-validations"][0]["message"],
        "items.clusterName and items.storageClusterRef.name fields are immutable."
    );
    let item = &items["items"];
    assert_eq!(item["properties"]["clusterName"]["minLength"], 1);
    let storage = &item["properties"]["storageClusterRef"];
    assert_eq!(storage["required"], json!(["name"]));
    assert_eq!(storage["properties"]["name"]["minLength"], 1);
}

#[test]
fn what_the_go_orchestrator_left_is_read() {
    let old = json!({
        "apiVersion": "multicluster.odf.openshift.io/v1alpha1", "kind": "MirrorPeer", "metadata": {"name": "mp"},
        "spec": {
            "type": "async", "manageS3": true, "schedulingIntervals": ["5m"], "overlappingCIDR": false,
            "items": [
                {"clusterName": "c1", "storageClusterRef": {"name": "sc", "namespace": "ns"}},
                {"clusterName": "c2", "storageClusterRef": {"name": "sc"}},
            ],
        },
        "status": {"phase": "ExchangedSecret", "message": ""},
    });
    let read: MirrorPeer = serde_json::from_value(old).unwrap();
    assert!(read.spec.manage_s3);
    assert_eq!(read.spec.items[1].storage_cluster_ref.namespace, None);
    assert_eq!(read.status.unwrap().phase.as_deref(), Some("ExchangedSecret"));
}

#[test]
fn unknown_fields_of_foreign_kinds_survive() {
    for text in [
        json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRCluster", "metadata": {"name": "c1"},
            "spec": {"s3ProfileName": "p", "cidrs": ["10.0.0.0/8"], "clusterFence": "Unfenced"}}),
        json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRCluster", "metadata": {"name": "c1"},
            "spec": {"region": "x"}}),
    ] {
        let read: DRCluster = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), text);
    }
    let bare = json!({"apiVersion": "ramendr.openshift.io/v1alpha1", "kind": "DRPolicy", "metadata": {"name": "p"}});
    assert_eq!(
        serde_json::from_value::<DRPolicy>(bare).unwrap().spec,
        DRPolicySpec::default()
    );
}

#[test]
fn client_info_has_capitals_where_go_has_no_tags() {
    let text =
        r#"{"clusterId":"a","providerInfo":{"namespacedName":{"Namespace":"ns","Name":"sc"},"cephClusterFSID":"f"}}"#;
    let read: ClientInfo = serde_json::from_str(text).unwrap();
    assert_eq!(read.provider_info.namespaced_name.namespace, "ns");
    assert_eq!(read.provider_info.ceph_cluster_fsid, "f");
    let written = serde_json::to_value(&read).unwrap();
    assert_eq!(
        written["providerInfo"]["namespacedName"],
        json!({"Namespace": "ns", "Name": "sc"})
    );
}
