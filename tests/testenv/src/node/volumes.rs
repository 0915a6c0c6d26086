//! The volumes of a pod as directories that follow the objects they come from.
//!
//! Files change as under the kubelet: all files of a volume are written to a new directory and a link is switched to
//! it, so that a reader never sees the certificate of one version and the key of another.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    os::unix::fs::symlink,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use futures::{
    StreamExt,
    stream::{self, BoxStream, SelectAll},
};
use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        core::v1::{self as core, ConfigMap, KeyToPath, Secret, ServiceAccount},
    },
    jiff::Timestamp,
};
use kube::{Api, Client, api::PostParams};
use kube_runtime::{WatchStreamExt, watcher::watch_object};

use super::{Context, Routes, Steady, TOKEN_LIFETIME, rewrite};

/// The files of a volume by their path in it.
type Files = BTreeMap<String, Vec<u8>>;

/// A volume of a pod. Without sources it is an empty directory.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Volume {
    pub(super) name: String,
    sources: Vec<Source>,
}

#[derive(Clone, Debug, PartialEq)]
enum Source {
    Secret(Object),
    ConfigMap(Object),
    Token {
        audience: Option<String>,
        lifetime: Duration,
        path: String,
    },
    Static(Files),
    /// The cluster's CA, which every service account's volume holds.
    ClusterCa(String),
}

#[derive(Clone, Debug, PartialEq)]
struct Object {
    name: String,
    items: Vec<(String, String)>,
    optional: bool,
}

impl Object {
    fn new(name: Option<&String>, items: Option<&Vec<KeyToPath>>, optional: Option<bool>) -> Self {
        let items = items
            .into_iter()
            .flatten()
            .map(|item| (item.key.clone(), item.path.clone()))
            .collect();
        Self {
            name: name.cloned().unwrap_or_default(),
            items,
            optional: optional.unwrap_or_default(),
        }
    }

    /// The files made of an object's data; nothing when a wanted key is absent.
    fn files(&self, data: Files) -> Option<Files> {
        if self.items.is_empty() {
            return Some(data);
        }
        let pick = |(key, path): &(String, String)| data.get(key).map(|value| (path.clone(), value.clone()));
        let picked: Files = self.items.iter().filter_map(pick).collect();
        (self.optional || picked.len() == self.items.len()).then_some(picked)
    }
}

/// The volume with the service account's token which every pod gets.
pub(super) fn service_account(name: &str, namespace: &str) -> Volume {
    let namespace = BTreeMap::from([("namespace".to_owned(), namespace.as_bytes().to_vec())]);
    Volume {
        name: name.to_owned(),
        sources: vec![
            Source::Token {
                audience: None,
                lifetime: TOKEN_LIFETIME,
                path: "token".to_owned(),
            },
            Source::ClusterCa("ca.crt".to_owned()),
            Source::Static(namespace),
        ],
    }
}

/// Plans a volume of a pod. `field` tells what the pod can be told about itself.
pub(super) fn plan(volume: &core::Volume, field: &dyn Fn(&str) -> Result<String>) -> Result<Volume> {
    let mut sources = Vec::new();
    if let Some(secret) = &volume.secret {
        sources.push(Source::Secret(Object::new(
            secret.secret_name.as_ref(),
            secret.items.as_ref(),
            secret.optional,
        )));
    } else if let Some(map) = &volume.config_map {
        sources.push(Source::ConfigMap(Object::new(
            Some(&map.name),
            map.items.as_ref(),
            map.optional,
        )));
    } else if let Some(downward) = &volume.downward_api {
        sources.push(downward_files(downward.items.iter().flatten(), field)?);
    } else if let Some(projected) = &volume.projected {
        for part in projected.sources.iter().flatten() {
            if let Some(secret) = &part.secret {
                sources.push(Source::Secret(Object::new(
                    Some(&secret.name),
                    secret.items.as_ref(),
                    secret.optional,
                )));
            }
            if let Some(map) = &part.config_map {
                sources.push(Source::ConfigMap(Object::new(
                    Some(&map.name),
                    map.items.as_ref(),
                    map.optional,
                )));
            }
            if let Some(token) = &part.service_account_token {
                let lifetime = token.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
                sources.push(Source::Token {
                    audience: token.audience.clone().filter(|audience| !audience.is_empty()),
                    lifetime: lifetime.map_or(TOKEN_LIFETIME, Duration::from_secs),
                    path: token.path.clone(),
                });
            }
            if let Some(downward) = &part.downward_api {
                sources.push(downward_files(downward.items.iter().flatten(), field)?);
            }
        }
    } else if volume.empty_dir.is_none() {
        bail!("the node does not know the kind of volume {}", volume.name);
    }
    Ok(Volume {
        name: volume.name.clone(),
        sources,
    })
}

fn downward_files<'a>(
    items: impl Iterator<Item = &'a core::DownwardAPIVolumeFile>,
    field: &dyn Fn(&str) -> Result<String>,
) -> Result<Source> {
    let mut files = Files::new();
    for item in items {
        let path = &item
            .field_ref
            .as_ref()
            .context("the node knows only fieldRef in a downward API volume")?
            .field_path;
        files.insert(item.path.clone(), field(path)?.into_bytes());
    }
    Ok(Source::Static(files))
}

/// Keeps a volume's directory up to date until it is dropped, with the addresses in its files replaced by those that
/// stand for them. Calls `ready` when all its files are there.
pub(super) async fn follow(
    context: Arc<Context>,
    client: Client,
    (namespace, account): (String, String),
    volume: Volume,
    (directory, routes): (PathBuf, Routes),
    ready: impl Fn() + Send,
) {
    if let Err(error) = fs::create_dir_all(&directory) {
        context
            .register
            .fault(format!("create {}: {error}", directory.display()));
        return;
    }
    if volume.sources.is_empty() {
        ready();
        return;
    }
    let mut contents: Vec<Option<Files>> = vec![None; volume.sources.len()];
    let mut changes: SelectAll<BoxStream<'static, (usize, Files)>> = SelectAll::new();
    for (index, source) in volume.sources.into_iter().enumerate() {
        let stream = follow_source(&context, client.clone(), &namespace, &account, source);
        changes.push(stream.map(move |files| (index, files)).boxed());
    }
    let mut written: Option<Files> = None;
    let mut serial = 0_u64;
    while let Some((index, files)) = changes.next().await {
        contents[index] = Some(files);
        let Some(all) = contents.iter().cloned().collect::<Option<Vec<Files>>>() else {
            continue;
        };
        let mut all: Files = all.into_iter().flatten().collect();
        for content in all.values_mut() {
            if let Ok(text) = std::str::from_utf8(content) {
                *content = rewrite::routes(text, &routes).into_bytes();
            }
        }
        if written.as_ref() == Some(&all) {
            continue;
        }
        serial += 1;
        match write(&directory, &all, serial) {
            Ok(()) => {
                written = Some(all);
                ready();
            }
            Err(error) => context
                .register
                .fault(format!("write the volume {}: {error}", directory.display())),
        }
    }
}

fn follow_source(
    context: &Context,
    client: Client,
    namespace: &str,
    account: &str,
    source: Source,
) -> BoxStream<'static, Files> {
    match source {
        Source::Secret(object) => {
            let stream = watch_object(Api::<Secret>::namespaced(client, namespace), &object.name).backoff(Steady);
            let data = |secret: Secret| {
                secret
                    .data
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| (key, value.0))
                    .collect()
            };
            stream
                .filter_map(move |event| std::future::ready(changed(&object, event, data)))
                .boxed()
        }
        Source::ConfigMap(object) => {
            let stream = watch_object(Api::<ConfigMap>::namespaced(client, namespace), &object.name).backoff(Steady);
            let data = |map: ConfigMap| {
                let text = map
                    .data
                    .into_iter()
                    .flatten()
                    .map(|(key, value)| (key, value.into_bytes()));
                text.chain(map.binary_data.into_iter().flatten().map(|(key, value)| (key, value.0)))
                    .collect()
            };
            stream
                .filter_map(move |event| std::future::ready(changed(&object, event, data)))
                .boxed()
        }
        Source::Token {
            audience,
            lifetime,
            path,
        } => {
            let api = Api::namespaced(client, namespace);
            let account = account.to_owned();
            tokens(api, account, audience, lifetime)
                .map(move |token| Files::from([(path.clone(), token)]))
                .boxed()
        }
        Source::Static(files) => stream::once(std::future::ready(files)).boxed(),
        Source::ClusterCa(path) => {
            let ca = fs::read(&context.ca).unwrap_or_default();
            stream::once(std::future::ready(Files::from([(path, ca)]))).boxed()
        }
    }
}

/// What an event means for the files: an object that is gone leaves them as they are, as under the kubelet.
fn changed<K, E: std::fmt::Display>(
    object: &Object,
    event: Result<Option<K>, E>,
    data: impl Fn(K) -> Files,
) -> Option<Files> {
    match event {
        Ok(Some(found)) => object.files(data(found)),
        Ok(None) if object.optional => Some(Files::new()),
        Ok(None) => None,
        Err(error) => {
            tracing::debug!(object.name, %error, "cannot watch what a volume is made of");
            None
        }
    }
}

/// Tokens of a service account, each when the one before has 20 % of its lifetime left.
fn tokens(
    api: Api<ServiceAccount>,
    account: String,
    audience: Option<String>,
    lifetime: Duration,
) -> BoxStream<'static, Vec<u8>> {
    let request = TokenRequest {
        spec: TokenRequestSpec {
            audiences: audience.into_iter().collect(),
            expiration_seconds: i64::try_from(lifetime.as_secs()).ok(),
            bound_object_ref: None,
        },
        ..TokenRequest::default()
    };
    stream::unfold(
        (api, account, request, Duration::ZERO),
        |(api, account, request, pause)| async move {
            tokio::time::sleep(pause).await;
            loop {
                match api
                    .create_token_request(&account, &PostParams::default(), &request)
                    .await
                {
                    Ok(TokenRequest {
                        status: Some(status), ..
                    }) => {
                        // The API server may give another lifetime than was asked for.
                        let left = status.expiration_timestamp.0.duration_since(Timestamp::now());
                        let left = Duration::try_from(left).unwrap_or_default();
                        return Some((status.token.into_bytes(), (api, account, request, left.mul_f64(0.8))));
                    }
                    Ok(_) => {}
                    Err(error) => tracing::debug!(account, %error, "cannot get a token"),
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        },
    )
    .boxed()
}

/// Replaces all files of a volume at once, as the kubelet does: `name -> ..data/name`, `..data -> ..<serial>`.
fn write(directory: &Path, files: &Files, serial: u64) -> io::Result<()> {
    let version = format!("..{serial}");
    let mut top = BTreeSet::new();
    for (path, content) in files {
        let relative = Path::new(path);
        let mut components = relative.components();
        let Some(Component::Normal(first)) = components.next() else {
            return Err(invalid(path));
        };
        if components.any(|component| !matches!(component, Component::Normal(_))) {
            return Err(invalid(path));
        }
        top.insert(first.to_owned());
        let file = directory.join(&version).join(relative);
        fs::create_dir_all(file.parent().unwrap_or(directory))?;
        fs::write(file, content)?;
    }
    fs::create_dir_all(directory.join(&version))?;
    let old = fs::read_link(directory.join("..data")).ok();
    let temporary = directory.join("..data.new");
    let _ = fs::remove_file(&temporary);
    symlink(&version, &temporary)?;
    fs::rename(&temporary, directory.join("..data"))?;
    for name in &top {
        let link = directory.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new("..data").join(name), &link)?;
        }
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with("..") && !top.contains(&entry.file_name()) {
            fs::remove_file(entry.path())?;
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(directory.join(old))?;
    }
    Ok(())
}

fn invalid(path: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{path} is no path inside a volume"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_follow_and_those_no_longer_wanted_go() {
        let directory = tempfile::tempdir().unwrap();
        let write = |serial, files: &[(&str, &str)]| {
            let files = files
                .iter()
                .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
                .collect();
            super::write(directory.path(), &files, serial)
        };
        let read = |path: &str| fs::read_to_string(directory.path().join(path)).ok();
        write(1, &[("a", "1"), ("sub/b", "2")]).unwrap();
        assert_eq!((read("a"), read("sub/b")), (Some("1".to_owned()), Some("2".to_owned())));
        write(2, &[("a", "3"), ("c", "4")]).unwrap();
        assert_eq!(
            (read("a"), read("sub/b"), read("c")),
            (Some("3".to_owned()), None, Some("4".to_owned()))
        );
        assert!(!directory.path().join("..1").exists());
        assert!(write(3, &[("../x", "")]).is_err());
    }

    #[test]
    fn items_pick_and_rename_keys_and_all_must_be_there() {
        let data = Files::from([("a".to_owned(), vec![1]), ("b".to_owned(), vec![2])]);
        let object = |items: &[(&str, &str)], optional| Object {
            name: String::new(),
            items: items
                .iter()
                .map(|(key, path)| ((*key).to_owned(), (*path).to_owned()))
                .collect(),
            optional,
        };
        assert_eq!(object(&[], false).files(data.clone()), Some(data.clone()));
        assert_eq!(
            object(&[("a", "x")], false).files(data.clone()),
            Some(Files::from([("x".to_owned(), vec![1])]))
        );
        assert_eq!(object(&[("a", "x"), ("z", "z")], false).files(data.clone()), None);
        assert_eq!(object(&[("z", "z")], true).files(data), Some(Files::new()));
    }
}
