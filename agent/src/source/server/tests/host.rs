//! Under which names a server is asked, from which pages, and which subprotocol it speaks.

use super::*;

/// Status and error of a request with these lines.
async fn ask(bench: &Bench, version: &str, lines: &str) -> (u16, String) {
    split(&bench.raw(&format!("GET / HTTP/{version}\r\n{lines}connection: close\r\n\r\n")).await)
}

#[test]
fn a_name_that_is_not_the_gateways_is_told_which_line_would_make_it_so() {
    with(config(), async |bench| {
        for own in
            ["127.0.0.1:9998", "[::1]", "LOCALHOST.:1", "x", "203.0.113.9:80", "127.1", "container:9998", ""]
        {
            assert_eq!(ask(&bench, "1.1", &format!("host: {own}\r\n")).await.0, 200, "{own}");
        }
        for path in ["/", "/api/topics", "/api/tap", "/metrics", "/healthz", "/kitchen", "/subscribe"] {
            let method = if path == "/kitchen" { "POST" } else { "GET" };
            let evil = format!(
                "{method} {path} HTTP/1.1\r\nhost: Evil.Example.:9998\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            let error = "evil.example is no name of this gateway: hostnames = [\"evil.example\"] in [[server]] \
                         sensors lets it in, or ask for its host name or address";
            let expected = (421, serde_json::json!({ "error": error }).to_string());
            assert_eq!(split(&bench.raw(&evil).await), expected, "{path}");
        }
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn a_host_that_is_missing_or_none_is_told_so_but_old_http_needs_none() {
    with(config(), async |bench| {
        assert_eq!(ask(&bench, "1.0", "").await.0, 200);
        assert_eq!(ask(&bench, "1.0", "host: evil.example\r\n").await.0, 421);
        for (lines, error) in [
            ("", "the header Host is missing"),
            ("host: x\r\nhost: x\r\n", "the header Host is there twice"),
            ("host: a b\r\n", "the header Host is no host: a b"),
        ] {
            let (status, body) = ask(&bench, "1.1", lines).await;
            assert!(status == 400 && body.contains(error), "{lines}: {status} {body}");
        }
        let whole = "GET http://evil.example/api/status HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        assert_eq!(split(&bench.raw(whole).await).0, 421, "a url overrides the header");
    });
}

#[test]
fn a_device_may_say_what_it_likes_for_an_origin_and_a_page_may_not() {
    with(config(), async |bench| {
        let chromium = "user-agent: Mozilla/5.0\r\n";
        let here = format!("origin: http://localhost:{}\r\n", bench.address.port());
        let own = format!("host: {}\r\n{here}", bench.address);
        assert_eq!(ask(&bench, "1.1", &format!("{own}{chromium}")).await.0, 200);
        for (origin, of_a_device, of_a_page) in [
            ("file://", 200, 403),
            ("https://github.com/gilmaimon/TinyWebsockets", 200, 403),
            ("null", 403, 403),
            ("http://x", 200, 200),
            ("http://x:3000", 403, 403),
            ("https://good.example\r\norigin: http://evil.example", 403, 403),
        ] {
            let lines = format!("host: x\r\norigin: {origin}\r\n");
            assert_eq!(ask(&bench, "1.1", &lines).await.0, of_a_device, "{origin}");
            assert_eq!(ask(&bench, "1.1", &format!("{lines}{chromium}")).await.0, of_a_page, "{origin}");
        }
        let (_, body) = ask(&bench, "1.1", &format!("host: x\r\norigin: file://\r\n{chromium}")).await;
        let remedy = r#"origins = [\"file://\"] in [[server]] sensors lets it in"#;
        assert!(body.contains(remedy), "{body}");
    });
    let mut server = config();
    server.access.origins = vec!["file://".to_owned(), "null".to_owned(), "http://a/b".to_owned()];
    with(server, async |bench| {
        for listed in ["file://", "null", "http://a/b"] {
            let lines = format!("host: x\r\norigin: {listed}\r\nuser-agent: Mozilla/5.0\r\n");
            assert_eq!(ask(&bench, "1.1", &lines).await.0, 200, "{listed}");
        }
    });
}

#[test]
fn a_subprotocol_is_selected_by_the_route_and_among_those_that_are_offered() {
    let mut server = config();
    let wanted = vec!["ocpp1.6".to_owned(), "ocpp2.0.1".to_owned()];
    server.routes = vec![
        Route { subprotocols: Some(wanted), ..Route::of_path("/ocpp/{device}") },
        Route { subprotocols: Some(Vec::new()), ..Route::of_path("/none") },
    ];
    with(server, async |bench| {
        for (path, offered, selected) in [
            ("/t", "sec-websocket-protocol: arduino\r\n", Some("arduino")),
            ("/t", "sec-websocket-protocol: a/b,, v2.plant , v1\r\n", Some("v2.plant")),
            ("/t", "", None),
            (
                "/ocpp/1",
                "sec-websocket-protocol: ocpp2.0.1\r\nsec-websocket-protocol: ocpp1.6\r\n",
                Some("ocpp1.6"),
            ),
            ("/ocpp/1", "sec-websocket-protocol: other\r\n", None),
            ("/none", "sec-websocket-protocol: other\r\n", None),
            ("/subscribe?topic=kitchen/t", "sec-websocket-protocol: json\r\n", Some("json")),
        ] {
            let head = format!(
                "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offered}\r\n"
            );
            let mut stream = bench.connect().await;
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).await.unwrap();
                answer.extend(byte);
            }
            let answer = String::from_utf8(answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
            let found = answer.lines().find_map(|line| line.strip_prefix("sec-websocket-protocol: "));
            assert_eq!(found, selected, "{path} {offered}");
        }
    });
}
