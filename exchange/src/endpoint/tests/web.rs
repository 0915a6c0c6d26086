//! Routes and Ingresses.
use super::{check, ingress, route, yaml};

const ADMITTED: &str = "[{host: a.example.com, conditions: [{type: Admitted, status: 'True'}]}]";
const REFUSED: &str = "[{host: a.example.com, conditions: \
     [{type: Admitted, status: 'False', reason: HostAlreadyClaimed, message: m}]}]";

/// Spec, status, what comes out.
const ROUTES: &[(&str, &str, &str)] = &[
    (
        "{host: a.example.com, tls: {termination: reencrypt}}",
        ADMITTED,
        "https://a.example.com | a.example.com:443 | a.example.com",
    ),
    (
        "{host: a.example.com}",
        ADMITTED,
        "http://a.example.com | a.example.com:80 | a.example.com",
    ),
    (
        "{host: a.example.com, tls: {}, path: /v1/}",
        ADMITTED,
        "https://a.example.com/v1 | a.example.com:443 | a.example.com",
    ),
    (
        "{host: a.example.com}",
        "[]",
        "pending: Route s/r is not admitted: expected condition Admitted for host a.example.com in status.ingress, seen none",
    ),
    (
        "{host: a.example.com}",
        REFUSED,
        "pending: Route s/r is not admitted…seen False HostAlreadyClaimed (m)",
    ),
    (
        "{host: b.example.com}",
        ADMITTED,
        "pending: Route s/r is not admitted…seen none",
    ),
    ("{}", ADMITTED, "pending: Route s/r has no host yet"),
    (
        "{host: 'a_b c'}",
        ADMITTED,
        "invalid: Route s/r has a host that cannot be used",
    ),
];

#[test]
fn routes() {
    for (spec, status, expected) in ROUTES {
        let object = yaml(&format!(
            "metadata: {{namespace: s, name: r}}\nspec: {spec}\nstatus: {{ingress: {status}}}"
        ));
        check(spec, route(&object), expected);
    }
}

#[test]
fn one_router_of_several_is_enough() {
    let object = yaml(
        "metadata: {namespace: s, name: r}
spec: {host: a.example.com, tls: {}}
status:
  ingress:
  - {host: a.example.com, routerName: one, conditions: [{type: Admitted, status: 'False'}]}
  - {host: a.example.com, routerName: two, conditions: [{type: Admitted, status: 'True'}]}",
    );
    check(
        "two routers",
        route(&object),
        "https://a.example.com | a.example.com:443 | a.example.com",
    );
}

const IP: &str = "[{ip: 192.0.2.7}]";
const NAME: &str = "[{hostname: lb.example.com}]";

/// Rules, TLS settings, host that is asked for, status, what comes out.
const INGRESSES: &[(&str, &str, Option<&str>, &str, &str)] = &[
    ("[{host: a.b.c}]", "[]", None, IP, "http://a.b.c | a.b.c:80 | 192.0.2.7"),
    (
        "[{host: a.b.c}]",
        "[{hosts: [a.b.c]}]",
        None,
        IP,
        "https://a.b.c | a.b.c:443 | 192.0.2.7",
    ),
    (
        "[{host: a.b.c}]",
        "[{hosts: ['*.b.c']}]",
        None,
        IP,
        "https://a.b.c | a.b.c:443 | 192.0.2.7",
    ),
    (
        "[{host: a.b.c}]",
        "[{secretName: s}]",
        None,
        IP,
        "https://a.b.c | a.b.c:443 | 192.0.2.7",
    ),
    (
        "[{host: a.b.c}]",
        "[{hosts: [x.b.c, '*.c']}]",
        None,
        IP,
        "http://a.b.c | a.b.c:80 | 192.0.2.7",
    ),
    (
        "[{host: a.b.c}, {host: a.b.c}]",
        "[]",
        None,
        IP,
        "http://a.b.c | a.b.c:80 | 192.0.2.7",
    ),
    (
        "[{host: a.b.c}, {host: d.b.c}]",
        "[{hosts: [d.b.c]}]",
        Some("d.b.c"),
        IP,
        "https://d.b.c | d.b.c:443 | 192.0.2.7",
    ),
    (
        "[{host: a.b.c}, {host: d.b.c}]",
        "[]",
        None,
        IP,
        "invalid: Ingress s/i does not have one host…seen \"a.b.c, d.b.c\"; name one",
    ),
    (
        "[{host: a.b.c}]",
        "[]",
        Some("x.b.c"),
        IP,
        "invalid: Ingress s/i has no rule for the host that is asked for: expected \"x.b.c\", seen \"a.b.c\"",
    ),
    (
        "[{host: '*.b.c'}]",
        "[]",
        Some("x.b.c"),
        IP,
        "http://x.b.c | x.b.c:80 | 192.0.2.7",
    ),
    (
        "[{host: '*.b.c'}]",
        "[]",
        Some("x.y.b.c"),
        IP,
        "invalid: Ingress s/i has no rule for the host",
    ),
    (
        "[{host: '*.b.c'}]",
        "[]",
        Some("*.b.c"),
        IP,
        "invalid: Ingress s/i has a host that cannot be used",
    ),
    (
        "[{host: '*.b.c'}]",
        "[]",
        None,
        IP,
        "invalid: Ingress s/i does not have one host",
    ),
    ("[]", "[]", None, IP, "http://192.0.2.7 | 192.0.2.7:80 | 192.0.2.7"),
    (
        "[]",
        "[{secretName: s}]",
        None,
        "[{ip: 'fd00::1'}]",
        "https://[fd00::1] | [fd00::1]:443 | fd00::1",
    ),
    (
        "[]",
        "[{hosts: [a.b.c]}]",
        None,
        IP,
        "http://192.0.2.7 | 192.0.2.7:80 | 192.0.2.7",
    ),
    (
        "[{http: {}}]",
        "[]",
        Some("x.b.c"),
        NAME,
        "http://x.b.c | x.b.c:80 | lb.example.com",
    ),
    (
        "[{host: a.b.c}]",
        "[]",
        None,
        "[]",
        "pending: Ingress s/i has no address yet",
    ),
];

#[test]
fn ingresses() {
    for (rules, tls, host, status, expected) in INGRESSES {
        let object = yaml(&format!(
            "metadata: {{namespace: s, name: i}}
spec: {{rules: {rules}, tls: {tls}}}
status: {{loadBalancer: {{ingress: {status}}}}}"
        ));
        check(&format!("{rules} {tls} {host:?}"), ingress(&object, *host), expected);
    }
}
