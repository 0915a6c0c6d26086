//! Tests of what a delivered kubeconfig may hold.
use super::*;
use crate::probe::failure::Reason;
use crate::probe::tests::{CANARY, assert_failure};

/// A kubeconfig with these lines in its cluster and its user.
pub fn kubeconfig(cluster: &str, user: &str) -> Sensitive {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: here\n\
         contexts:\n- name: other\n  context: {{cluster: other, user: other}}\n\
         - name: here\n  context: {{cluster: east, user: agent}}\n\
         clusters:\n- name: east\n  cluster: {{{cluster}}}\n\
         users:\n- name: other\n  user: {{exec: {{command: evil, apiVersion: client.authentication.k8s.io/v1}}}}\n\
         - name: agent\n  user: {{{user}}}\n"
    );
    text.into_bytes().into()
}

const CLUSTER: &str = "server: 'https://api.east.example:6443', certificate-authority-data: Q0E=";

#[test]
fn a_token() {
    let user = format!("token: {CANARY}");
    let cluster = format!("{CLUSTER}, tls-server-name: api.east");
    let access = read(&kubeconfig(&cluster, &user)).unwrap();
    assert_eq!(access.server, Url::parse("https://api.east.example:6443").unwrap());
    assert_eq!(access.server_name.as_deref(), Some("api.east"));
    assert_eq!(access.bundle.as_ref().unwrap().expose(), b"CA");
    assert_eq!(access.token.as_ref().unwrap().expose(), CANARY.as_bytes());
    assert!(access.client.is_none());
    assert!(!format!("{access:?}").contains(CANARY));
}

#[test]
fn a_client_certificate() {
    let user = "client-certificate-data: Q0VSVA==, client-key-data: S0VZ";
    let client = read(&kubeconfig(CLUSTER, user)).unwrap().client.unwrap();
    assert_eq!(
        (client.certificate.expose(), client.key.expose()),
        (&b"CERT"[..], &b"KEY"[..])
    );
}

#[test]
fn without_a_ca_the_system_decides() {
    let access = read(&kubeconfig("server: 'https://api.east.example'", "token: t")).unwrap();
    assert!(access.bundle.is_none());
}

#[test]
fn what_would_reach_out_of_the_text_is_refused() {
    let cases = [
        (
            "",
            "exec: {command: /bin/sh, apiVersion: client.authentication.k8s.io/v1}",
            "`exec`",
        ),
        ("", "auth-provider: {name: gcp}", "`auth-provider`"),
        (
            "",
            "tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token",
            "`tokenFile`",
        ),
        ("", "client-certificate: /a", "`client-certificate`"),
        ("", "client-key: /a", "`client-key`"),
        ("", "username: a, password: canary-5f2a81", "`username and password`"),
        ("", "as: system:admin", "`as`"),
        ("", "as-groups: ['system:masters']", "`as`"),
        (", certificate-authority: /a", "", "`certificate-authority`"),
        (", proxy-url: 'http://127.0.0.1:3128'", "", "`proxy-url`"),
        (", insecure-skip-tls-verify: true", "", "`insecure-skip-tls-verify`"),
    ];
    for (cluster, user, field) in cases {
        // A usable credential beside it changes nothing.
        let user = format!("token: {CANARY}, {user}");
        let result = read(&kubeconfig(&format!("{CLUSTER}{cluster}"), &user));
        assert_failure(result, Reason::Invalid, &[field, "; deliver server"]);
    }
}

#[test]
fn what_is_not_a_usable_kubeconfig() {
    let user = format!("token: {CANARY}");
    let cases: Vec<(Sensitive, &str)> = vec![
        (Vec::new().into(), "current-context"),
        (b"\xff\xfe".to_vec().into(), "saw something else"),
        (format!("token: [{CANARY}").into_bytes().into(), "saw something else"),
        (format!("clusters: {CANARY}").into_bytes().into(), "saw something else"),
        (b"current-context: none".to_vec().into(), "no context of the name"),
        (
            b"current-context: a\ncontexts: [{name: a, context: {cluster: b, user: c}}]".to_vec().into(),
            "no cluster",
        ),
        (
            b"current-context: a\ncontexts: [{name: a, context: {cluster: b}}]\nclusters: [{name: b, cluster: {server: 'https://b'}}]"
                .to_vec()
                .into(),
            "no user",
        ),
        (kubeconfig("", &user), "expected a URL"),
        (kubeconfig("server: 'unix:///run/api.sock'", &user), "expected a URL"),
        (kubeconfig("server: 'https://u:canary-5f2a81@api'", &user), "expected a URL"),
        (kubeconfig(CLUSTER, "client-key-data: S0VZ"), "a client key without"),
        (kubeconfig(CLUSTER, "client-certificate-data: S0VZ"), "a client certificate without"),
        (kubeconfig(CLUSTER, "client-key-data: '!canary-5f2a81'"), "not base64"),
    ];
    for (text, part) in cases {
        assert_failure(read(&text), Reason::Invalid, &[part]);
    }
}
