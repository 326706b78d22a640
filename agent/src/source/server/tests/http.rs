//! Requests, limits and the control socket.

use holdfast_core::config::limits::CallerLimits;
use holdfast_core::descriptors::{Ceilings, Needs};

use super::*;

#[test]
fn a_post_is_answered_with_the_id_that_the_loop_gave() {
    with(config(), async |bench| {
        assert_eq!(
            bench.post("/kitchen/temperature?unit=C", "23.5").await,
            (200, r#"{"stored":1}"#.to_owned())
        );
        let draft = bench.draft().await;
        assert_eq!((draft.topic.as_str(), draft.device.as_deref()), ("kitchen/temperature", Some("kitchen")));
        assert_eq!(
            (&*draft.source, draft.format, draft.payload.as_slice()),
            ("server:sensors", Format::Json, &b"23.5"[..])
        );
        assert_eq!(draft.attributes, [("unit".to_owned(), "C".to_owned())]);
        assert_eq!(bench.ask("PUT", "/a", "content-type: text/plain\r\n", "1").await.1, r#"{"stored":2}"#);
        assert_eq!(bench.draft().await.format, Format::Text);
        assert_eq!(bench.post("/a", "").await.0, 200);
        assert_eq!(bench.draft().await.payload, b"");
    });
}

#[test]
fn a_refusal_has_its_status_and_says_when_to_come_back() {
    with(config(), async |bench| {
        let cases = [
            (Refused::Busy, 429, "too many messages wait for the disk"),
            (Refused::Full, 503, "the buffer is full"),
            (Refused::Failing("no space".to_owned()), 503, "cannot write the store: no space"),
            (Refused::Stopping, 503, "the agent is stopping"),
        ];
        for (refused, status, error) in cases {
            bench.refuse(&[refused]);
            let answer = bench.raw(&request("POST", "/a", "", "1")).await;
            assert_eq!(split(&answer), (status, serde_json::json!({ "error": error }).to_string()));
            assert!(answer.contains("retry-after: "), "{answer}");
        }
    });
}

#[test]
fn what_is_wrong_with_a_request_is_said() {
    let mut server = config();
    let (path, format) = ("/json/{name}".to_owned(), Some(Format::Json));
    server.routes = vec![Route { format, ..Route::of_path(&path) }];
    with(server, async |bench| {
        let json = "content-type: application/json\r\n";
        let evil = "origin: https://evil.example\r\n";
        let large = "x".repeat(1001);
        let cases = [
            ("POST", "/json/a", "", "{\n x", 400, "not valid JSON: key must be a string at line 2 column 2"),
            ("POST", "/a", json, "[1", 400, "not valid JSON: EOF while parsing a list at line 1 column 2"),
            ("POST", "/", "", "1", 400, "no topic: post to a path such as /kitchen/temperature"),
            ("POST", "/a/%23", "", "1", 400, "the topic has the character '#', which no topic may have"),
            ("POST", "/a", "", &large, 413, "the body is larger than 1000 bytes"),
            (
                "POST",
                "/a",
                evil,
                "1",
                403,
                "the origin https://evil.example is not in `origins` of this server: \
                 origins = [\"https://evil.example\"] in [[server]] sensors lets it in",
            ),
            (
                "GET",
                "/a",
                "",
                "",
                405,
                "GET is not allowed here, only POST, PUT, OPTIONS; `methods` of a [[server.route]] says what its path takes",
            ),
            (
                "DELETE",
                "/",
                "",
                "",
                405,
                "DELETE is not allowed here, only GET, HEAD, POST, PUT, OPTIONS; `methods` of a [[server.route]] says what its path takes",
            ),
            ("GET", "/api/nothing", "", "", 404, "there is nothing at /api/nothing"),
            ("GET", "/api/send", "", "", 405, "this method is not allowed here, only POST, PUT"),
            ("POST", "/api/send", "", "1", 400, "no topic: post to a path such as /kitchen/temperature"),
        ];
        for (method, path, headers, body, status, error) in cases {
            let expected = (status, serde_json::json!({ "error": error }).to_string());
            assert_eq!(bench.ask(method, path, headers, body).await, expected, "{method} {path}");
        }
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn a_body_without_a_length_is_cut_at_the_limit() {
    with(config(), async |bench| {
        let chunk = format!("1f4\r\n{}\r\n", "x".repeat(500));
        let head = "POST /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(split(&bench.raw(&format!("{head}{}0\r\n\r\n", chunk.repeat(2))).await).0, 200);
        assert_eq!(split(&bench.raw(&format!("{head}{}0\r\n\r\n", chunk.repeat(3))).await).0, 413);
    });
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    let mut server = config();
    server.limits.idle_timeout = Duration::from_millis(200);
    with(server, async |bench| {
        let answer = bench.raw("POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n123").await;
        assert_eq!(split(&answer), (408, r#"{"error":"the body did not arrive within 0.2 s"}"#.to_owned()));
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn a_sender_of_far_too_much_still_sees_the_answer() {
    with(config(), async |bench| {
        assert_eq!(bench.post("/a", &"x".repeat(8 << 20)).await.0, 413);
    });
}

#[test]
fn a_body_that_stays_incomplete_gives_way_to_one_that_waits_for_its_memory() {
    let mut server = config();
    server.limits.message_bytes = 7 << 20;
    with(server, async |bench| {
        let body = "x".repeat(7 << 20);
        let mut unfinished = bench.connect().await;
        let request = request("POST", "/a", "", &body);
        unfinished.write_all(&request.as_bytes()[..request.len() - 1]).await.unwrap();
        let answered = bench.post("/a", &body).await;
        assert_eq!(answered.0, 200, "{}", answered.1);
        let mut answer = [0; 300];
        let length = unfinished.read(&mut answer).await.unwrap();
        let answer = String::from_utf8_lossy(&answer[..length]).into_owned();
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 10"), "{answer}");
        assert!(answer.contains("limits.memory"), "{answer}");
        for _ in 0..3 {
            assert_eq!(bench.post("/a", &body).await.0, 200, "what was stored or given up makes room");
        }
        drop(unfinished);
        let open = bench.room.memory.taken();
        assert!(open < 1 << 20, "{open} bytes are held for nobody");
    });
}

#[test]
fn a_body_that_never_finds_room_is_refused_with_the_key_that_bounds_it() {
    let mut server = config();
    server.limits.message_bytes = 7 << 20;
    with(server, async |bench| {
        bench.room.set(Default::default(), CallerLimits { memory: 1 << 20 });
        let (status, body) = bench.post("/a", &"x".repeat(2 << 20)).await;
        assert!(status == 413 && body.contains("limits.memory"), "{status} {body}");
        assert_eq!(bench.post("/a", "small").await.0, 200);
        bench.room.set(Default::default(), CallerLimits { memory: 1 });
        let (status, body) = bench.post("/a", "small").await;
        assert!(
            status == 503 && body.contains("no memory is left for another connection"),
            "{status} {body}"
        );
    });
}

#[test]
fn lines_are_one_offer_and_one_answer() {
    with(config(), async |bench| {
        let ndjson = "content-type: application/x-ndjson\r\n";
        let answer = bench.ask("POST", "/a", ndjson, "{\"n\":1}\n\n{\"n\":2}\r\n3").await;
        assert_eq!(answer, (200, r#"{"stored":[1,3]}"#.to_owned()));
        for expected in [r#"{"n":1}"#, r#"{"n":2}"#, "3"] {
            assert_eq!(bench.draft().await.payload, expected.as_bytes());
        }
        let (status, error) = bench.ask("POST", "/a", ndjson, "1\nx\n").await;
        assert_eq!((status, error.contains("line 2 of the body is not valid JSON")), (400, true), "{error}");
        let long = format!("1\n\"{}\"\n", "x".repeat(999));
        assert_eq!(bench.ask("POST", "/a", ndjson, &long).await.0, 413);
        assert_eq!(bench.ask("POST", "/a", ndjson, " \n\n").await.0, 400);
        assert_eq!(bench.ask("POST", "/a", ndjson, &"1\n".repeat(8001)).await.0, 413);
        let any = bench.ask("POST", "/api/send?topic=t/x&lines=1&device=d", "", "one\n2\n").await;
        assert_eq!(any, (200, r#"{"stored":[4,5]}"#.to_owned()));
        let draft = bench.draft().await;
        assert_eq!(
            (draft.topic.as_str(), draft.device.as_deref(), draft.format),
            ("t/x", Some("d"), Format::Text)
        );
        assert_eq!(bench.draft().await.format, Format::Json);
    });
}

fn told() -> String {
    serde_json::to_string(&super::status::status()).unwrap()
}

#[test]
fn the_front_page_is_the_status_or_empty() {
    with(config(), async |bench| {
        assert_eq!(bench.ask("GET", "/", "", "").await, (200, told()));
        assert_eq!(bench.ask("HEAD", "/", "", "").await, (200, String::new()));
        assert_eq!(bench.ask("GET", "/api/status", "", "").await, (200, told()));
    });
    with(Server { http: HttpPage::Empty, ..config() }, async |bench| {
        assert_eq!(bench.ask("GET", "/", "", "").await, (204, String::new()));
    });
}

#[test]
fn the_health_is_told_with_its_reasons_to_everybody_who_asks() {
    with(Server { http: HttpPage::Empty, ..config() }, async |bench| {
        assert_eq!(bench.ask("GET", "/healthz", "", "").await, (200, r#"{"status":"ok"}"#.to_owned()));
        let (stuck, failing) = (vec!["the loop is late".to_owned()], Some("the disk is full".to_owned()));
        *bench.health.borrow_mut() = Health { stuck, failing };
        let told = r#"{"reasons":["the loop is late","the disk is full"],"status":"failing"}"#;
        assert_eq!(bench.ask("GET", "/healthz", "", "").await, (503, told.to_owned()));
        assert_eq!(bench.ask("POST", "/healthz", "", "1").await.0, 200);
        assert_eq!(bench.draft().await.topic, "healthz");
    });
}

#[test]
fn the_metrics_are_there_where_the_status_is() {
    with(config(), async |bench| {
        let answer = bench.raw(&request("GET", "/metrics", "", "")).await;
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8"), "{answer}");
        assert!(
            answer.contains("\n# TYPE holdfast_build_info gauge\n") && !answer.contains("# EOF"),
            "{answer}"
        );
        let open = "accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n";
        let answer = bench.raw(&request("GET", "/metrics", open, "")).await;
        assert!(answer.contains("content-type: application/openmetrics-text; version=1.0.0"), "{answer}");
        assert!(answer.contains("\nholdfast_build_info") && answer.ends_with("# EOF\n"), "{answer}");
    });
    with(Server { http: HttpPage::Empty, ..config() }, async |bench| {
        assert_eq!(bench.ask("GET", "/metrics", "", "").await.0, 405);
    });
}

#[test]
fn a_page_of_a_listed_origin_may_post() {
    with(config(), async |bench| {
        let answer = bench.raw(&request("POST", "/a", "origin: https://good.example\r\n", "1")).await;
        assert_eq!(split(&answer).0, 200);
        assert!(answer.contains("access-control-allow-origin: https://good.example\r\n"), "{answer}");
    });
}

#[test]
fn a_connection_serves_two_requests_even_when_they_come_together() {
    with(config(), async |bench| {
        let first = "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n\r\n1";
        let answers = bench.raw(&format!("{first}{}", request("POST", "/a", "", "2"))).await;
        let ids: Vec<_> = answers.matches("{\"stored\":").collect();
        assert_eq!(ids.len(), 2, "{answers}");
        assert!(answers.ends_with(r#"{"stored":2}"#), "{answers}");
    });
}

#[test]
fn a_caller_over_the_limit_gets_a_503_and_a_place_that_is_left_is_free_again() {
    let mut server = config();
    server.limits.connections = 1;
    server.limits.handshake_timeout = Duration::from_secs(10);
    with(server, async |bench| {
        let mut first = bench.connect().await;
        first.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        first.read_exact(&mut [0; 15]).await.unwrap();
        let (status, body) = bench.post("/a", "1").await;
        assert_eq!(status, 503);
        assert!(body.contains("too many connections are open: limits.connections"), "{body}");
        drop(first);
        while bench.post("/a", "1").await.0 == 503 {}
    });
}

#[test]
fn a_head_that_comes_too_slowly_is_cut_off() {
    with(config(), async |bench| {
        let answer = bench.raw("GET / HTTP/1.1\r\nhost: ").await;
        assert!(!answer.contains("200 OK"), "{answer}");
    });
}

#[test]
fn tls_carries_both_and_a_caller_that_does_not_shake_hands_is_dropped() {
    let authority = Authority::new();
    let files = authority.issue("localhost", |_| {});
    let mut server = config();
    server.tls = Some(ServerTls { cert: files.cert, key: files.key, client_ca: None });
    // A handshake in a debug build on a busy machine may take a while.
    server.limits.handshake_timeout = Duration::from_secs(3);
    let client =
        holdfast_core::config::tls::ClientTls { ca: vec![authority.ca.clone()], ..Default::default() };
    with(server, async |bench| {
        let connector = tls::connector(&client).unwrap();
        let dial = async || {
            let name = "localhost".try_into().unwrap();
            connector.connect(name, bench.connect().await).await.unwrap()
        };
        let answer = talk(dial().await, &request("POST", "/a", "", "1")).await;
        assert_eq!(split(&answer).0, 200);
        let url = format!("ws://{}/t?confirm=1", bench.address);
        let (mut socket, _) = async_tungstenite::client_async(url, dial().await).await.unwrap();
        socket.send(Message::text("1")).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(r#"{"stored":2}"#));
        socket.send(Message::text("x".repeat(100_000))).await.unwrap();
        assert_eq!(farewell(&mut socket).await.0, 1009);
        assert_eq!(bench.raw("").await, "");
    });
}

#[test]
fn an_address_that_is_taken_is_named() {
    with(config(), async |bench| {
        let server = Server { bind: vec![bench.address.to_string()], ..config() };
        let error = bind(&server, &[]).await.err().unwrap();
        // The C library's words: musl's are others than glibc's.
        let cause = crate::net::words(&std::io::Error::from(rustix::io::Errno::ADDRINUSE));
        assert_eq!(error, format!("cannot bind {} (server.bind of sensors): {cause}", bench.address));
    });
}

#[test]
fn the_control_socket_serves_the_api_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    with(config(), async |bench| {
        drop(UnixListener::bind(&path).unwrap());
        let absent =
            crate::net::control::request(&path, hyper::Method::GET, "/api/status", None, vec![]).await;
        let expected = format!(
            "cannot reach the agent at {}: no agent is running there (connection refused)",
            path.display()
        );
        assert_eq!(absent, Err(expected));

        let control =
            serve_control(path.clone(), bench.intake.clone(), bench.executor.clone(), bench.room.clone());
        let control = bench.executor.spawn(control);
        let ask = async |path_and_query: &str, body: &str| {
            let method = if body.is_empty() { hyper::Method::GET } else { hyper::Method::POST };
            loop {
                match crate::net::control::request(&path, method.clone(), path_and_query, None, body.into())
                    .await
                {
                    Ok((status, bytes)) => return (status, String::from_utf8(bytes).unwrap()),
                    Err(_) => smol::future::yield_now().await,
                }
            }
        };
        assert_eq!(ask("/api/status", "").await, (200, told()));
        assert_eq!(ask("/api/send?topic=a/b", "x").await, (200, r#"{"stored":1}"#.to_owned()));
        assert_eq!(&*bench.draft().await.source, "control");
        let tapped = async {
            let mut lines = Vec::new();
            let take = |line: &str| {
                lines.push(line.to_owned());
                false
            };
            crate::net::control::lines(&path, "/api/tap?topic=a%2F%2B", take).await.unwrap();
            lines
        };
        assert_eq!(tapped.await, [r#"{"filter":"a/+"}"#]);
        let refused = r#"{"error":"holdfast.toml:1:1: unknown key"}"#;
        assert_eq!(ask("/api/reload", "x").await, (422, refused.to_owned()));
        assert_eq!(bench.ask("POST", "/api/reload", "", "").await.0, 404, "not over the network");
        assert_eq!(ask("/a", "x").await.0, 404);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second =
            serve_control(path.clone(), bench.intake.clone(), bench.executor.clone(), bench.room.clone())
                .await;
        assert!(second.unwrap_err().ends_with("another agent is running there"));
        bench.stop();
        assert_eq!(control.await, Ok(()));
        assert!(!path.exists());
        let file = directory.path().join("file");
        std::fs::write(&file, "precious").unwrap();
        assert!(
            serve_control(file.clone(), bench.intake.clone(), bench.executor.clone(), bench.room.clone())
                .await
                .is_err()
        );
        assert!(file.exists());
        let long = directory.path().join("x".repeat(100));
        assert!(
            serve_control(long, bench.intake.clone(), bench.executor.clone(), bench.room.clone())
                .await
                .is_err()
        );
    });
}

#[test]
fn callers_wait_while_only_the_reserve_is_left_and_one_of_them_is_told() {
    with(config(), async |bench| {
        bench.room.set(Needs::default().ceilings(0), Default::default());
        let (status, body) = bench.post("/a", "1").await;
        assert_eq!((status, body.as_str()), (503, r#"{"error":"no descriptors are left for callers"}"#));
        let waiting =
            bench.executor.spawn({
                let address = bench.address;
                async move {
                    talk(TcpStream::connect(address).await.unwrap(), &request("POST", "/a", "", "1")).await
                }
            });
        bench.room.set(Ceilings::default(), Default::default());
        bench.room.left();
        assert_eq!(split(&waiting.await).0, 200);
        assert_eq!(bench.draft().await.payload, b"1");
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn a_control_socket_is_served_from_the_reserve() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    with(config(), async |bench| {
        // All but four are kept from servers: whatever the number, the control socket is asked another question.
        bench.room.set(Needs::default().ceilings(0), Default::default());
        let any = std::fs::File::open("/dev/null").unwrap();
        assert!(bench.room.keeps(&any, false));
        bench.room.set(Needs::default().ceilings(1 << 20), Default::default());
        assert!(!bench.room.keeps(&any, true) && !bench.room.keeps(&any, false));
        let serving =
            serve_control(path.clone(), bench.intake.clone(), bench.executor.clone(), bench.room.clone());
        let _serving = bench.executor.spawn(serving);
        let ask = || crate::net::control::request(&path, hyper::Method::GET, "/api/status", None, vec![]);
        while ask().await.is_err() {
            smol::future::yield_now().await;
        }
    });
}
