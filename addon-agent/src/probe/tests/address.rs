//! Tests of the addresses that are probed and of those that are not.
use super::*;

#[test]
fn endpoints() {
    let cases = [
        ("api.example:6443", Some("api.example:6443")),
        ("10.0.0.1:6443", Some("10.0.0.1:6443")),
        ("[fd00::1]:6443", Some("[fd00::1]:6443")),
        ("api.example", None),
        ("api.example:", None),
        ("api.example:0", None),
        ("api.example:65536", None),
        (":6443", None),
        ("fd00::1:6443", None),
        ("user:canary-5f2a81@api.example:6443", None),
        ("https://api.example:6443", None),
        ("/run/api.sock", None),
        ("unix:/run/api.sock", None),
        ("api.example:6443\nevil", None),
        ("", None),
    ];
    for (text, expected) in cases {
        match (Endpoint::parse(text), expected) {
            (Ok(endpoint), Some(expected)) => assert_eq!(endpoint.to_string(), expected),
            (Err(failure), None) => {
                assert_eq!(failure.reason, Reason::Invalid, "{text}");
                assert!(!failure.to_string().contains("canary"), "{failure}");
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}

#[test]
fn urls() {
    let cases = [
        ("https://api.example/a?b=c", Some(("api.example:443", "/a?b=c"))),
        ("http://api.example", Some(("api.example:80", "/"))),
        ("https://[fd00::1]:8443/", Some(("[fd00::1]:8443", "/"))),
        ("https://user:canary-5f2a81@api.example/", None),
        ("https://api.example:99999/", None),
        ("file:///etc/passwd", None),
        ("unix:///run/api.sock", None),
        ("gopher://api.example/", None),
        ("/readyz", None),
        ("api.example", None),
        ("", None),
    ];
    for (text, expected) in cases {
        match (Url::parse(text), expected) {
            (Ok(url), Some((endpoint, path))) => {
                assert_eq!(
                    (url.endpoint().to_string().as_str(), url.path_and_query()),
                    (endpoint, path)
                );
                assert_eq!(url.is_https(), text.starts_with("https"));
            }
            (Err(failure), None) => {
                assert_eq!(failure.reason, Reason::Invalid, "{text}");
                assert!(!failure.to_string().contains("canary"), "{failure}");
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
}

#[test]
fn a_url_shows_neither_path_nor_query() {
    let url = Url::parse("https://hooks.example/services/canary?sig=canary").unwrap();
    assert_eq!(format!("{url:?}"), "https://hooks.example:443/..");
}

#[test]
fn the_host_header_leaves_out_the_usual_port() {
    for (text, header) in [
        ("https://a.example/", "a.example"),
        ("https://a.example:443/", "a.example"),
        ("https://a.example:80/", "a.example:80"),
        ("http://a.example:80/", "a.example"),
        ("http://[fd00::1]:8080/", "[fd00::1]:8080"),
        ("https://[fd00::443]/", "[fd00::443]"),
    ] {
        assert_eq!(Url::parse(text).unwrap().host_header(), header, "{text}");
    }
}

#[test]
fn an_api_server_may_serve_below_a_path() {
    for (text, path) in [
        ("https://a/k8s/clusters/c-1/", "/k8s/clusters/c-1"),
        ("https://a/k8s?x=y", "/k8s"),
        ("https://a/", ""),
        ("https://a", ""),
    ] {
        assert_eq!(Url::parse(text).unwrap().base_path(), path, "{text}");
    }
}

/// The ways in which an IPv6 address can lead to an IPv4 address.
const EMBEDDINGS: [&str; 6] = [
    "::ffff:0:0",
    "::ffff:0:0:0",
    "64:ff9b::",
    "64:ff9b:1::",
    "64:ff9b:1:2:3:4::",
    "::",
];

fn embedded(v4: Ipv4Addr) -> impl Iterator<Item = IpAddr> {
    let suffix = u128::from(v4.to_bits());
    let by_suffix = EMBEDDINGS
        .iter()
        .map(move |prefix| Ipv6Addr::from_bits(prefix.parse::<Ipv6Addr>().unwrap().to_bits() | suffix).into());
    let six_to_four = Ipv6Addr::from_bits(0x2002 << 112 | suffix << 80 | 1).into();
    by_suffix.chain([six_to_four])
}

#[test]
fn refused_addresses() {
    let v4 = [
        "169.254.169.254",
        "169.254.0.1",
        "169.254.170.23",
        "169.254.255.255",
        "127.0.0.1",
        "127.255.255.255",
        "0.1.0.2",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "239.255.255.255",
        "255.255.255.255",
    ];
    for text in v4 {
        let v4: Ipv4Addr = text.parse().unwrap();
        for address in embedded(v4).chain([v4.into()]) {
            assert!(refusal(address, Loopback::Refuse).is_some(), "{address} ({text})");
        }
    }
    let others = [
        "0.0.0.0",
        "::",
        "::1",
        "fe80::1",
        "febf:ffff::1",
        "fd00:ec2::254",
        "fd00:ec2::23",
        "fd20:ce::254",
        "fd00:c1::a9fe:a9fe",
        "fd00:42::42",
        "ff02::1",
    ];
    for text in others {
        assert!(refusal(text.parse().unwrap(), Loopback::Refuse).is_some(), "{text}");
    }
}

#[test]
fn addresses_of_other_clusters() {
    let v4 = [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.253.255.255",
        "169.255.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "203.0.113.7",
    ];
    for text in v4 {
        let v4: Ipv4Addr = text.parse().unwrap();
        for address in embedded(v4).chain([v4.into()]) {
            assert_eq!(refusal(address, Loopback::Refuse), None, "{address} ({text})");
        }
    }
    for text in [
        "fd00::1",
        "fd00:ec3::254",
        "2001:db8::1",
        "fec0::1",
        "fe7f:ffff::1",
        "::2:0:0:1",
    ] {
        assert_eq!(refusal(text.parse().unwrap(), Loopback::Refuse), None, "{text}");
    }
}

#[test]
fn allowing_loopback_allows_nothing_else() {
    for text in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
        assert_eq!(refusal(text.parse().unwrap(), Loopback::Allow), None, "{text}");
    }
    for text in [
        "169.254.169.254",
        "::ffff:169.254.169.254",
        "0.0.0.0",
        "::",
        "fe80::1",
        "224.0.0.1",
    ] {
        assert!(refusal(text.parse().unwrap(), Loopback::Allow).is_some(), "{text}");
    }
}

/// The check is made on what the resolver makes of a name, so other spellings of an address gain nothing.
#[tokio::test]
async fn the_resolved_address_counts() {
    let refused = [
        "169.254.169.254:80",
        "2852039166:80",
        "0xa9fea9fe:80",
        "0251.0376.0251.0376:80",
        "169.254.43518:80",
        "[::ffff:a9fe:a9fe]:80",
        "localhost:80",
        "127.1:80",
        "0:80",
    ];
    for text in refused {
        let endpoint = Endpoint::parse(text).unwrap();
        let failure = endpoint.resolve(Loopback::Refuse).await.unwrap_err();
        assert_eq!(failure.reason, Reason::Invalid, "{text}: {failure}");
        assert!(failure.to_string().contains("never probed"), "{text}: {failure}");
    }
    let endpoint = Endpoint::parse("10.0.0.1:6443").unwrap();
    assert_eq!(
        endpoint.resolve(Loopback::Refuse).await.unwrap(),
        ["10.0.0.1:6443".parse().unwrap()]
    );
}
