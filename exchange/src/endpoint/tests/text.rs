//! Endpoints given as text.
use super::{api_server, check, fixed};

const TEXTS: &[(&str, &str)] = &[
    (
        "proxy.example.com:8188",
        "- | proxy.example.com:8188 | proxy.example.com",
    ),
    ("192.0.2.7:8188", "- | 192.0.2.7:8188 | 192.0.2.7"),
    ("[2001:db8::7]:8188", "- | [2001:db8::7]:8188 | 2001:db8::7"),
    ("localhost:1", "- | localhost:1 | localhost"),
    ("https://a.b.c", "https://a.b.c | a.b.c:443 | a.b.c"),
    ("https://a.b.c:443/", "https://a.b.c | a.b.c:443 | a.b.c"),
    ("http://a.b.c:8080/a/b", "http://a.b.c:8080/a/b | a.b.c:8080 | a.b.c"),
    ("http://a.b.c:443", "http://a.b.c:443 | a.b.c:443 | a.b.c"),
    (
        "https://[2001:DB8::7]",
        "https://[2001:db8::7] | [2001:db8::7]:443 | 2001:db8::7",
    ),
    (
        "https://[2001:db8::7]:6443",
        "https://[2001:db8::7]:6443 | [2001:db8::7]:6443 | 2001:db8::7",
    ),
    ("amqps://a.b.c:5671", "amqps://a.b.c:5671 | a.b.c:5671 | a.b.c"),
    (
        "amqps://a.b.c",
        "invalid: endpoint \"amqps://a.b.c\" has no port, and scheme amqps implies none",
    ),
    (
        "a.b.c",
        "invalid: endpoint \"a.b.c\" has no port: expected host:port or a URL",
    ),
    ("[::1]", "invalid: endpoint \"[::1]\" has no port"),
    ("", "invalid: endpoint \"\" cannot be used"),
    ("a:", "invalid: endpoint \"a:\" cannot be used"),
    ("[::1]:", "invalid: endpoint \"[::1]:\" cannot be used"),
    ("[::1]8188", "invalid: endpoint \"[::1]8188\" cannot be used"),
    ("a:0", "invalid: endpoint \"a:0\" cannot be used"),
    ("a:65536", "invalid: endpoint \"a:65536\" cannot be used"),
    ("a:+1", "invalid: endpoint \"a:+1\" cannot be used"),
    (
        "2001:db8::7:8188",
        "invalid: endpoint \"2001:db8::7:8188\" cannot be used…IPv6 addresses in brackets",
    ),
    ("[192.0.2.7]:80", "invalid: endpoint \"[192.0.2.7]:80\" cannot be used"),
    (
        "[fe80::1%eth0]:80",
        "invalid: endpoint \"[fe80::1%eth0]:80\" cannot be used",
    ),
    ("10.0.0.300:80", "invalid: endpoint \"10.0.0.300:80\" cannot be used"),
    ("-a.b:80", "invalid: endpoint \"-a.b:80\" cannot be used"),
    ("a..b:80", "invalid: endpoint \"a..b:80\" cannot be used"),
    ("a b:80", "invalid: endpoint \"a b:80\" cannot be used"),
    ("HTTPS://a", "invalid: endpoint \"HTTPS://a\""),
    ("://a:1", "invalid: endpoint \"://a:1\" cannot be used"),
    ("https://", "invalid: endpoint \"https://\" cannot be used"),
    ("https:///path", "invalid: endpoint \"https:///path\" cannot be used"),
    ("https://a/x y", "invalid: endpoint \"https://a/x y\" cannot be used"),
    ("https://a/x\ny", "invalid: endpoint \"https://a/x\\ny\" cannot be used"),
    ("https://a/\"", "invalid: endpoint \"https://a/\\\"\" cannot be used"),
    (
        "https://user:hunter2@a",
        "invalid: endpoint (not shown: it may hold credentials) cannot be used",
    ),
    (
        "https://a/x?token=hunter2",
        "invalid: endpoint (not shown: it may hold credentials) cannot be used",
    ),
    (
        "https://a#hunter2",
        "invalid: endpoint (not shown: it may hold credentials) cannot be used",
    ),
];

#[test]
fn texts() {
    for (text, expected) in TEXTS {
        check(text, fixed(text), expected);
    }
}

#[test]
fn api_servers() {
    for (text, expected) in [
        ("https://api.b.c:6443", "https://api.b.c:6443 | api.b.c:6443 | api.b.c"),
        ("https://api.b.c", "https://api.b.c | api.b.c:443 | api.b.c"),
        (
            "https://a.b.c/k8s/clusters/c-1/",
            "https://a.b.c/k8s/clusters/c-1 | a.b.c:443 | a.b.c",
        ),
        (
            "https://[fd00::1]:6443",
            "https://[fd00::1]:6443 | [fd00::1]:6443 | fd00::1",
        ),
        (
            "http://api.b.c:6443",
            "invalid: the URL of the API server cannot be used: expected https://host:port, seen \"http://api.b.c:6443\"",
        ),
        ("api.b.c:6443", "invalid: the URL of the API server cannot be used"),
        ("", "invalid: the URL of the API server cannot be used"),
    ] {
        check(text, api_server(text), expected);
    }
}
