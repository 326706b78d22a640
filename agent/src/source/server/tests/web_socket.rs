//! WebSocket sessions.

use async_tungstenite::tungstenite::client::IntoClientRequest;
use futures_util::{SinkExt, StreamExt};

use super::*;

#[test]
fn every_frame_is_a_message_and_is_confirmed_in_order() {
    with(config(), async |bench| {
        let mut socket = bench.web_socket("/kitchen/t?confirm=1").await;
        assert_eq!(bench.seen.recv().await.unwrap(), Seen::Connected("kitchen".to_owned()));
        for number in 0..200 {
            socket.feed(Message::text(number.to_string())).await.unwrap();
        }
        socket.flush().await.unwrap();
        for number in 0..200 {
            assert_eq!(text(&mut socket).await, format!(r#"{{"stored":{}}}"#, number + 1));
            assert_eq!(bench.draft().await.payload, number.to_string().as_bytes());
        }
    });
}

#[test]
fn frames_are_text_or_json_or_binary_as_they_come() {
    with(config(), async |bench| {
        let mut socket = bench.web_socket("/?topic=t").await;
        let cases = [
            (Message::text("{}"), Format::Json),
            (Message::text("{"), Format::Text),
            (Message::text(""), Format::Text),
            (Message::binary(b"{}".to_vec()), Format::Binary),
            (Message::binary(Vec::new()), Format::Binary),
        ];
        for (message, expected) in cases {
            socket.send(message).await.unwrap();
            assert_eq!(bench.draft().await.format, expected);
        }
    });
}

#[test]
fn a_busy_loop_holds_the_socket_back_and_nothing_is_lost_or_swapped() {
    with(config(), async |bench| {
        bench.refuse(&[Refused::Busy, Refused::Busy, Refused::Busy]);
        let mut socket = bench.web_socket("/t").await;
        bench.seen.recv().await.unwrap();
        socket.send(Message::text("1")).await.unwrap();
        assert_eq!(bench.draft().await.payload, b"1");
        socket.send(Message::text("2")).await.unwrap();
        assert_eq!(bench.draft().await.payload, b"2");
    });
}

#[test]
fn what_comes_after_a_busy_answer_does_not_pass_the_batch_that_got_it() {
    with(config(), async |bench| {
        let (open, gate) = unbounded();
        bench.gate.replace(Some(gate));
        let mut socket = bench.web_socket("/?topic=t").await;
        socket.send(Message::text("1")).await.unwrap();
        assert_eq!(bench.draft().await.payload, b"1");
        bench.refuse(&[Refused::Busy]);
        socket.send(Message::text("2")).await.unwrap();
        while !bench.refusals.borrow().is_empty() {
            smol::future::yield_now().await;
        }
        socket.send(Message::text("3")).await.unwrap();
        // Time enough for a third message that is not held back.
        Timer::after(Duration::from_millis(100)).await;
        drop(open);
        assert_eq!(bench.draft().await.payload, b"2");
        assert_eq!(bench.draft().await.payload, b"3");
    });
}

#[test]
fn a_refusal_closes_with_its_reason_or_is_told_when_confirmations_are_asked_for() {
    with(config(), async |bench| {
        bench.refuse(&[Refused::Full]);
        let mut socket = bench.web_socket("/t").await;
        socket.send(Message::text("1")).await.unwrap();
        assert_eq!(farewell(&mut socket).await, (1013, "the buffer is full".to_owned(), vec![]));

        bench.refuse(&[Refused::Failing("é".repeat(100))]);
        let mut socket = bench.web_socket("/t").await;
        socket.send(Message::text("1")).await.unwrap();
        assert_eq!(farewell(&mut socket).await.0, 1013);

        bench.refuse(&[Refused::Full]);
        let mut socket = bench.web_socket("/t?confirm=1").await;
        socket.send(Message::text("1")).await.unwrap();
        assert_eq!(text(&mut socket).await, r#"{"error":"the buffer is full","refused":1}"#);
        socket.send(Message::text("2")).await.unwrap();
        assert_eq!(text(&mut socket).await, r#"{"stored":1}"#);
    });
}

#[test]
fn a_frame_that_may_not_be_ends_the_session_with_the_reason() {
    let mut server = config();
    let (path, format) = ("/json".to_owned(), Some(Format::Json));
    server.routes = vec![Route { format, ..Route::of_path(&path) }];
    with(server, async |bench| {
        let mut socket = bench.web_socket("/json?confirm=1").await;
        socket.feed(Message::text("1")).await.unwrap();
        socket.send(Message::text("{")).await.unwrap();
        let reason =
            "the message is not valid JSON: EOF while parsing an object at line 1 column 1".to_owned();
        assert_eq!(farewell(&mut socket).await, (1007, reason, vec![]));
        assert_eq!(bench.draft().await.payload, b"1");

        let mut socket = bench.web_socket("/t").await;
        socket.send(Message::text("x".repeat(8 << 20))).await.unwrap();
        assert_eq!(farewell(&mut socket).await.0, 1009);

        let mut socket = bench.web_socket("/t").await;
        // A masked text frame with the one byte 0xff.
        socket.get_mut().write_all(&[0x81, 0x81, 0, 0, 0, 0, 0xff]).await.unwrap();
        assert_eq!(farewell(&mut socket).await.0, 1007);

        let mut socket = bench.web_socket("/t").await;
        // A frame that is not masked.
        socket.get_mut().write_all(&[0x81, 0x01, 0x31]).await.unwrap();
        assert_eq!(farewell(&mut socket).await.0, 1002);
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn a_wrong_handshake_is_refused() {
    with(config(), async |bench| {
        let ask = |path: &'static str, headers: &'static str| {
            let url = format!("ws://{}{path}", bench.address);
            let mut request = url.into_client_request().unwrap();
            for line in headers.lines() {
                let (name, value) = line.split_once(": ").unwrap();
                let name = hyper::header::HeaderName::from_bytes(name.as_bytes()).unwrap();
                request.headers_mut().insert(name, value.parse().unwrap());
            }
            let connecting = bench.connect();
            async move {
                match async_tungstenite::client_async(request, connecting.await).await {
                    Err(async_tungstenite::tungstenite::Error::Http(answer)) => answer.status().as_u16(),
                    other => panic!("{other:?}"),
                }
            }
        };
        assert_eq!(ask("/t", "origin: https://evil.example").await, 403);
        assert_eq!(ask("/", "").await, 400);
        let upgrade = "upgrade: websocket\r\nsec-websocket-version: 12\r\nconnection: upgrade\r\n";
        let answer = bench.raw(&format!("GET /t HTTP/1.1\r\nhost: x\r\n{upgrade}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 426 "), "{answer}");
        assert!(answer.contains("sec-websocket-version: 13\r\n"), "{answer}");
    });
}

#[test]
fn a_device_is_connected_once_and_disconnected_once_however_the_session_ends() {
    with(config(), async |bench| {
        let connected = Seen::Connected("pump".to_owned());
        let disconnected = Seen::Disconnected("pump".to_owned());
        for cut in [true, false] {
            let mut socket = bench.web_socket("/t?device=pump").await;
            assert_eq!(bench.seen.recv().await.unwrap(), connected);
            if cut {
                drop(socket);
            } else {
                socket.close(None).await.unwrap();
                while let Some(Ok(_)) = socket.next().await {}
            }
            assert_eq!(bench.seen.recv().await.unwrap(), disconnected);
        }
        let _socket = bench.web_socket("/t?device=pump").await;
        assert_eq!(bench.seen.recv().await.unwrap(), connected);
        bench.stop();
        assert_eq!(bench.seen.recv().await.unwrap(), disconnected);
        assert!(bench.seen.is_empty());
    });
}

#[test]
fn a_close_frame_is_answered_after_what_came_before_it_is_stored() {
    with(config(), async |bench| {
        bench.refuse(&[Refused::Busy, Refused::Busy]);
        let mut socket = bench.web_socket("/t?device=d").await;
        bench.seen.recv().await.unwrap();
        socket.feed(Message::text("last words")).await.unwrap();
        socket.close(None).await.unwrap();
        while let Some(Ok(_)) = socket.next().await {}
        assert_eq!(bench.seen.try_recv().map(|seen| matches!(seen, Seen::Draft(_))), Ok(true));
    });
}

#[test]
fn stopping_closes_every_session_and_refuses_new_callers() {
    with(config(), async |bench| {
        let mut socket = bench.web_socket("/t").await;
        bench.stop();
        assert_eq!(farewell(&mut socket).await, (1001, "the agent is stopping".to_owned(), vec![]));
        while TcpStream::connect(bench.address).await.is_ok() {}
    });
}

#[test]
fn a_silent_peer_is_pinged_and_then_closed() {
    let mut server = config();
    server.limits.idle_timeout = Duration::from_millis(100);
    with(server, async |bench| {
        let mut socket = bench.web_socket("/t").await;
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::Ping(Default::default()));
        let mut mute = bench.connect().await;
        let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n";
        let head =
            format!("GET /t HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n{key}\r\n");
        mute.write_all(head.as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        let _ = mute.read_to_end(&mut bytes).await;
        let frames = bytes.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        // A ping without payload, then a close frame with code 1001.
        assert_eq!(
            (&bytes[frames..frames + 2], &bytes[frames + 4..frames + 6]),
            (&b"\x89\x00"[..], &b"\x03\xe9"[..])
        );
    });
}
