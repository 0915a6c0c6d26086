//! Tests of the trust decision and of its words, without a network.
use super::*;
use crate::probe::tests::pki::{Ca, Served};

fn sensitive(pem: &str) -> Sensitive {
    pem.as_bytes().to_vec().into()
}

/// What rustls would do with a chain, and the words for it.
fn judge(bundle: &str, served: &Served, name: &str) -> Result<(), Failure> {
    let now = Timestamp::now();
    let roots = Roots::bundle(&sensitive(bundle), now)?;
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let recorder = Recorder::new(&roots);
    let (leaf, rest) = served.chain.split_first().unwrap();
    let result = recorder.verify_server_cert(leaf, rest, &name, &[], UnixTime::now());
    let seen = recorder.seen();
    assert_eq!(seen.chain, served.chain);
    assert!(!seen.proven(), "nothing was signed");
    result.map(|_| ()).map_err(|error| {
        assert!(!seen.trusted);
        let rustls::Error::InvalidCertificate(error) = error else {
            panic!("{error}")
        };
        let endpoint = Endpoint::parse("10.0.0.1:6443").unwrap();
        let presented = Presented {
            endpoint: &endpoint,
            name: &name,
            chain: &seen.chain,
            now,
        };
        roots.explain(&presented, &error)
    })
}

#[track_caller]
fn refused(bundle: &str, served: &Served, name: &str, reason: Reason, parts: &[&str]) {
    crate::probe::tests::assert_failure(judge(bundle, served, name), reason, parts);
}

fn short(der: &[u8]) -> String {
    format!("sha256:{}..", &hex(&Sha256::digest(der))[..16])
}

#[test]
fn what_is_trusted() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let both = format!("{}{}", old.pem(), new.pem());
    let intermediate = new.intermediate("intermediate");
    let cases = [
        (old.pem(), old.server(), "127.0.0.1"),
        (old.pem(), old.server(), "api.example"),
        // During a rollover, either side of it.
        (both.clone(), old.server(), "127.0.0.1"),
        (both, new.server(), "127.0.0.1"),
        (new.pem(), intermediate.server().with(&intermediate), "127.0.0.1"),
        // Also with the root in the chain, and with a certificate that has nothing to do with it.
        (new.pem(), new.server().with(&new).with(&old), "127.0.0.1"),
        (
            format!(
                "# by hand\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n{}",
                new.pem()
            ),
            new.server(),
            "127.0.0.1",
        ),
        (
            format!("{}{}", Ca::valid("gone", (2000, 2001)).pem(), new.pem()),
            new.server(),
            "127.0.0.1",
        ),
    ];
    for (index, (bundle, served, name)) in cases.iter().enumerate() {
        assert_eq!(judge(bundle, served, name), Ok(()), "case {index}");
    }
}

#[test]
fn another_ca() {
    let (old, new) = (Ca::new("old"), Ca::new("new"));
    let served = new.server();
    refused(
        &old.pem(),
        &served,
        "127.0.0.1",
        Reason::CAMismatch,
        &[
            "the endpoint 10.0.0.1:6443 presents a chain that the delivered bundle does not trust",
            &format!("served CN=leaf {}, issued by CN=new", short(&served.chain[0])),
            &format!("trusted CN=old {} until 2090-01-01T00:00:00Z", short(&old.der())),
            "; if the CA was rotated",
        ],
    );
}

#[test]
fn a_ca_made_again_under_the_same_name() {
    let (old, new) = (Ca::new("ca"), Ca::new("ca"));
    refused(
        &old.pem(),
        &new.server(),
        "127.0.0.1",
        Reason::CAMismatch,
        &["does not trust"],
    );
}

#[test]
fn a_missing_intermediate() {
    let root = Ca::new("root");
    let served = root.intermediate("intermediate").server();
    refused(
        &root.pem(),
        &served,
        "127.0.0.1",
        Reason::CAMismatch,
        &["issued by CN=intermediate"],
    );
}

#[test]
fn long_bundles_are_cut() {
    let bundle: String = (0..5).map(|n| Ca::new(&format!("ca-{n}")).pem()).collect();
    let parts = ["CN=ca-2", ", 2 more);"];
    refused(
        &bundle,
        &Ca::new("new").server(),
        "127.0.0.1",
        Reason::CAMismatch,
        &parts,
    );
}

#[test]
fn outside_validity() {
    let ca = Ca::new("ca");
    let parts = [
        "presents an expired certificate",
        "saw CN=leaf",
        "until 2021-01-01T00:00:00Z",
    ];
    refused(
        &ca.pem(),
        &ca.valid_in((2020, 2021)),
        "127.0.0.1",
        Reason::CAExpired,
        &parts,
    );
    let parts = ["whose validity lies ahead", "check the clocks"];
    refused(
        &ca.pem(),
        &ca.valid_in((2080, 2090)),
        "127.0.0.1",
        Reason::CAExpired,
        &parts,
    );
}

/// webpki alone would trust it for ever; the consumers of the bundle do not.
#[test]
fn an_expired_root() {
    let (gone, other) = (Ca::valid("gone", (2000, 2001)), Ca::new("other"));
    let parts = [
        "leads to an expired CA certificate of the delivered bundle",
        "expired CN=gone",
    ];
    let bundle = format!("{}{}", gone.pem(), other.pem());
    refused(&bundle, &gone.server(), "127.0.0.1", Reason::CAExpired, &parts);
    let parts = ["but all have expired (CN=gone", "until 2001-01-01T00:00:00Z"];
    refused(&gone.pem(), &gone.server(), "127.0.0.1", Reason::CAExpired, &parts);
}

#[test]
fn another_name() {
    let ca = Ca::new("ca");
    let served = ca.named(&["east.example", "10.9.8.7"]);
    let parts = [
        "for other names (expected west.example",
        "issued by CN=ca, for east.example 10.9.8.7)",
    ];
    refused(&ca.pem(), &served, "west.example", Reason::NameMismatch, &parts);
    refused(
        &ca.pem(),
        &served,
        "127.0.0.1",
        Reason::NameMismatch,
        &["expected 127.0.0.1"],
    );
}

#[test]
fn a_certificate_of_another_kind() {
    let ca = Ca::new("ca");
    let parts = ["cannot be trusted (expected a server certificate"];
    refused(&ca.pem(), &ca.client(), "127.0.0.1", Reason::CAMismatch, &parts);
    let itself = Served {
        chain: vec![ca.der()],
        ..ca.server()
    };
    let parts = ["saw CN=ca", "it is a CA certificate itself"];
    refused(&ca.pem(), &itself, "127.0.0.1", Reason::CAMismatch, &parts);
    let garbage = Served {
        chain: vec![b"garbage".to_vec().into()],
        ..ca.server()
    };
    refused(
        &ca.pem(),
        &garbage,
        "127.0.0.1",
        Reason::CAMismatch,
        &["a certificate that cannot be read"],
    );
}

#[test]
fn a_bundle_without_certificates() {
    let key = Ca::new("ca").server().key;
    for bundle in [
        "",
        "garbage",
        &key,
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        let result = Roots::bundle(&sensitive(bundle), Timestamp::now());
        crate::probe::tests::assert_failure(result, Reason::Invalid, &["in the delivered bundle, saw none"]);
    }
}

#[tokio::test]
async fn the_root_store_of_the_system_does_not_know_our_cas() {
    let result = Roots::system(Timestamp::now()).await.and_then(|roots| {
        let served = Ca::new("private").server();
        let endpoint = Endpoint::parse("10.0.0.1:6443")?;
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let presented = Presented {
            endpoint: &endpoint,
            name: &name,
            chain: &served.chain,
            now: Timestamp::now(),
        };
        assert!(!presented.passes(&roots.verifier));
        Err::<(), _>(roots.explain(&presented, &CertificateError::UnknownIssuer))
    });
    // An image without root certificates has nothing to trust with, and says so.
    let failure = result.unwrap_err();
    assert!(failure.to_string().contains("the system's root store"), "{failure}");
    assert!(
        [Reason::CAMismatch, Reason::Invalid].contains(&failure.reason),
        "{failure}"
    );
}
