//! Where images come from: the registries of an `AddOnDeploymentConfig` and of a cluster. Pure.
use peering_api::{
    kube::ResourceExt,
    ocm::{ManagedCluster, addon::ImageMirror},
};
use serde::Deserialize;

/// Annotation on a `ManagedCluster`: its registries, as JSON.
const REGISTRIES_ANNOTATION: &str = "open-cluster-management.io/image-registries";

/// The image from where the last fitting entry says; `None` if none fits.
///
/// Unlike in the Go framework a `source` fits whole path segments only: `quay.io/acm` is no prefix of `quay.io/acm2/agent`.
#[must_use]
pub fn rewrite(image: &str, mirrors: &[ImageMirror]) -> Option<String> {
    mirrors.iter().rev().find_map(|entry| rewrite_by(image, entry))
}

fn rewrite_by(image: &str, entry: &ImageMirror) -> Option<String> {
    let (source, mirror) = (entry.source.trim_end_matches('/'), entry.mirror.trim_end_matches('/'));
    let rest = if source.is_empty() {
        image.rsplit_once('/').map_or(image, |(_, name)| name)
    } else {
        let rest = image.strip_prefix(source)?;
        if rest.is_empty() || rest.starts_with([':', '@']) {
            return Some(format!("{mirror}{rest}"));
        }
        rest.strip_prefix('/')?
    };
    Some(if mirror.is_empty() {
        rest.to_owned()
    } else {
        format!("{mirror}/{rest}")
    })
}

/// The registries of a cluster; none if its annotation is no JSON of that form.
#[must_use]
pub fn of_cluster(cluster: &ManagedCluster) -> Vec<ImageMirror> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Annotation {
        registries: Vec<ImageMirror>,
    }
    let annotation = cluster.annotations().get(REGISTRIES_ANNOTATION);
    let parsed = annotation.and_then(|text| serde_json::from_str::<Annotation>(text).ok());
    parsed.unwrap_or_default().registries
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn mirror(source: &str, mirror: &str) -> ImageMirror {
        ImageMirror {
            source: source.to_owned(),
            mirror: mirror.to_owned(),
        }
    }

    #[test]
    fn images_move_to_the_mirror_of_their_source() {
        for (source, to, image, expected) in [
            (
                "quay.io/acm",
                "m.example/x",
                "quay.io/acm/agent:1",
                Some("m.example/x/agent:1"),
            ),
            (
                "quay.io/acm/",
                "m.example/x/",
                "quay.io/acm/a/b@sha256:1",
                Some("m.example/x/a/b@sha256:1"),
            ),
            (
                "quay.io",
                "m.example:5000",
                "quay.io/acm/agent:1",
                Some("m.example:5000/acm/agent:1"),
            ),
            (
                "quay.io/acm/agent",
                "m.example/z",
                "quay.io/acm/agent:1",
                Some("m.example/z:1"),
            ),
            ("", "m.example/x", "quay.io/acm/agent:1", Some("m.example/x/agent:1")),
            ("", "m.example/x", "agent", Some("m.example/x/agent")),
            ("quay.io/acm", "m.example/x", "quay.io/acm2/agent:1", None),
            ("quay.io/acm", "m.example/x", "docker.io/acm/agent:1", None),
        ] {
            assert_eq!(
                rewrite(image, &[mirror(source, to)]).as_deref(),
                expected,
                "{source} {image}"
            );
        }
    }

    #[test]
    fn the_last_that_fits_wins() {
        let mirrors = [
            mirror("", "first"),
            mirror("quay.io", "second"),
            mirror("docker.io", "third"),
        ];
        assert_eq!(rewrite("quay.io/a/b", &mirrors).unwrap(), "second/a/b");
        assert_eq!(rewrite("other.io/a/b", &mirrors).unwrap(), "first/b");
        assert_eq!(rewrite("other.io/a/b", &mirrors[1..]), None);
    }

    #[test]
    fn a_broken_annotation_is_none() {
        let cluster = |text: &str| {
            let wire = json!({"metadata": {"name": "c1", "annotations": {REGISTRIES_ANNOTATION: text}}});
            serde_json::from_value(wire).unwrap()
        };
        let found = of_cluster(&cluster(r#"{"registries":[{"source":"a","mirror":"b"}]}"#));
        assert_eq!(found, [mirror("a", "b")]);
        assert_eq!(of_cluster(&cluster("no json")), []);
        assert_eq!(of_cluster(&ManagedCluster::default()), []);
    }

    proptest! {
        #[test]
        fn the_name_and_its_tag_stay(host in "[a-z]{1,5}\\.io", path in "[a-z]{1,5}", name in "[a-z]{1,5}", tag in "(:[a-z0-9]{1,4}|@sha256:[a-f0-9]{4})?", to in "[a-z]{1,5}\\.example", whole: bool) {
            let image = format!("{host}/{path}/{name}{tag}");
            let source = if whole { String::new() } else { host.clone() };
            let moved = rewrite(&image, &[mirror(&source, &to)]).unwrap();
            let suffix = [name, tag].concat();
            prop_assert!(moved.ends_with(&suffix));
            let prefix = [to.as_str(), "/"].concat();
            prop_assert!(moved.starts_with(&prefix));
            let again = rewrite(&moved, &[mirror(&host, &to)]);
            prop_assert_eq!(again, None);
        }

        #[test]
        fn entries_that_do_not_fit_decide_nothing(image in "quay\\.io/[a-z]{1,5}/[a-z]{1,5}", others in proptest::collection::vec("[a-z]{1,5}\\.example", 0..4)) {
            let mut mirrors = vec![mirror("quay.io", "m.example")];
            let alone = rewrite(&image, &mirrors);
            mirrors.extend(others.iter().map(|other| mirror(other, "elsewhere")));
            prop_assert_eq!(rewrite(&image, &mirrors), alone);
        }
    }
}
