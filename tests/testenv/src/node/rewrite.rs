//! Text of a container that is changed for a local process: variables, mount paths and ports.

use std::{collections::BTreeMap, path::Path};

/// Resolves `$(NAME)` as the kubelet does: an unknown name stays as it is, and `$$` is a plain `$`.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        result.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        if let Some(escaped) = after.strip_prefix('$') {
            result.push('$');
            rest = escaped;
            continue;
        }
        let name = after.strip_prefix('(').and_then(|inside| inside.split_once(')'));
        if let Some((value, tail)) = name.and_then(|(name, tail)| variables.get(name).map(|value| (value, tail))) {
            result.push_str(value);
            rest = tail;
        } else {
            result.push('$');
            rest = after;
        }
    }
    result + rest
}

/// Replaces mount paths by local directories. The longest mount path that fits wins; `/data` does not fit `/database`.
pub(super) fn mount_paths<'a>(text: &str, mounts: impl Iterator<Item = (&'a str, &'a Path)>) -> String {
    let mut mounts: Vec<(&str, &Path)> = mounts
        .map(|(mount, local)| (mount.trim_end_matches('/'), local))
        .collect();
    mounts.sort_by_key(|(mount, _)| std::cmp::Reverse(mount.len()));
    let in_name = |character: char| character.is_alphanumeric() || "_-.".contains(character);
    let mut result = String::new();
    let mut rest = text;
    while let Some(slash) = rest.find('/') {
        result.push_str(&rest[..slash]);
        rest = &rest[slash..];
        // A path starts where no name and no other slash comes before: not inside `a/b`, nor at the host of a URL.
        let starts = !result.ends_with(|c| in_name(c) || c == '/');
        let fits =
            |mount: &str| !mount.is_empty() && rest.strip_prefix(mount).is_some_and(|tail| !tail.starts_with(in_name));
        if let Some((mount, local)) = mounts.iter().find(|(mount, _)| starts && fits(mount)) {
            result.push_str(&local.to_string_lossy());
            rest = &rest[mount.len()..];
        } else {
            result.push('/');
            rest = &rest[1..];
        }
    }
    result + rest
}

/// Replaces `:<port>` by a local port on the loopback address, where the host before it is empty, a wildcard or the
/// loopback: `--listen=0.0.0.0:8080` becomes `--listen=127.0.0.1:20123`. Other hosts are left alone.
pub(super) fn ports(text: &str, ports: &BTreeMap<u16, u16>) -> String {
    let in_host = |character: char| character.is_alphanumeric() || ".-[]:".contains(character);
    let mut result = text.to_owned();
    for (port, local) in ports {
        let needle = format!(":{port}");
        let mut from = 0;
        while let Some(found) = result[from..].find(&needle).map(|index| index + from) {
            let end = found + needle.len();
            let start = result[..found].rfind(|c| !in_host(c)).map_or(0, |index| {
                index + result[index..].chars().next().map_or(0, char::len_utf8)
            });
            let host = &result[start..found];
            let ours = matches!(host, "" | "0.0.0.0" | "[::]" | "127.0.0.1" | "localhost" | "[::1]");
            if !ours || result[end..].starts_with(|c: char| c.is_ascii_digit()) {
                from = end;
                continue;
            }
            let replacement = format!("127.0.0.1:{local}");
            result.replace_range(start..end, &replacement);
            from = start + replacement.len();
        }
    }
    result
}

/// Replaces addresses by what stands for them. `https://host:1` does not stand in `https://host:12`.
pub(super) fn routes(text: &str, routes: &[(String, String)]) -> String {
    let mut result = text.to_owned();
    for (from, to) in routes {
        let mut parts = result.split(from.as_str());
        let mut replaced = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let whole = !part.starts_with(|c: char| c.is_ascii_digit());
            replaced += if whole { to } else { from };
            replaced += part;
        }
        result = replaced;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_replaced_by_what_stands_for_them() {
        let table = [
            ("https://a:1".to_owned(), "https://b:7".to_owned()),
            ("https://c:2".to_owned(), "https://d:8".to_owned()),
        ];
        for (text, expected) in [
            ("server: https://a:1", "server: https://b:7"),
            ("\"https://a:1/x\" https://a:1", "\"https://b:7/x\" https://b:7"),
            ("https://a:12 https://c:2\n", "https://a:12 https://d:8\n"),
            ("a:1", "a:1"),
        ] {
            assert_eq!(routes(text, &table), expected, "{text}");
        }
    }

    #[test]
    fn variables_are_resolved_as_the_kubelet_does() {
        let variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in [
            ("x-$(A)-$(A)", "x-1-1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$A $", "$A $"),
            ("$(A", "$(A"),
        ] {
            assert_eq!(expand(text, &variables), expected, "{text}");
        }
    }

    #[test]
    fn mount_paths_are_replaced_where_they_are_paths() {
        let mounts = [
            ("/etc/hub", Path::new("/l/hub")),
            ("/etc/hub/ca/", Path::new("/l/ca")),
            ("/data", Path::new("/l/d")),
        ];
        for (text, expected) in [
            ("/etc/hub", "/l/hub"),
            ("--a=/etc/hub/kubeconfig", "--a=/l/hub/kubeconfig"),
            ("/etc/hub/ca/x,/data", "/l/ca/x,/l/d"),
            ("/database", "/database"),
            ("/data-2 /data.old", "/data-2 /data.old"),
            ("/srv/data", "/srv/data"),
            ("https://data/data", "https://data/data"),
            ("file:///data/x", "file:///data/x"),
        ] {
            assert_eq!(mount_paths(text, mounts.into_iter()), expected, "{text}");
        }
    }

    #[test]
    fn ports_are_replaced_where_they_are_ours() {
        let map = BTreeMap::from([(8080, 20_001), (80, 20_002)]);
        for (text, expected) in [
            ("--listen=0.0.0.0:8080", "--listen=127.0.0.1:20001"),
            (":80", "127.0.0.1:20002"),
            ("[::]:8080,:80", "127.0.0.1:20001,127.0.0.1:20002"),
            ("http://localhost:8080/x", "http://127.0.0.1:20001/x"),
            ("other:8080", "other:8080"),
            (":8081 :808", ":8081 :808"),
        ] {
            assert_eq!(ports(text, &map), expected, "{text}");
        }
    }
}
