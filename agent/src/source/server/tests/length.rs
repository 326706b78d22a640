//! Bodies whose end is not told or does not come, in the bytes that small devices send.

use super::*;

const LENGTH: &str = "the request has no length";

/// The answers to these bytes until the server hangs up, which it does.
async fn all(bench: &Bench, bytes: &str) -> String {
    let mut stream = bench.connect().await;
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answers = String::new();
    stream.read_to_string(&mut answers).await.unwrap();
    answers
}

#[test]
fn a_body_without_a_length_is_refused_and_not_taken_for_the_next_request() {
    with(config(), async |bench| {
        let hidden = request("POST", "/hidden", "", "1");
        for head in [
            "POST /a HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\r\n",
            "PUT /a HTTP/1.1\r\nhost: x\r\nconnection: keep-alive\r\n\r\n",
            "POST /a HTTP/1.0\r\n\r\n",
            "POST /a HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
            "POST /a HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-ndjson\r\n\r\n",
            "POST /api/send?topic=a HTTP/1.1\r\nhost: x\r\n\r\n",
        ] {
            for body in ["", "23.5", "{\"t\":1}\r\n", &hidden] {
                let answers = all(&bench, &format!("{head}{body}")).await;
                assert_eq!(split(&answers).0, 411, "{answers}");
                assert!(answers.contains(LENGTH) && answers.contains("connection: close"), "{answers}");
                assert_eq!(answers.matches("HTTP/1.").count(), 1, "{answers}");
            }
        }
        for head in ["POST /nothing/%23 HTTP/1.1\r\nhost: x\r\n\r\n", "PATCH /a HTTP/1.1\r\nhost: x\r\n\r\n"]
        {
            let answers = all(&bench, &format!("{head}{hidden}")).await;
            assert_eq!(answers.matches("HTTP/1.").count(), 1, "{answers}");
        }
        assert!(bench.seen.is_empty());
        assert_eq!(bench.post("/a", "").await, (200, r#"{"stored":1}"#.to_owned()), "an empty message");
    });
}

#[test]
fn a_sender_that_goes_on_sending_still_sees_that_its_body_is_refused() {
    with(config(), async |bench| {
        let mut stream = bench.connect().await;
        stream.write_all(b"POST /a HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 12];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 411");
        for _ in 0..20 {
            stream.write_all(&[b'x'; 1000]).await.unwrap();
        }
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert!(rest.contains(LENGTH), "{rest}");
    });
}

#[test]
fn a_body_that_is_cut_off_is_no_message() {
    with(config(), async |bench| {
        let head = "POST /a HTTP/1.1\r\nhost: x\r\n";
        for (headers, body) in [
            ("content-length: 10\r\n", "12345"),
            ("content-length: 10\r\n", ""),
            ("content-length: 10\r\ncontent-type: application/x-ndjson\r\n", "1\n2\n"),
            ("transfer-encoding: chunked\r\n", "5\r\n12345\r\n"),
            ("transfer-encoding: chunked\r\n", "5\r\n123"),
            ("transfer-encoding: chunked\r\n", "5\r\n12345\r\n0\r\n"),
            ("transfer-encoding: chunked\r\n", ""),
            ("expect: 100-continue\r\ncontent-length: 3\r\n", "12"),
        ] {
            for half in [true, false] {
                let mut stream = bench.connect().await;
                stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).await.unwrap();
                if half {
                    stream.shutdown(std::net::Shutdown::Write).unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).await.unwrap();
                    assert!(!answer.contains(" 200 "), "{headers}{body}: {answer}");
                }
            }
        }
        // Whatever was made of them is made of them before this one.
        assert_eq!(bench.post("/a", "1").await, (200, r#"{"stored":1}"#.to_owned()));
    });
}

#[test]
fn lengths_that_contradict_each_other_are_refused() {
    with(config(), async |bench| {
        for headers in [
            "content-length: 1\r\ncontent-length: 2\r\n",
            "content-length: 1, 2\r\n",
            "content-length: +1\r\n",
            "content-length: -1\r\n",
            "content-length: x\r\n",
            "content-length: 18446744073709551616\r\n",
            "transfer-encoding: gzip\r\n",
        ] {
            let answers = all(&bench, &format!("POST /a HTTP/1.1\r\nhost: x\r\n{headers}\r\n12")).await;
            assert_eq!(answers.matches("HTTP/1.1 400").count(), 1, "{headers}: {answers}");
        }
        let coded =
            "POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\n1\r\n0\r\n\r\n";
        assert_eq!(split(&bench.raw(&format!("{coded}{}", request("GET", "/", "", ""))).await).0, 501);
        assert!(bench.seen.is_empty());
        // RFC 9112 §6.3: the chunks count, whatever the other header says.
        for both in [
            "content-length: 1\r\ntransfer-encoding: chunked",
            "transfer-encoding: chunked\r\ncontent-length: 1",
        ] {
            let head = format!("POST /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{both}\r\n\r\n");
            assert_eq!(split(&bench.raw(&format!("{head}3\r\n123\r\n0\r\n\r\n")).await).0, 200);
            assert_eq!(bench.draft().await.payload, b"123");
        }
    });
}

#[test]
fn a_sender_that_waits_for_consent_gets_it_and_its_body_is_the_message() {
    with(config(), async |bench| {
        let mut stream = bench.connect().await;
        let head = "POST /a HTTP/1.1\r\nhost: x\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut consent = [0; 25];
        stream.read_exact(&mut consent).await.unwrap();
        assert_eq!(&consent, b"HTTP/1.1 100 Continue\r\n\r\n");
        assert!(bench.seen.is_empty());
        assert_eq!(split(&talk(stream, "123").await).0, 200);
        assert_eq!(bench.draft().await.payload, b"123");
        let without = "POST /a HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\n\r\n";
        assert_eq!(split(&bench.raw(without).await).0, 411);
    });
}

#[test]
fn a_handshake_with_a_body_is_no_handshake() {
    let server = Server { subscribe: Audience::Local, ..config() };
    with(server, async |bench| {
        let key = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        for path in ["/a", "/subscribe"] {
            for body in
                ["content-length: 3\r\n\r\n123", "transfer-encoding: chunked\r\n\r\n3\r\n123\r\n0\r\n\r\n"]
            {
                let answer = bench.raw(&format!("GET {path} HTTP/1.1\r\nhost: x\r\n{key}{body}")).await;
                assert_eq!(split(&answer).0, 400, "{answer}");
                assert!(answer.contains("a WebSocket handshake has no body"), "{answer}");
            }
        }
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn a_frame_or_a_message_in_pieces_that_is_cut_off_is_no_message() {
    with(config(), async |bench| {
        let key = "GET /a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        // Masked with zeros: five bytes of ten, and the first of two pieces.
        for frame in [&b"\x81\x8a\0\0\0\x0012345"[..], b"\x01\x85\0\0\0\x0012345"] {
            let mut stream = bench.connect().await;
            stream.write_all(&[key.as_bytes(), frame].concat()).await.unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
        assert_eq!(bench.post("/a", "1").await, (200, r#"{"stored":1}"#.to_owned()));
    });
}

#[test]
fn the_control_socket_takes_an_empty_message_but_none_without_a_length() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("control.sock");
    with(config(), async |bench| {
        let serving =
            serve_control(path.clone(), bench.intake.clone(), bench.executor.clone(), bench.room.clone());
        let _serving = bench.executor.spawn(serving);
        let socket = loop {
            match smol::net::unix::UnixStream::connect(&path).await {
                Ok(socket) => break socket,
                Err(_) => smol::future::yield_now().await,
            }
        };
        let answer = talk(socket, "POST /api/send?topic=a HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(split(&answer).0, 411);
        let empty =
            crate::net::control::request(&path, hyper::Method::POST, "/api/send?topic=a", None, vec![]);
        assert_eq!(empty.await, Ok((200, br#"{"stored":1}"#.to_vec())));
    });
}

#[test]
fn a_route_that_takes_no_body_takes_none_without_a_length_either() {
    use holdfast_core::config::reply::Mode;
    let routes = vec![Route { mode: Mode::Connection, ..Route::of_path("/ask/{device}") }];
    with(Server { routes, ..config() }, async |bench| {
        let head = "POST /ask/pump HTTP/1.1\r\nhost: x\r\n";
        let answers = all(&bench, &format!("{head}content-type: text/plain\r\n\r\n23.5")).await;
        assert_eq!((split(&answers).0, answers.matches("HTTP/1.").count()), (400, 1), "{answers}");
        assert!(bench.seen.is_empty());
        let answers = all(&bench, &format!("{head}\r\n")).await;
        assert_eq!(split(&answers), (200, r#"{"stored":1}"#.to_owned()), "nothing says that there is a body");
    });
}
