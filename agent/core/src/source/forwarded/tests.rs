use proptest::prelude::*;

use super::*;
use crate::config::{Config, Environment, Overrides};

type Fields<'a> = &'a [(&'a str, &'a [u8])];

fn trusted(list: &str) -> Vec<TrustedProxy> {
    let environment = Environment { host_name: "gw", data_dir: std::path::Path::new("/d"), env: &|_| None };
    let text = format!("[[server]]\ntrusted_proxies = [{list}]");
    let config =
        Config::parse(&text, std::path::Path::new("/t"), &Overrides::default(), &environment).unwrap();
    config.servers[0].access.trusted_proxies.clone()
}

fn ours() -> Vec<TrustedProxy> {
    trusted("'127.0.0.1', '10.0.0.0/8', '::1', 'unix'")
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn way_of(peer: Option<&str>, fields: Fields<'_>, trusted: &[TrustedProxy]) -> Way {
    let of = |name: &str| {
        fields.iter().filter(|(known, _)| *known == name).map(|(_, value)| *value).collect::<Vec<_>>()
    };
    way(peer.map(address), &Head { fields: &of, is_http_1_1: true }, trusted)
}

fn proxied_by(fields: Fields<'_>) -> Proxied {
    match way_of(Some("127.0.0.1"), fields, &ours()) {
        Way::Proxied(proxied) => proxied,
        other => panic!("{other:?}"),
    }
}

fn standard(value: &str) -> Result<IpAddr, Untold> {
    proxied_by(&[("forwarded", value.as_bytes())]).caller
}

fn listed(value: &str) -> Result<IpAddr, Untold> {
    proxied_by(&[("x-forwarded-for", value.as_bytes())]).caller
}

#[test]
fn every_legal_form_of_an_address_is_read() {
    let (four, six) = (Ok(address("192.0.2.43")), Ok(address("2001:db8:cafe::17")));
    for (value, expected) in [
        ("for=192.0.2.43", four),
        ("For=192.0.2.43", four),
        ("for=\"192.0.2.43\"", four),
        ("for=\"192.0.2.43:47011\"", four),
        ("for=192.0.2.43:47011", four),
        ("for=\"192.0.2.43:_port\"", four),
        ("for=\"[2001:db8:cafe::17]\"", six),
        ("for=\"[2001:db8:cafe::17]:4711\"", six),
        ("FOR=\"[2001:db8:CAFE::17]:_x\"", six),
        ("for=[2001:db8:cafe::17]", six),
        ("for=\"2001:db8:cafe::17\"", six),
        ("for=\"[::ffff:192.0.2.43]\"", four),
        ("for=\"\\1\\92.0.2.43\"", four),
        ("by=203.0.113.43;for=192.0.2.43;proto=http", four),
        ("proto=https ; for=192.0.2.43 ;host=\"a;b,c\"", four),
        ("secret=\"x\\\"y,z\";for=192.0.2.43;", four),
        ("for=192.0.2.43,", four),
        (" , for=192.0.2.43 , ,for=10.1.1.1", four),
        ("for=unknown", Err(Untold::Hidden)),
        ("for=Unknown", Err(Untold::Hidden)),
        ("for=_hidden, for=10.1.1.1", Err(Untold::Hidden)),
        ("for=\"_gazonk:47011\"", Err(Untold::Hidden)),
        ("proto=https", Err(Untold::Hidden)),
        ("", Err(Untold::Missing)),
        (" , ;, ", Err(Untold::Missing)),
    ] {
        assert_eq!(standard(value), expected, "{value}");
    }
    for (value, expected) in [
        ("192.0.2.43", four),
        ("192.0.2.43:80", four),
        ("2001:db8:cafe::17", six),
        ("[2001:db8:cafe::17]:80", six),
        ("2001:db8:cafe::17%eth0", six),
        ("::ffff:192.0.2.43", four),
        ("unknown", Err(Untold::Hidden)),
        ("192.0.2.43, unknown", Err(Untold::Hidden)),
        (" ,\t192.0.2.43 , 10.9.9.9,,", four),
        ("", Err(Untold::Missing)),
    ] {
        assert_eq!(listed(value), expected, "{value}");
    }
}

#[test]
fn what_cannot_be_read_names_nobody() {
    for value in [
        "192.0.2.43",
        "for",
        "for=",
        "for=\"",
        "for=\"192.0.2.43",
        "for=192.0.2.43;for=192.0.2.44",
        "for=192.0.2.43 for=192.0.2.44",
        "for=\"192.0.2.43\"x",
        "for=1.2.3",
        "for=1.2.3.4.5",
        "for=192.0.2.43:",
        "for=192.0.2.43:123456",
        "for=192.0.2.43:8o",
        "for=[2001:db8::1",
        "for=\"[192.0.2.43]\"",
        "for=\"[2001:db8::1]80\"",
        "for=_",
        "for=_a/b",
        "for=localhost",
        "f or=192.0.2.43",
        "=192.0.2.43",
        "for==192.0.2.43",
        "for=192.0.2.43\u{e9}",
    ] {
        assert_eq!(standard(value), Err(Untold::Malformed), "{value}");
    }
    for value in ["localhost", "1.2.3", "192.0.2.43 192.0.2.44", "a, b", "for=192.0.2.43", "unix:"] {
        assert_eq!(listed(value), Err(Untold::Malformed), "{value}");
    }
    assert_eq!(proxied_by(&[("x-forwarded-for", b"\xff")]).caller, Err(Untold::Malformed));
    assert_eq!(listed(&format!("{}192.0.2.43", " ".repeat(BYTES))), Err(Untold::TooLong));
    assert_eq!(standard(&format!("for=192.0.2.43;x={}", "y".repeat(BYTES))), Err(Untold::TooLong));
    assert_eq!(proxied_by(&[("x-real-ip", b"192.0.2.43")]).caller, Err(Untold::Missing));
}

#[test]
fn the_caller_is_the_last_address_that_is_no_proxy_and_what_it_wrote_itself_is_not_believed() {
    let caller = Ok(address("203.0.113.9"));
    for list in [
        "203.0.113.9",
        "127.0.0.1, 203.0.113.9",
        "10.0.0.1, 203.0.113.9, 10.0.0.2, 127.0.0.1",
        "nonsense, \"\u{1}, 203.0.113.9, 10.0.0.2",
    ] {
        assert_eq!(listed(list), caller, "{list}");
    }
    assert_eq!(standard("for=127.0.0.1, for=203.0.113.9, for=\"[::1]\""), caller);
    // A list goes on from one field to the next, and the last proxy may have added a field of its own.
    let of =
        |name, fields: [&'static str; 2]| proxied_by(&fields.map(|field| (name, field.as_bytes()))).caller;
    assert_eq!(of("x-forwarded-for", ["192.0.2.1, 203.0.113.9", "10.0.0.2"]), caller);
    assert_eq!(of("forwarded", ["for=\"", "for=203.0.113.9"]), caller);
    assert_eq!(of("forwarded", ["for=203.0.113.9", "for=10.0.0.2"]), caller);
    // All of them are proxies: the farthest has asked itself.
    assert_eq!(listed("10.0.0.3, 10.0.0.2"), Ok(address("10.0.0.3")));
    assert_eq!(listed("127.0.0.1"), Ok(address("127.0.0.1")));
}

#[test]
fn two_fields_that_do_not_agree_name_nobody() {
    let both = |standard: &str, list: &str| {
        let fields = [("forwarded", standard.as_bytes()), ("x-forwarded-for", list.as_bytes())];
        proxied_by(&fields).caller
    };
    assert_eq!(both("for=203.0.113.9", "192.0.2.1, 203.0.113.9"), Ok(address("203.0.113.9")));
    assert_eq!(both("for=192.0.2.1", "203.0.113.9"), Err(Untold::Contradiction));
    assert_eq!(both("for=127.0.0.1", "203.0.113.9"), Err(Untold::Contradiction));
    for (standard, list) in
        [("for=_x", "203.0.113.9"), ("for=203.0.113.9", "unknown"), ("proto=https", "203.0.113.9")]
    {
        assert_eq!(both(standard, list), Err(Untold::Hidden), "{standard}");
    }
    assert_eq!(both("for=203.0.113.9", "x"), Err(Untold::Malformed));
}

#[test]
fn only_a_trusted_proxy_is_believed() {
    let fields: Fields<'_> = &[("x-forwarded-for", b"192.0.2.43")];
    let sign = Way::PassedOn(Sign::Field("x-forwarded-for"));
    for peer in [Some("127.0.0.2"), Some("203.0.113.9"), Some("fe80::1")] {
        assert_eq!(way_of(peer, fields, &ours()), sign, "{peer:?}");
    }
    assert_eq!(way_of(Some("127.0.0.1"), fields, &[]), sign);
    assert_eq!(way_of(None, fields, &trusted("'127.0.0.1'")), sign);
    for peer in [Some("127.0.0.1"), Some("::ffff:10.1.2.3"), Some("::1"), None] {
        assert!(
            matches!(way_of(peer, fields, &ours()), Way::Proxied(Proxied { caller: Ok(_), .. })),
            "{peer:?}"
        );
    }
    assert_eq!(way_of(Some("127.0.0.1"), &[], &ours()), Way::Direct);
}

#[test]
fn the_loopback_of_another_machine_is_nobody_here() {
    let of = |peer| way_of(Some(peer), &[("x-forwarded-for", b"127.0.0.1")], &ours());
    let caller = |way| match way {
        Way::Proxied(proxied) => proxied.caller,
        other => panic!("{other:?}"),
    };
    assert_eq!(caller(of("10.0.0.2")), Err(Untold::OtherLoopback));
    assert_eq!(caller(of("127.0.0.1")), Ok(address("127.0.0.1")));
}

#[test]
fn host_and_tls_are_those_of_the_caller() {
    let fields: Fields<'_> = &[(
        "forwarded",
        b"for=1.2.3.4;host=evil.example;proto=http, for=203.0.113.9;host=panel.example;proto=https, for=10.0.0.2",
    )];
    let found = proxied_by(fields);
    assert_eq!((found.hosts, found.is_secure), (vec!["panel.example".to_owned()], true));
    let fields: Fields<'_> = &[
        ("x-forwarded-for", b"203.0.113.9"),
        ("x-forwarded-host", b"evil.example, panel.example:8443"),
        ("x-forwarded-proto", b"https, http"),
    ];
    let found = proxied_by(fields);
    assert_eq!((found.hosts, found.is_secure), (vec!["panel.example:8443".to_owned()], false));
    let found = proxied_by(&[("x-forwarded-proto", b"wss")]);
    assert_eq!((found.hosts, found.is_secure), (vec![], true));
}

#[test]
fn a_request_from_this_machine_that_a_proxy_has_passed_on_is_known_also_without_its_word() {
    for name in MARKS {
        let sign = Way::PassedOn(Sign::Field(name));
        assert_eq!(way_of(Some("127.0.0.1"), &[(name, b"")], &[]), sign, "{name}");
    }
    let of = |peer: &str, fields: Fields<'_>| way_of(Some(peer), fields, &[]);
    let upgrade: Fields<'_> = &[("connection", b"keep-alive, Upgrade")];
    assert_eq!(of("127.0.0.1", upgrade), Way::PassedOn(Sign::LostUpgrade));
    assert_eq!(of("127.0.0.1", &[upgrade[0], ("upgrade", b"websocket")]), Way::Direct);
    for host in ["192.168.1.5", "203.0.113.9:80", "[2001:db8::1]:80"] {
        let host = [("host", host.as_bytes())];
        assert_eq!(of("127.0.0.1", &host), Way::PassedOn(Sign::OtherAddress), "{host:?}");
        assert_eq!(of("192.168.1.7", &host), Way::Direct, "{host:?}");
    }
    for host in ["127.0.0.1:9998", "[::1]:9998", "[::ffff:127.0.0.1]", "localhost", "gw", "0.0.0.0:9998", "?"]
    {
        assert_eq!(of("::1", &[("host", host.as_bytes())]), Way::Direct, "{host}");
    }
    let nothing = |_: &str| Vec::new();
    let old = Head { fields: &nothing, is_http_1_1: false };
    assert_eq!(way(Some(address("127.0.0.1")), &old, &[]), Way::PassedOn(Sign::OldVersion));
    assert_eq!(way(None, &old, &[]), Way::PassedOn(Sign::OldVersion));
    assert_eq!(way(Some(address("192.168.1.7")), &old, &[]), Way::Direct);
}

fn any_list() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "([Ff]or|by|host|proto)?=?\"?(127\\.0\\.0\\.1|\\[::1\\]|10\\.0\\.0\\.2|203\\.0\\.113\\.9|_x|unknown)?(:80)?\"?[;, ]{0,2}(for=127\\.0\\.0\\.1|::1)?"
            .prop_map(String::into_bytes),
        "[ -~]{0,60}".prop_map(String::into_bytes),
        proptest::collection::vec(any::<u8>(), 0..60),
    ]
}

fn any_peer() -> impl Strategy<Value = Option<IpAddr>> {
    proptest::option::of(proptest::sample::select(vec![
        address("127.0.0.1"),
        address("127.0.0.2"),
        address("::1"),
        address("10.0.0.2"),
        address("203.0.113.9"),
    ]))
}

proptest! {
    #[test]
    fn no_header_makes_a_request_direct_or_its_caller_one_of_this_machine(
        peer in any_peer(),
        standard in proptest::option::of(any_list()),
        listed in proptest::option::of(any_list()),
        mark in 0..MARKS.len(),
        value in any_list(),
    ) {
        let of = |name: &str| {
            let more = (name == MARKS[mark]).then_some(&value);
            let known = match name { FORWARDED => standard.as_ref(), FORWARDED_FOR => listed.as_ref(), _ => None };
            known.into_iter().chain(more).map(Vec::as_slice).collect::<Vec<_>>()
        };
        let head = Head { fields: &of, is_http_1_1: true };
        match way(peer, &head, &ours()) {
            Way::Direct => prop_assert!(false),
            Way::PassedOn(_) => prop_assert!(peer.is_some_and(|peer| !ours().iter().any(|known| known.holds(Some(peer))))),
            Way::Proxied(Proxied { caller: Ok(caller), .. }) => prop_assert!(!caller.is_loopback() || is_here(peer)),
            Way::Proxied(_) => {}
        }
    }

    #[test]
    fn nothing_that_a_caller_writes_makes_it_another_one(own in any_list(), is_field in any::<bool>()) {
        let join = |added: &str| {
            if is_field { vec![own.clone(), added.as_bytes().to_vec()] } else { vec![[&own[..], b", ", added.as_bytes()].concat()] }
        };
        for (name, added) in [(FORWARDED, "for=203.0.113.77"), (FORWARDED_FOR, "203.0.113.77")] {
            let fields = join(added);
            let fields: Vec<_> = fields.iter().map(|field| (name, field.as_slice())).collect();
            match proxied_by(&fields).caller {
                Ok(caller) => prop_assert_eq!(caller, address("203.0.113.77")),
                Err(untold) => prop_assert!(name == FORWARDED && untold == Untold::Malformed),
            }
        }
    }
}
