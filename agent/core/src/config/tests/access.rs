//! Who may use a server, as it is configured.

use super::*;
use crate::config::phc::Phc;

const HASH: &str = "$argon2id$v=19$m=7168,t=5,p=1$c29tZXNhbHQ$RdescudvJCsgt3ub+b4dWRWJTmaaJObGRdescudvJCs";

#[test]
fn wrong_access_is_refused() {
    let user = "auth = 'basic'\nusers = [{ name = 'a', password = 'x' }]";
    let cases: &[(&str, &[&str])] = &[
        ("auth = 'basic'", &["f:2:8: server.auth: needs `users` or `pam`"]),
        (
            "users = [{ name = 'a', password = 'x' }]",
            &["f:2:9: server.users: needs auth = \"basic\" or \"url\"; nobody has a name without"],
        ),
        (
            "deny_users = ['a']",
            &["f:2:14: server.deny_users: needs auth = \"basic\" or \"url\"; nobody has a name without"],
        ),
        (
            "auth = 'url'\nusers = [{ name = 'a' }]",
            &["f:3:10: server.users: must have one of `password_hash` and `password`"],
        ),
        (
            "auth = 'url'\nusers = [{ name = 'a', password = 'x' }, { name = 'a', password = 'y' }]",
            &["f:3:9: server.users: `a` is there twice"],
        ),
        (
            "auth = 'url'\nusers = [{ name = 'a:b', password = 'x' }]",
            &[
                "f:3:19: server.users.name: must be a name without a colon or a control character, 128 bytes at most",
            ],
        ),
        (
            "allow = ['10.0.0.1/8']",
            &[
                "f:2:9: server.allow: `10.0.0.1/8` must have zeros behind its prefix: did you mean 10.0.0.0/8?",
            ],
        ),
        (
            "deny = ['lan']",
            &["f:2:8: server.deny: `lan` must be a network, such as 192.168.1.0/24 or fd00::/8"],
        ),
        (
            "limits = { rate_per_ip = '5' }",
            &[
                "f:2:26: server.limits.rate_per_ip: must be a rate such as \"200/s\", \"200/s burst 400\" or \"30/min\", or \"\"",
            ],
        ),
        ("auth = 'url'\npam = {}", &["f:3:7: server.pam.groups: is missing"]),
        ("auth = 'url'\npam = { groups = [] }", &["f:3:18: server.pam.groups: must name at least one group"]),
        (
            "auth = 'url'\npam = { groups = ['a'], service = '../x' }",
            &["f:3:35: server.pam.service: must be the name of a file in /etc/pam.d"],
        ),
        (
            "pam = { groups = ['a'] }",
            &["f:2:7: server.pam: needs auth = \"basic\" or \"url\"; nobody has a name without"],
        ),
        (user, &[]),
    ];
    for (line, expected) in cases {
        assert_eq!(errors_with(&format!("[[server]]\n{line}"), &Overrides::default()), *expected, "{line}");
    }
}

#[test]
fn a_hash_that_a_gateway_cannot_bear_is_refused_and_never_quoted() {
    let text = |hash: &str| {
        format!("[[server]]\nauth = 'basic'\nusers = [{{ name = 'a', password_hash = '{hash}' }}]")
    };
    assert_eq!(errors_with(&text(HASH), &Overrides::default()), Vec::<String>::new());
    let errors = errors_with(&text(&HASH.replace("7168", "4194304")), &Overrides::default());
    assert!(errors[0].starts_with("f:3:40: server.users.password_hash: asks for m=4194304"), "{errors:?}");
    assert!(!errors[0].contains("c29tZXNhbHQ"));
}

#[test]
fn neither_a_password_nor_its_hash_is_shown() {
    let text = format!(
        "[[server]]\nauth = 'basic'\nusers = [{{ name = 'a', password_hash = '{HASH}' }}, {{ name = 'b', password = 's3cret' }}]"
    );
    let config = parse(&text);
    let rendered = config.render(&environment());
    let users =
        "users = [{ name = \"a\", password_hash = \"***\" }, { name = \"b\", password = \"***\" }]  # set";
    assert!(rendered.contains(users), "{rendered}");
    for shown in [rendered, format!("{config:?}")] {
        assert!(!shown.contains("s3cret") && !shown.contains("c29tZXNhbHQ"), "{shown}");
    }
    assert!(Phc::parse(HASH).is_ok());
}
